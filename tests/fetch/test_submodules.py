"""Submodules: files of other repositories at the commits that a pinned tree names, and no more than that of .gitmodules."""

from __future__ import annotations

from pathlib import Path

import pytest
from loopback import GitRepository, free_port

from kubewright.errors import IntegrityError, KubewrightError, NetworkError, OriginError
from kubewright.fetch import git, submodules
from kubewright.files.digest import git_tree_id

REF = "refs/tags/v1"


def entry(path: str, url: str, more: str = "") -> str:
    return f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n{more}'


def with_submodule(origin: GitRepository, path: str, commit: str, gitmodules: str | None) -> str:
    if gitmodules is not None:
        (origin.path / ".gitmodules").write_text(gitmodules)
        origin.git("add", ".gitmodules")
    origin.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    origin.git("commit", "-q", "--allow-empty", "-m", "submodule")
    origin.git("tag", "-f", "v1")
    return origin.git("rev-parse", "HEAD")


def fetch(origin: GitRepository, commit: str, folder: Path, **options: object) -> tuple[submodules.Submodule, ...]:
    def repository(url: str) -> Path:
        return folder / "git" / git.repository_name(url)

    target = folder / "tree"
    options = {"timeout": 20.0, "retries": 0, **options}
    top = git.fetch_tree(
        origin.url, commit, ref=REF, repository=repository(origin.url), target=target, allow_submodules=True, retries=0
    )
    return submodules.fetch(origin.url, top, target, repository, **options)  # type: ignore[arg-type]


@pytest.fixture
def library(tmp_path: Path) -> GitRepository:
    made = GitRepository(tmp_path / "origin" / "library")
    made.commit({"lib.c": "int one;\n"}, "v1")
    return made


@pytest.mark.parametrize("url", ["{absolute}", "../library"])
def test_its_files_are_laid_out_at_the_commit_that_the_tree_names(
    origin: GitRepository, library: GitRepository, tmp_path: Path, url: str
) -> None:
    inner = library.git("rev-parse", "HEAD")
    library.commit({"lib.c": "int two;\n"})
    origin.commit({"main.c": "int main;\n"})
    outer = with_submodule(origin, "third/party", inner, entry("third/party", url.format(absolute=library.url)))
    assert fetch(origin, outer, tmp_path) == (submodules.Submodule("third/party", library.url, inner),)
    assert (tmp_path / "tree/third/party/lib.c").read_text() == "int one;\n"


def test_submodules_of_submodules(origin: GitRepository, library: GitRepository, tmp_path: Path) -> None:
    deepest = GitRepository(tmp_path / "origin" / "deepest")
    commit = deepest.commit({"deep": "x"}, "v1")
    middle = with_submodule(library, "deep", commit, entry("deep", "../deepest"))
    outer = with_submodule(origin, "lib", middle, entry("lib", "../library"))
    assert [each.path for each in fetch(origin, outer, tmp_path)] == ["lib", "lib/deep"]
    assert (tmp_path / "tree/lib/deep/deep").read_text() == "x"


def test_the_tree_is_checked_with_the_commits_in_it(origin: GitRepository, library: GitRepository, tmp_path: Path) -> None:
    inner = library.git("rev-parse", "HEAD")
    origin.commit({"a/b": "b", "a.txt": "t", "a/lib2": "x", "a/lib.c": "x"})
    outer = with_submodule(origin, "a/lib", inner, entry("a/lib", "../library"))
    target = tmp_path / "plain"
    git.fetch_tree(origin.url, outer, ref=REF, repository=tmp_path / "r.git", target=target, allow_submodules=True)
    assert git_tree_id(target, {"a/lib": inner}) == origin.git("rev-parse", f"{outer}^{{tree}}")


def test_a_dead_host_is_said_with_the_submodule_s_name(origin: GitRepository, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/gone"
    outer = with_submodule(origin, "lib", "1" * 40, entry("lib", url))
    with pytest.raises(NetworkError, match=rf"submodule lib of .*{url} cannot be reached") as caught:
        fetch(origin, outer, tmp_path)
    assert "git_mirrors" in caught.value.remedy


def test_a_mirror_serves_submodules_too(origin: GitRepository, library: GitRepository, tmp_path: Path) -> None:
    outer = with_submodule(origin, "lib", library.git("rev-parse", "HEAD"), entry("lib", "https://gone.invalid/library"))
    mirrors = {"https://gone.invalid/": f"file://{library.path.parent}/"}
    assert fetch(origin, outer, tmp_path, mirrors=mirrors)[0].url == "https://gone.invalid/library"


@pytest.mark.parametrize(
    ("gitmodules", "said"),
    [
        (None, "no .gitmodules"),
        ("[other]\n\ta = b\n", "no url for the submodule lib"),
        (entry("elsewhere", "https://x.invalid/y"), "no url for the submodule lib"),
        (entry("lib", "ext::sh -c touch"), "not a git URL that may be used"),
        (entry("lib", "--upload-pack=touch"), "git refuses"),
        (entry("lib", "https://x.invalid/y", "\tupdate = !touch /x\n"), "git refuses"),
        ("[include]\n\tpath = /etc/passwd\n", "no url for the submodule lib"),
    ],
)
def test_a_gitmodules_that_is_hostile_or_incomplete(
    origin: GitRepository, tmp_path: Path, gitmodules: str | None, said: str
) -> None:
    outer = with_submodule(origin, "lib", "1" * 40, gitmodules)
    with pytest.raises((OriginError, IntegrityError), match=said):
        fetch(origin, outer, tmp_path)


def test_a_repository_that_holds_itself_ends(origin: GitRepository, tmp_path: Path) -> None:
    """No commit can name itself; but each of a chain can name the one before."""
    commit = origin.commit({"a": "a"})
    for _ in range(10):
        commit = with_submodule(origin, "deeper", commit, entry("deeper", origin.url))
    with pytest.raises(KubewrightError, match="submodules without end"):
        fetch(origin, commit, tmp_path)
