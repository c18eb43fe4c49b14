from __future__ import annotations

import base64
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from loopback import GitRepository, files_of, free_port

from kubewright.errors import IntegrityError, NetworkError, OriginError, TagMovedError, UnsafeArchiveError
from kubewright.fetch import git
from kubewright.files.digest import tree_digest, walk

FILES: dict[str, str | bytes] = {
    "a.txt": "one\n",
    "bin/run*": "#!/bin/sh\n",
    "link": "->bin/run",
    "big": os.urandom(100_000),
    "empty": b"",
    ".gitattributes": "crlf.txt text eol=crlf\nsubst.txt export-subst\nhidden.txt export-ignore\nevil.txt filter=evil\n",
    "crlf.txt": "line\n",
    "subst.txt": "$Format:%H$\n",
    "hidden.txt": "not in an archive\n",
    "evil.txt": "text\n",
}


def fetch(origin: GitRepository | str, commit: str, where: Path, **options: object) -> git.Commit:
    url = origin if isinstance(origin, str) else origin.url
    options = {"ref": "refs/tags/v1", "retries": 0, "timeout": 20.0, **options}
    return git.fetch_tree(url, commit, repository=where / "store.git", target=where / "tree", **options)  # type: ignore[arg-type]


def processes_with(text: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if text.encode() in command and folder.name != str(os.getpid()):
            found.append(folder.name)
    return found


@pytest.fixture
def git_daemon(origin: GitRepository) -> Iterator[str]:
    port = free_port()
    command = ["git", "daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1", f"--port={port}"]
    with subprocess.Popen([*command, f"--base-path={origin.path.parent}"], stderr=subprocess.DEVNULL) as daemon:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"git://127.0.0.1:{port}/repo"
        daemon.terminate()


# -- resolving ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("annotated", [False, True])
def test_a_tag_resolves_to_its_commit(origin: GitRepository, annotated: bool) -> None:
    commit = origin.commit(FILES, "v1", annotated=annotated)
    origin.commit({"later": ""}, "v1.1")
    origin.git("update-ref", "refs/other/refs/tags/v1", "HEAD")  # ls-remote's patterns match this one too
    assert git.resolve(origin.url, "refs/tags/v1").commit == commit


def test_a_missing_tag_names_tag_and_origin(origin: GitRepository) -> None:
    origin.commit(FILES, "v1")
    with pytest.raises(OriginError, match=re.escape(f"{origin.url} has no tag v2")):
        git.resolve(origin.url, "refs/tags/v2")


@pytest.mark.parametrize(
    "tag", ["--upload-pack=x", "-x", "", "a..b", "a b", "a:b", "a^{}", "a*", "x.lock", "/x", "a\n", "@{1}"]
)
def test_what_cannot_be_a_tag_never_reaches_git(origin: GitRepository, tag: str) -> None:
    with pytest.raises(OriginError, match="cannot be the name of a git tag"):
        git.resolve(origin.url, f"refs/tags/{tag}")


@pytest.mark.parametrize("tag", ["v1.37.2", "v1.37.1+k3s1", "server/v3.7.3", "release_1", "2024-01-01"])
def test_tags_of_real_projects_are_accepted(origin: GitRepository, tag: str) -> None:
    commit = origin.commit(FILES, tag)
    origin.commit({}, tag + "x")
    assert git.resolve(origin.url, f"refs/tags/{tag}").commit == commit


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c 'touch pwned'",
        "--upload-pack=touch pwned",
        "-oProxyCommand=x@h:p",
        "ssh://-oProxyCommand=touch/x",
        "a@h:--upload-pack=x",
        "fd::17/x",
        "/etc",
        "../repo",
        "https://h/a b",
        "file://x\ny",
        "ftp://h/x",
        "",
        "http://[",
    ],
)
def test_a_url_that_would_run_something_is_refused(url: str, tmp_path: Path) -> None:
    for attempt in (lambda: git.resolve(url, "refs/tags/v1"), lambda: fetch(url, "0" * 40, tmp_path)):
        with pytest.raises(OriginError, match="not a git URL"):
            attempt()


@pytest.mark.parametrize(
    "url", ["https://h.example/a.git", "git@h.example:a/b.git", "ssh://git@h.example:22/a", "file:///a b".replace(" ", "%20")]
)
def test_ordinary_urls_are_origins(url: str) -> None:
    assert [each.url for each in git.origins(url, {})] == [url]


# -- fetching -----------------------------------------------------------------------------------------------------


def test_the_files_of_a_commit_are_those_of_its_objects(origin: GitRepository, tmp_path: Path) -> None:
    commit = origin.commit(FILES, "v1")
    tree = origin.git("rev-parse", "HEAD^{tree}")
    origin.commit({"later": ""})
    found = fetch(origin, commit, tmp_path, tree=tree)
    assert found == git.Commit(commit, tree, 1_700_000_000)
    written = {entry.path: entry for entry in walk(tmp_path / "tree") if entry.kind != "directory"}
    assert set(written) == {name.rstrip("*") for name in FILES}
    assert written["bin/run"].executable
    assert (tmp_path / "tree/crlf.txt").read_bytes() == b"line\n"
    assert (tmp_path / "tree/subst.txt").read_bytes() == b"$Format:%H$\n"
    assert (tmp_path / "tree/link").readlink() == Path("bin/run")
    shutil.rmtree(origin.path / ".git")
    (origin.path / "later").unlink()
    assert tree_digest(tmp_path / "tree") == tree_digest(origin.path)


def test_only_the_one_commit_is_fetched_where_the_server_lets_us(
    origin: GitRepository, git_daemon: str, tmp_path: Path
) -> None:
    old = origin.commit({"old": os.urandom(1000)})
    (origin.path / "old").unlink()
    commit = origin.commit(FILES, "v1", annotated=True)
    fetch(git_daemon, commit, tmp_path)
    known = subprocess.run(["git", "cat-file", "-t", old], cwd=tmp_path / "store.git", capture_output=True, check=False)
    assert known.returncode != 0
    assert (tmp_path / "store.git" / "shallow").read_text() == f"{commit}\n"


def test_a_server_that_refuses_commits_is_asked_for_the_tag(
    origin: GitRepository, git_daemon: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in {"COUNT": "1", "KEY_0": "protocol.version", "VALUE_0": "0"}.items():  # version 2 refuses nothing
        monkeypatch.setenv(f"GIT_CONFIG_{key}", value)
    origin.commit({"old": "x"})
    commit = origin.commit(FILES, "v1", annotated=True)
    origin.commit({"later": ""})
    fetch(git_daemon, commit, tmp_path)
    assert (tmp_path / "tree" / "a.txt").is_file()
    assert (
        "refs/kubewright/named"
        in subprocess.run(
            ["git", "for-each-ref"], cwd=tmp_path / "store.git", capture_output=True, text=True, check=True
        ).stdout
    )


@pytest.mark.parametrize("annotated", [False, True])
def test_a_server_of_plain_files_is_fetched_whole(
    origin: GitRepository, tmp_path: Path, serve: Callable[..., str], annotated: bool
) -> None:
    commit = origin.commit(FILES, "v1", annotated=annotated)
    origin.commit({"later": ""})
    origin.git("update-server-info")
    url = serve(files_of(origin.path)) + "/.git"
    assert git.resolve(url, "refs/tags/v1").commit == commit
    fetch(url, commit, tmp_path)
    assert (tmp_path / "tree" / "a.txt").read_text() == "one\n"


def test_what_was_fetched_once_needs_no_origin(origin: GitRepository, tmp_path: Path) -> None:
    commit = origin.commit(FILES, "v1")
    fetch(origin, commit, tmp_path)
    shutil.rmtree(origin.path)
    shutil.rmtree(tmp_path / "tree")
    assert fetch(origin, commit, tmp_path).commit == commit


def test_two_commits_share_a_repository(origin: GitRepository, tmp_path: Path) -> None:
    one = origin.commit(FILES, "v1")
    two = origin.commit({"a.txt": "two\n"}, "v2")
    for tag, commit, text in (("v2", two, "two\n"), ("v1", one, "one\n"), ("v2", two, "two\n")):
        fetch(origin, commit, tmp_path, ref=f"refs/tags/{tag}")
        assert (tmp_path / "tree" / "a.txt").read_text() == text
        shutil.rmtree(tmp_path / "tree")


def test_a_moved_tag_shows_both_commits(origin: GitRepository, tmp_path: Path) -> None:
    locked = origin.commit(FILES, "v1")
    now = origin.commit({"a.txt": "moved\n"})
    origin.git("tag", "-f", "v1")
    with pytest.raises(TagMovedError, match=f"tag v1 of .* names {now} now; the lock has {locked}"):
        fetch(origin, locked, tmp_path)
    assert not (tmp_path / "tree").exists()


def test_a_commit_that_the_origin_does_not_have_is_said(origin: GitRepository, tmp_path: Path) -> None:
    origin.commit(FILES, "v2")
    with pytest.raises(OriginError, match=f"does not have commit {'1' * 40}"):
        fetch(origin, "1" * 40, tmp_path)


def test_a_tree_that_is_not_the_commit_s_shows_both(origin: GitRepository, tmp_path: Path) -> None:
    commit = origin.commit(FILES, "v1")
    tree = origin.git("rev-parse", "HEAD^{tree}")
    with pytest.raises(IntegrityError, match=f"commit {commit} has the tree {tree}, the lock says {'2' * 40}"):
        fetch(origin, commit, tmp_path, tree="2" * 40)
    assert not (tmp_path / "tree").exists()


def test_objects_that_git_s_fsck_refuses_are_refused(origin: GitRepository, tmp_path: Path) -> None:
    """A tree with an entry ``.git``: what CVE-2014-9390 and its kin need."""
    origin.commit(FILES)
    blob = origin.git("rev-parse", "HEAD:a.txt")
    entry = b"100644 .git\0" + bytes.fromhex(blob)
    (origin.path / "raw").write_bytes(entry)
    tree = origin.git("hash-object", "-t", "tree", "--literally", "-w", "raw")
    commit = origin.git("commit-tree", "-m", "evil", tree)
    origin.git("tag", "v1", commit)
    with pytest.raises(IntegrityError, match="objects that git refuses"):
        fetch(origin, commit, tmp_path)
    assert not (tmp_path / "tree").exists()


def test_a_repository_damaged_on_disk_is_made_anew(origin: GitRepository, tmp_path: Path) -> None:
    commit = origin.commit(FILES, "v1")
    fetch(origin, commit, tmp_path)
    shutil.rmtree(tmp_path / "tree")
    objects = tmp_path / "store.git" / "objects"
    packs = [*objects.rglob("*.pack"), *objects.glob("??/*")]
    for path in packs:
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:40] + b"\0" * 40)
    assert fetch(origin, commit, tmp_path).commit == commit
    assert (tmp_path / "tree" / "a.txt").read_text() == "one\n"


def test_a_blob_exchanged_on_disk_is_noticed(origin: GitRepository, tmp_path: Path) -> None:
    commit = origin.commit(FILES, "v1")
    repository = tmp_path / "store.git"
    git.fetch_commit(git.origins(origin.url, {}), commit, ref="refs/tags/v1", repository=repository)
    subprocess.run(["git", "unpack-objects", "-q"], cwd=repository, check=False, stdin=subprocess.DEVNULL)
    for pack in list(repository.rglob("*.pack")):
        moved = tmp_path / pack.name
        pack.rename(moved)
        pack.with_suffix(".idx").unlink()
        with moved.open("rb") as content:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=repository, stdin=content, check=True)
    blob = origin.git("rev-parse", f"{commit}:a.txt")
    other = origin.git("rev-parse", f"{commit}:evil.txt")
    paths = [repository / "objects" / name[:2] / name[2:] for name in (blob, other)]
    paths[0].chmod(0o644)
    paths[0].write_bytes(paths[1].read_bytes())
    with pytest.raises(git.DamagedError):
        git.export(repository, commit, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_left_overs_of_a_killed_run_do_not_stop_the_next(origin: GitRepository, tmp_path: Path) -> None:
    commit = origin.commit(FILES, "v1")
    (tmp_path / "store.git" / "objects" / "pack").mkdir(parents=True)
    (tmp_path / "store.git" / "objects" / "pack" / "tmp_pack_x").write_bytes(b"half")
    (tmp_path / "store.git" / "shallow.lock").write_bytes(b"")
    (tmp_path / "store.git" / "HEAD.lock").write_bytes(b"")
    fetch(origin, commit, tmp_path)
    assert not list((tmp_path / "store.git").rglob("*.lock"))
    assert not list((tmp_path / "store.git").rglob("tmp_pack_*"))


def test_two_at_once_share_one_repository(origin: GitRepository, tmp_path: Path) -> None:
    commit = origin.commit(FILES, "v1")
    failures: list[Exception] = []

    def one(number: int) -> None:
        try:
            git.fetch_tree(
                origin.url, commit, ref="refs/tags/v1", repository=tmp_path / "store.git", target=tmp_path / f"t{number}"
            )
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({tree_digest(tmp_path / f"t{number}") for number in range(4)}) == 1


# -- mirrors and a bad network ------------------------------------------------------------------------------------


def test_a_mirror_is_asked_first_and_the_origin_after_it(origin: GitRepository, tmp_path: Path) -> None:
    commit = origin.commit(FILES, "v1")
    mirrors = {"https://nowhere.invalid/": f"file://{origin.path.parent}/", "https://nowhere.invalid/repo": "file:///no/such/"}
    url = "https://nowhere.invalid/repo"
    assert [each.url for each in git.origins(url, mirrors)] == ["file:///no/such/", origin.url, url]
    assert git.resolve(url, "refs/tags/v1", mirrors=mirrors, retries=0).commit == commit
    assert fetch(url, commit, tmp_path, mirrors=mirrors).commit == commit


def test_every_origin_that_failed_is_told(origin: GitRepository) -> None:
    port = free_port()
    with pytest.raises(NetworkError, match=f"127.0.0.1:{port}") as caught:
        git.resolve(f"http://127.0.0.1:{port}/x", "refs/tags/v1", mirrors={"http://": "file:///no/such/"}, retries=0)
    assert "file:///no/such/" in caught.value.details


def test_a_server_that_says_nothing_is_given_up(tcp: Callable[..., int], tmp_path: Path) -> None:
    port = tcp(lambda connection: time.sleep(60))
    started = time.monotonic()
    with pytest.raises(NetworkError, match="silent for 1 seconds"):
        git.resolve(f"git://127.0.0.1:{port}/repo", "refs/tags/v1", timeout=1.0, retries=0)
    assert time.monotonic() - started < 10
    assert processes_with(f"git://127.0.0.1:{port}/") == []


def cut_off_after(size: int, port: int, times: int) -> Callable[[socket.socket], None]:
    """Pass a connection on to another port, and break it after so many bytes, the first times."""
    left = [times]

    def talk(client: socket.socket) -> None:
        left[0] -= 1
        limit = size if left[0] >= 0 else 1 << 40
        server = socket.create_connection(("127.0.0.1", port))

        def up() -> None:
            try:
                while data := client.recv(65536):
                    server.sendall(data)
            except OSError:
                pass

        threading.Thread(target=up, daemon=True).start()
        try:
            while limit > 0 and (data := server.recv(min(65536, limit))):
                client.sendall(data)
                limit -= len(data)
        finally:
            for each in (client, server):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    return talk


def test_a_connection_that_breaks_off_is_tried_again(
    origin: GitRepository, git_daemon: str, tcp: Callable[..., int], tmp_path: Path
) -> None:
    commit = origin.commit({"big": os.urandom(3_000_000)}, "v1")
    backend = int(git_daemon.split(":")[2].split("/")[0])
    url = f"git://127.0.0.1:{tcp(cut_off_after(100_000, backend, 2))}/repo"
    with pytest.raises(NetworkError, match="broke off"):
        fetch(url, commit, tmp_path, retries=0)
    assert not (tmp_path / "tree").exists()
    seen: list[int] = []
    fetch(url, commit, tmp_path, retries=2, progress=seen.append)
    assert (tmp_path / "tree" / "big").stat().st_size == 3_000_000


def test_progress_tells_bytes(origin: GitRepository, git_daemon: str, tmp_path: Path) -> None:
    commit = origin.commit({f"big{number}": os.urandom(300_000) for number in range(20)}, "v1")
    seen: list[int] = []
    fetch(git_daemon, commit, tmp_path, progress=seen.append)
    assert seen[-1] > 5_000_000
    assert seen == sorted(seen)


# -- nothing runs, nothing leaks ----------------------------------------------------------------------------------


def test_neither_hooks_nor_filters_nor_the_user_s_configuration_run(
    origin: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = f"touch {tmp_path}/pwned"
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("reference-transaction", "post-checkout", "post-merge", "pre-auto-gc"):
        (hooks / name).write_text(f"#!/bin/sh\n{trap}\n")
        (hooks / name).chmod(0o755)
    (tmp_path / "gitconfig").write_text(
        f'[core]\nhooksPath = {hooks}\nfsmonitor = "{trap}"\nautocrlf = true\n'
        f'[filter "evil"]\nsmudge = "{trap}; cat"\nclean = "{trap}; cat"\nrequired = true\n[init]\ntemplateDir = {hooks}\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_DIR", "/no/such")
    monkeypatch.setenv("GIT_WORK_TREE", "/no/such")
    monkeypatch.setenv("GIT_INDEX_FILE", "/no/such")
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", "/no/such")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.hooksPath'='{hooks}'")
    commit = origin.commit(FILES, "v1")
    fetch(origin, commit, tmp_path)
    assert not (tmp_path / "pwned").exists()
    assert (tmp_path / "tree/evil.txt").read_bytes() == b"text\n"


def test_the_user_s_ways_to_an_origin_do_count(origin: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gitconfig").write_text(f'[url "file://{origin.path.parent}/"]\ninsteadOf = https://corporate.invalid/\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    commit = origin.commit(FILES, "v1")
    assert git.resolve("https://corporate.invalid/repo", "refs/tags/v1").commit == commit


def guarded(folder: Path, who: bytes) -> type[BaseHTTPRequestHandler]:
    """A handler that gives out a folder's files to ``who``, USER:PASSWORD, and to nobody else."""
    wanted = "Basic " + base64.b64encode(who).decode()

    class Guarded(files_of(folder)):  # type: ignore[misc]
        def do_GET(self) -> None:  # noqa: N802
            if self.headers.get("Authorization") == wanted:
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Guarded


def test_a_password_in_the_url_reaches_the_server(origin: GitRepository, serve: Callable[..., str], tmp_path: Path) -> None:
    commit = origin.commit(FILES, "v1")
    origin.git("update-server-info")
    url = serve(guarded(origin.path, b"us er:p@ss")).replace("http://", "http://us%20er:p%40ss@") + "/.git"
    assert fetch(url, commit, tmp_path).commit == commit
    assert b"p@ss" not in b"".join(path.read_bytes() for path in (tmp_path / "store.git").rglob("*") if path.is_file())
    with pytest.raises(OriginError, match="does not let us in"):
        git.resolve(url.replace("p%40ss", "wrong"), "refs/tags/v1", retries=0)


@pytest.mark.parametrize("password", ["right", "wrong"])
def test_a_credential_helper_of_the_user_s_is_asked(
    origin: GitRepository, serve: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    commit = origin.commit(FILES, "v1")
    origin.git("update-server-info")
    helper = tmp_path / "helper"
    helper.write_text(f"#!/bin/sh\necho $1 >>{tmp_path}/asked\necho username=site\necho password={password}\n")
    helper.chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"[credential]\nhelper = {helper}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    url = serve(guarded(origin.path, b"site:right")) + "/.git"
    if password == "right":
        assert fetch(url, commit, tmp_path).commit == commit
    else:
        with pytest.raises(OriginError, match="does not let us in") as caught:
            git.resolve(url, "refs/tags/v1", retries=0)
        assert "credential helper" in caught.value.remedy
    assert "get" in (tmp_path / "asked").read_text().split()


def test_a_renamed_repository_that_its_host_redirects(origin: GitRepository, serve: Callable[..., str], tmp_path: Path) -> None:
    """As hosts do for rancher/k3s, which is k3s-io/k3s today: the old address answers with the new one."""
    commit = origin.commit(FILES, "v1")
    origin.git("update-server-info")

    class Renamed(files_of(origin.path.parent)):  # type: ignore[misc]
        def do_GET(self) -> None:  # noqa: N802
            if not self.path.startswith("/old/"):
                super().do_GET()
                return
            self.send_response(301)
            self.send_header("Location", self.path.replace("/old/", f"/{origin.path.name}/.git/", 1))
            self.send_header("Content-Length", "0")
            self.end_headers()

    url = serve(Renamed) + "/old"
    assert git.resolve(url, "refs/tags/v1").commit == commit
    assert fetch(url, commit, tmp_path).commit == commit


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_no_error_shows_a_secret(serve: Callable[..., str], status: int, tmp_path: Path) -> None:
    from http.server import BaseHTTPRequestHandler

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    url = serve(Refuse).replace("http://", "http://user:hunter2@") + "/repo?token=hunter3"
    with pytest.raises((OriginError, NetworkError)) as caught:
        git.resolve(url, "refs/tags/v1", retries=0)
    told = caught.value.message + caught.value.details + caught.value.remedy
    assert "127.0.0.1" in told
    assert "hunter" not in told
    assert "user" not in caught.value.message


def test_no_secret_is_on_a_command_line_or_in_the_repository(
    origin: GitRepository, tcp: Callable[..., int], tmp_path: Path
) -> None:
    port = tcp(lambda connection: time.sleep(60))
    url = f"http://user:hunter2@127.0.0.1:{port}/repo"
    seen: list[str] = []

    def look() -> None:
        for _ in range(20):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.append(path.read_bytes().decode("utf-8", "replace"))
                except OSError:
                    continue
            time.sleep(0.05)

    watcher = threading.Thread(target=look)
    watcher.start()
    with pytest.raises(NetworkError):
        git.resolve(url, "refs/tags/v1", timeout=1.0, retries=0)
    watcher.join()
    assert any("ls-remote" in line for line in seen)
    assert not any("hunter2" in line for line in seen)
    assert "hunter2" not in git.repository_name(url)


# -- what is not in a repository ----------------------------------------------------------------------------------


def test_a_submodule_is_an_error_unless_allowed(origin: GitRepository, tmp_path: Path) -> None:
    inner = origin.commit({"a": ""})
    origin.git("update-index", "--add", "--cacheinfo", f"160000,{inner},third/party")
    origin.git("commit", "-q", "-m", "submodule")
    origin.git("tag", "v1")
    commit = origin.git("rev-parse", "HEAD")
    with pytest.raises(OriginError, match=f"submodule at 'third/party' .commit {inner}"):
        fetch(origin, commit, tmp_path)
    assert not (tmp_path / "tree").exists()
    fetch(origin, commit, tmp_path, allow_submodules=True)
    assert (tmp_path / "tree/third/party").is_dir()


def test_an_lfs_pointer_is_an_error_unless_allowed(origin: GitRepository, tmp_path: Path) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    commit = origin.commit({"data.bin": pointer}, "v1")
    with pytest.raises(OriginError, match=r"'data\.bin' in Git LFS"):
        fetch(origin, commit, tmp_path)
    fetch(origin, commit, tmp_path, allow_lfs=True)
    assert (tmp_path / "tree/data.bin").read_text() == pointer


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x"])
def test_a_link_out_of_the_tree_is_refused_unless_allowed(origin: GitRepository, tmp_path: Path, target: str) -> None:
    commit = origin.commit({"d/l": f"->{target}"}, "v1")
    with pytest.raises(UnsafeArchiveError, match="'d/l' is a symbolic link"):
        fetch(origin, commit, tmp_path)
    assert not (tmp_path / "tree").exists()
    fetch(origin, commit, tmp_path, links="any")
    assert str((tmp_path / "tree/d/l").readlink()) == target


def test_names_of_repositories_are_safe_and_their_own() -> None:
    urls = ["https://h/a/b.git", "https://h/c/b.git", "git@h:a/b.git", "https://h/..", "https://h/"]
    names = [git.repository_name(url) for url in urls]
    assert len(set(names)) == len(urls)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*\.git", name) for name in names)
    assert git.repository_name("https://user:secret@h/a/b.git") == names[0]
