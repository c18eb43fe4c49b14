from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.version import Version as PackagingVersion

from kubewright.errors import RecipeError
from kubewright.model import recipe as recipes
from kubewright.model.decode import decoder
from kubewright.model.recipe import (
    GoStep,
    Input,
    Output,
    Overlay,
    Patch,
    Recipe,
    Smoke,
    Source,
    Step,
    load_recipe,
    load_recipes,
)
from kubewright.model.recipe_rules import executable_name

FIXTURES = Path(__file__).parent / "data" / "project" / "recipes"


def edited(name: str, folder: Path, *edits: tuple[str, str]) -> Path:
    """A copy of a fixture recipe in ``folder``/NAME with texts replaced; each has to be there."""
    text = (FIXTURES / name / "recipe.toml").read_text()
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = folder / name / "recipe.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# -- what a good recipe says ------------------------------------------------------------------------------------------


def test_a_plain_go_program() -> None:
    assert load_recipe(FIXTURES / "small" / "recipe.toml") == Recipe(
        name="small",
        version="0.9.0",
        summary="A plain Go program, which is what most recipes are",
        licence="Apache-2.0",
        builder="go",
        sources=(
            Source(
                form="module",
                name="small",
                module="example.org/small",
                version="v0.9.0",
                git="https://git.example.org/small",
                tag="v0.9.0",
            ),
        ),
        steps=(Step(go=GoStep(commands={"small": "example.org/small/cmd/small"})),),
        outputs=(Output("small"),),
        smokes=(Smoke(run=("small", "--version"), expect=("v{version}",)),),
    )


def test_everything_that_k3s_needs() -> None:
    recipe = load_recipe(FIXTURES / "k3s-like" / "recipe.toml")
    assert [(source.name, source.form) for source in recipe.sources] == [
        ("k3s-like", "tree"),
        ("kubernetes", "module"),
        ("root", "archive"),
    ]
    assert recipe.sources[0].patches == (Patch("0001-embed-ours.patch", "upstream's build downloads the helpers"),)
    assert recipe.overlays == (
        Overlay("files", "src/k3s-like/overlay"),
        Overlay("embed.go", "src/k3s-like/pkg/embed/embed.go"),
    )
    assert recipe.inputs == (
        Input("runtime", "runtime", "src/k3s-like/bin/runc"),
        Input("plugins", "bin", "src/k3s-like/bin/cni"),
    )
    assert [bool(step.go) for step in recipe.steps] == [False, False, True, True]
    assert recipe.steps[1].env == {"SOURCE": "{commit:k3s-like}", "API": "{module:k8s.io/api}"}
    assert [output.kind for output in recipe.outputs] == ["program", "tree", "file"]


def test_variables_of_sources_are_filled_in_and_what_does_not_apply_is_empty() -> None:
    tree, module, archive = load_recipe(FIXTURES / "k3s-like" / "recipe.toml").sources
    assert (tree.version, tree.tag, tree.unpack) == ("v1.37.1+k3s1", "v1.37.1+k3s1", False)
    assert (module.version, module.tag) == ("v1.37.1", "v1.37.1")
    assert module.replace == {"./staging/src/*": "v0.37.1"}
    assert (archive.version, archive.tag, archive.strip) == ("", "", 1)
    assert load_recipe(FIXTURES / "runtime" / "recipe.toml").sources[1].url.endswith("/init-1.4.tar.gz")


def test_patches_of_a_module_imply_its_files() -> None:
    assert load_recipe(FIXTURES / "plugins" / "recipe.toml").sources[0].unpack


def test_a_source_takes_the_version_of_another_recipe(tmp_path: Path) -> None:
    edited("plugins", tmp_path)
    path = edited("small", tmp_path, ("[[step]]", 'version = "v{version:plugins}"\n[[step]]'))
    assert load_recipe(path).sources[0].version == "v1.9.1"
    edited("plugins", tmp_path, ('version = "1.9.1"', 'version = "1.9.2"'))
    assert load_recipes(tmp_path)["small"].sources[0].version == "v1.9.2"
    edited("small", tmp_path, ("[[step]]", 'version = "v0.{minor:plugins}.{patch:plugins}"\n[[step]]'))
    assert load_recipes(tmp_path)["small"].sources[0].version == "v0.9.2"


@pytest.mark.parametrize("name", ["nothing", "../plugins", "plugins/../plugins"])
def test_a_version_of_no_recipe(tmp_path: Path, name: str) -> None:
    edited("plugins", tmp_path)
    path = edited("small", tmp_path, ("[[step]]", f'version = "v{{version:{name}}}"\n[[step]]'))
    with pytest.raises(RecipeError, match=rf"source\[0\]\.version: .*there is no recipes/{name} with a version"):
        load_recipe(path)


def test_a_manifest_names_our_images_by_version(tmp_path: Path) -> None:
    edited("plugins", tmp_path)
    output = '[[output]]\npath = "a.yaml"\nkind = "file"\n'
    manifest = '[[manifest]]\noutput = "a.yaml"\nreplace = {"x.example/y" = "x.example/z:{version:plugins}"}\n[[smoke]]'
    path = edited("small", tmp_path, ("[[smoke]]", output + manifest))
    (found,) = load_recipe(path).manifests
    assert dict(found.replace) == {"x.example/y": "x.example/z:1.9.1"}


def test_all_recipes_of_a_folder_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    edited("small", tmp_path)
    edited("plugins", tmp_path)
    assert list(load_recipes(tmp_path)) == ["plugins", "small"]
    assert load_recipes(tmp_path / "absent") == {}


def test_a_recipe_crosses_a_pickle() -> None:
    recipe = load_recipe(FIXTURES / "k3s-like" / "recipe.toml")
    assert pickle.loads(pickle.dumps(recipe)) == recipe


# -- what a recipe may not say ----------------------------------------------------------------------------------------

SMALL_GO = 'go.commands = { small = "example.org/small/cmd/small" }'

#: fixture, edit, message, and what the message's line holds where that is not the edit
BAD: dict[str, tuple[str, tuple[str, str], str, str] | tuple[str, tuple[str, str], str]] = {
    "unknown key": ("small", ("summary", "sumary"), "sumary: unknown key"),
    "wrong type": ("small", ('"small", "--version"', '"small", 1'), "smoke[0].run[1]: expected a string, found an integer"),
    "name is not the folder's": ("small", ('name = "small"', 'name = "tiny"'), "name: 'tiny' is not the folder's name 'small'"),
    "name": ("small", ('name = "small"', 'name = "Small"'), "name: 'Small' is not a name"),
    "version": ("small", ("0.9.0", "nine"), "version: 'nine' is not a version"),
    "version with v": ("small", ("0.9.0", "v0.9.0"), "version: 'v0.9.0' is not a version"),
    "licence": ("small", ("Apache-2.0", "Apache 2.0"), "licence: 'Apache 2.0' is not an SPDX expression"),
    "empty licence": ("small", ("Apache-2.0", ""), "licence: '' is not an SPDX expression", 'licence = ""'),
    "summary of two lines": ("small", ("A plain", "A\\nplain"), "summary:"),
    "platform": ("runtime", ("linux/arm64", "windows/amd64"), "platforms[1]: 'windows/amd64' is not a platform"),
    "platform twice": ("runtime", ("linux/arm64", "linux/amd64"), "platforms[1]: the platform 'linux/amd64' is there twice"),
    "no source": ("small", ("[[source]]", "[[smoke]]"), "the key 'source' is missing", 'name = "small"'),
    "form": ("small", ('"module"', '"git"'), "source[0].form: expected"),
    "module without module": (
        "small",
        ('module = "example.org/small"', ""),
        "source[0]: the key 'module' is missing",
        "[[source]]",
    ),
    "tree without git": (
        "k3s-like",
        ('git = "https://git.example.org/k3s"', ""),
        "source[0]: the key 'git' is missing",
        "[[source]]",
    ),
    "archive without url": (
        "runtime",
        ('url = "https://downloads.example.org/init-{major}.{minor}.tar.gz"', ""),
        "source[1]: the key 'url' is missing",
        "[[source]]",
    ),
    "key of another form": (
        "small",
        ("[[step]]", 'url = "https://x/y"\n[[step]]'),
        "source[0].url: has no meaning with form = 'module'",
    ),
    "subdirectory without module": (
        "k3s-like",
        ('module = "example.org/k3s"', 'subdirectory = "x"'),
        "source[0].subdirectory: says where",
    ),
    "source name twice": (
        "runtime",
        ('name = "init"', 'name = "runtime"'),
        "source[1].name: the source name 'runtime' is there twice",
    ),
    "credentials in a URL": ("small", ("https://git.", "https://me:secret@git."), "source[0].git:"),
    "patch in a folder": ("plugins", ("0001-drop", "x/0001-drop"), "source[0].patch[0].file:"),
    "patch above": ("plugins", ("0001-drop-vendor-backend.patch", "..patch"), "source[0].patch[0].file:"),
    "patch twice": ("plugins", ("0002-drop-udp", "0001-drop-vendor-backend"), "source[0].patch[1].file: the patch"),
    "patch without reason": (
        "plugins",
        ("its SDK is not published", " "),
        "source[0].patch[0].reason: is empty",
        'reason = " "',
    ),
    "commit hint": ("plugins", ("0123456789abcdef0123456789abcdef01234567", "0123456"), "source[0].commit_hint:"),
    "overlay from outside": (
        "k3s-like",
        ('from = "files"', 'from = "../small"'),
        "overlay[0].from: '../small' is not a relative path",
    ),
    "overlay to an absolute path": (
        "k3s-like",
        ('"src/k3s-like/overlay"', '"/etc"'),
        "overlay[0].to: '/etc' is not a relative path",
    ),
    "overlay into out": ("k3s-like", ('"src/k3s-like/overlay"', '"out/x"'), "overlay[0].to: 'out/x' would be an output"),
    "one place for two": (
        "k3s-like",
        ('"src/k3s-like/bin/cni"', '"src/k3s-like/bin/runc"'),
        "input[1].to: the place",
        'to = "src/k3s-like/bin/runc"',
    ),
    "branch and tag": (
        "k3s-like",
        ('module = "example.org/k3s"', 'branch = "main"\ntag = "v1"'),
        "source[0].branch: a source is at a branch or at the tag 'v1', not both",
    ),
    "branch of a module": (
        "small",
        ("[[step]]", 'branch = "main"\n[[step]]'),
        "source[0].branch: has no meaning with form = 'module'",
    ),
    "branch that is an option": (
        "k3s-like",
        ('module = "example.org/k3s"', 'branch = "--upload-pack=x"'),
        "source[0].branch: '--upload-pack=x' is not a git branch",
    ),
    "signed branch": (
        "k3s-like",
        ('module = "example.org/k3s"', 'branch = "main"\nsigned_by = "keys"'),
        "source[0].signed_by: a branch has no signature",
        "signed_by",
    ),
    "main source that asks its own go.mod": (
        "k3s-like",
        ('module = "example.org/k3s"', 'tag = "{module:example.org/x}"'),
        "source[0].tag: the main source's tag cannot depend on its own go.mod",
    ),
    "facts of a module that is not laid out": (
        "small",
        ("[[step]]", 'facts = { "a" = ["b"] }\n[[step]]'),
        "source[0].facts: the module's files are not laid out",
    ),
    "facts with a late variable": (
        "k3s-like",
        ('module = "example.org/k3s"', 'facts = { "a" = ["{commit}"] }'),
        "source[0].facts.a[0]: unknown variable {commit}",
    ),
    "digest of a file above": ("runtime", ('"init.c"', '"{sha256:../x}"'), "step[1].run[6]: {sha256:../x} names no path"),
    "digest in a smoke check": (
        "runtime",
        ('["runtime", "features"]', '["runtime", "{sha256:x}"]'),
        "smoke[1].run[1]: unknown variable",
    ),
    "link into out": (
        "small",
        ("[[smoke]]", '[links]\n"out/x" = "small"\n[[smoke]]'),
        "links.\"out/x\": 'out/x' would be an output",
        "out/x",
    ),
    "link to an absolute path": (
        "small",
        ("[[smoke]]", '[links]\nx = "/etc/passwd"\n[[smoke]]'),
        "links.x: '/etc/passwd' is not the target of a link",
        "x = ",
    ),
    "package that is none": (
        "runtime",
        ("[[step]]", '[[package]]\nto = "x"\nfiles = { "../x" = ["a"] }\n[[step]]'),
        "package[0].files.\"../x\": '../x' is not a Debian package name",
        "files",
    ),
    "package without files": (
        "runtime",
        ("[[step]]", '[[package]]\nto = "x"\nfiles = { gcc = [] }\n[[step]]'),
        "package[0].files.gcc: is empty",
        "files",
    ),
    "own input": ("k3s-like", ('component = "plugins"', 'component = "k3s-like"'), "input[1].component: a component cannot"),
    "step of go and run": ("small", (SMALL_GO, SMALL_GO + '\nrun = ["x"]'), "step[0]: has go and run", "[[step]]"),
    "step of neither": ("small", (SMALL_GO, 'dir = "x"'), "step[0]: has neither go nor run", "[[step]]"),
    "go and dir": ("small", (SMALL_GO, SMALL_GO + '\ndir = "x"'), "step[0].dir: belongs to `run`", 'dir = "x"'),
    "empty run": ("runtime", ('["runtime", "features"]', "[]"), "smoke[1].run: is empty"),
    "no commands": ("small", (SMALL_GO, "go.commands = {}"), "step[0].go.commands: is empty"),
    "dir with dots": ("runtime", ('"src/init"', '"src/../../x"'), "step[1].dir: 'src/../../x' is not a relative path"),
    "two programs of one name": (
        "plugins",
        ('"bin/portmap" = "example.org/plugins/v2/meta/portmap"', '"bin/other" = "example.org/plugins/v2/meta/bridge/v2"'),
        "step[0].go.commands.\"bin/other\": one step makes two programs; the name 'bridge' is there twice",
    ),
    "command twice": ("plugins", ('"bin/bridge-meta"', '"bin/bridge"'), 'step[1].go.commands."bin/bridge": the command'),
    "-X of no variable": ("runtime", ('"main.version"', '"version"'), "step[0].go.variables.version: is not PACKAGE.NAME"),
    "command that no output declares": (
        "small",
        ('path = "small"', 'path = "big"'),
        "step[0].go.commands.small: no output declares",
        "go.commands",
    ),
    "output twice": ("runtime", ('path = "init"', 'path = "runtime"'), "output[1].path: the output 'runtime' is there twice"),
    "output in a tree": (
        "k3s-like",
        ('"airgap/images.txt"', '"tools/images.txt"'),
        "output[2].path: 'tools/images.txt' is inside",
    ),
    "absolute output": ("small", ('path = "small"', 'path = "/small"'), "output[0].path: '/small' is not"),
    "smoke of no output": ("small", ('run = ["small"', 'run = ["sh"'), "smoke[0].run[0]: 'sh' is no output of kind program"),
    "smoke of a file": (
        "small",
        ('path = "small"', 'path = "small"\nkind = "file"'),
        "step[0].go.commands.small: no output",
        "go.commands",
    ),
    "unknown variable": ("small", ("v{version}", "v{verson}"), "smoke[0].expect[0]: unknown variable {verson}"),
    "lone brace": ("runtime", ("{{'", "{'"), "smoke[1].expect[0]: a lone '{'"),
    "late variable in a source": (
        "small",
        ("[[step]]", 'tag = "{commit}"\n[[step]]'),
        "source[0].tag: unknown variable {commit}",
    ),
    "another component's version in a step": (
        "small",
        ("v{version}", "v{version:plugins}"),
        "smoke[0].expect[0]: unknown variable {version:plugins}",
    ),
    "tests of two packages": (
        "runtime",
        ('{ runtime = "example.org/runtime" }', '{ runtime = "a/b", init = "a/c" }\ngo.test = true'),
        "step[0].go.commands: the tests of one package make one program",
        "go.commands",
    ),
    "standard output of a go step": (
        "small",
        ("[[step]]", '[[step]]\nstdout = "out/x"'),
        "step[0].stdout: belongs to `run`",
        "stdout",
    ),
    "manifest of no output": (
        "small",
        ("[[smoke]]", '[[manifest]]\noutput = "small"\n[[smoke]]'),
        "manifest[0].output: 'small' is no output of kind file",
        'output = "small"',
    ),
    "commit of no source": (
        "k3s-like",
        ("{commit:kubernetes}", "{commit:kubernets}"),
        "step[0].run[5]: {commit:kubernets} names no source",
    ),
    "part that the version lacks": (
        "plugins",
        ('version = "1.9.1"', 'version = "1.9"'),
        "source[0].version: {patch} is not part of",
        'version = "v2.{minor}.{patch}"',
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_each_mistake_has_its_message_with_line_and_key(case: str, tmp_path: Path) -> None:
    name, edit, message, *marked = BAD[case]
    path = edited(name, tmp_path, edit)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    said = [caught.value.message, *caught.value.details.splitlines()]
    lines = [line for line in said if re.search(rf"recipe\.toml:[0-9]+: {re.escape(message)}", line)]
    assert len(lines) == 1, said
    number = int(lines[0].partition("recipe.toml:")[2].partition(":")[0])
    expected = marked[0] if marked else edit[1].partition("\n")[0]
    assert expected in path.read_text().splitlines()[number - 1]


def test_a_main_module_needs_a_go_module(tmp_path: Path) -> None:
    edits = [('module = "example.org/k3s"', ""), ('form = "module"', 'form = "tree"'), ("unpack = true", "")]
    path = edited("k3s-like", tmp_path, *edits, ('module = "k8s.io/kubernetes"', ""), ("replace = {", "# {"))
    with pytest.raises(RecipeError, match="no source names a Go module"):
        load_recipe(path)


def test_module_versions_need_a_main_module(tmp_path: Path) -> None:
    path = edited("runtime", tmp_path, ('"-DDATE={source_date}"', '"{module:k8s.io/api}"'), ("go.cgo", 'go.dir = "x"\ngo.cgo'))
    with pytest.raises(RecipeError, match=r"\{module:k8s.io/api\} needs a go.mod: recipes/runtime/go.mod"):
        load_recipe(path)


# -- single types -----------------------------------------------------------------------------------------------------


def accepts(hint: object, value: str) -> bool:
    problems: list[object] = []
    decoder(hint)(value, (), problems)  # type: ignore[arg-type]
    return not problems


@pytest.mark.parametrize("version", ["1.37.2", "1.37.1+k3s1", "2.8.0-rc.1", "1.16.0-alpha.2", "0.0.30", "2026.11", "1.0rc1"])
def test_versions_that_upstreams_use(version: str) -> None:
    assert accepts(recipes.Version, version)
    PackagingVersion(version)


@given(
    st.from_regex(
        r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}([-.]?(alpha|beta|rc|a|b|x)[-.]?[0-9]{0,2})?(\+[a-z0-9.-]{1,6})?", fullmatch=True
    )
)
def test_a_version_that_is_accepted_can_be_ordered(version: str) -> None:
    if accepts(recipes.Version, version):
        PackagingVersion(version)


@pytest.mark.parametrize("path", ["a", "a/b.c", "src/x..y/.hidden", "a b", "...", "bin/[", "ü"])
def test_relative_paths(path: str) -> None:
    assert accepts(recipes.RelativePath, path)


@pytest.mark.parametrize(
    "path", ["", "/", "/a", "a/", "..", "../a", "a/..", "a/../b", ".", "./a", "a/.", "a/./b", "a\\b", "a\nb", "a\0"]
)
def test_paths_that_could_leave_or_mislead(path: str) -> None:
    assert not accepts(recipes.RelativePath, path)


@example("a//a")
@given(st.text(alphabet="a./\\\n", max_size=8))
def test_an_accepted_path_stays_inside_and_is_normal(path: str) -> None:
    if accepts(recipes.RelativePath, path):
        assert "\n" not in path
        assert not path.startswith("/")
        assert not {"", ".", ".."} & set(path.split("/"))


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ("go.etcd.io/etcd/server/v3", "server"),
        ("example.org/x/v10", "x"),
        ("example.org/x/v1", "v1"),
        ("example.org/x/v0", "v0"),
        ("example.org/x/version", "version"),
        ("v2", "v2"),
        ("./cmd/server", "server"),
        (".", ""),
    ],
)
def test_the_name_that_go_gives_a_program(package: str, name: str) -> None:
    assert executable_name(package) == name
