"""What the stack k3s has beside k3s, for the stand-in's workshop: klipper-lb and klipper-helm by their own recipes from small
sources, the other images as the real recipes declare them around a small program.
"""

from __future__ import annotations

import re
import shutil
from typing import Final

from goproxy import publish
from standin import RECIPE, Standin, document
from workshop import HEAD, QUIET, REPOSITORY, listed

from kubewright.building.inputs import ensure_packages, ensure_root, root_name
from kubewright.model.image_model import output_of
from kubewright.model.recipe import load_recipes
from kubewright.project import Project

RECIPES: Final = REPOSITORY / "recipes"
STACK: Final = REPOSITORY / "stacks/k3s.toml"
#: built by their own recipes, from sources with these files
OWN: Final = {
    "klipper-helm": {"entry*": "#!/bin/bash\nexec helm version\n", "LICENSE": "As is.\n"},
    "klipper-lb": {"entry*": "#!/bin/sh\nexec sleep 1\n", "LICENSE": "As is.\n"},
}
_MAIN: Final = 'package main\n\nimport "fmt"\n\nvar version = "unset"\n\nfunc main() { fmt.Println(version) }\n'
_HELM: Final = """package main

import (
	"fmt"

	"helm.sh/helm/v3/internal/version"
)

func main() { fmt.Printf("version.BuildInfo{Version:%q, GitTreeState:%q}\\n", version.Version(), version.State()) }
"""
_HELM_VERSION: Final = """package version

var version, metadata, gitTreeState = "unset", "unreleased", ""

func Version() string { return version + metadata }
func State() string   { return gitTreeState }
"""
#: Go modules that klipper-helm's recipe takes
_MODULES: Final = {
    ("helm.sh/helm/v3", "v3.18.6"): {"cmd/helm/helm.go": _HELM, "internal/version/version.go": _HELM_VERSION},
    ("github.com/helm/helm-mapkubeapis", "v0.6.1"): {
        "cmd/mapkubeapis/main.go": _MAIN,
        "plugin.yaml": 'name: "mapkubeapis"\n',
        "config/Map.yaml": "mappings: []\n",
    },
    ("github.com/k3s-io/helm-set-status", "v0.3.0"): {
        "cmd/helm-set-status/main.go": _MAIN,
        "plugin.yaml": 'name: "set-status"\n',
    },
}


def add_stack(standin: Standin) -> None:
    """Recipes, sources and settings for ``./doit bundle:k3s``; nothing is locked or built yet."""
    shop = standin.shop
    for (module, version), files in _MODULES.items():
        publish(standin.proxy, module, version, {"go.mod": f"module {module}\n\ngo 1.24\n", "LICENSE": "As is.\n", **files})
    for name, files in OWN.items():
        _own_recipe(standin, name, files)
    for name in names():
        _small(standin, name)
    shutil.copy(STACK, shop.root / "stacks/k3s.toml")
    shop.write("settings.toml", (shop.root / "settings.toml").read_text() + 'stack = "k3s"\n')
    shop.write("release.toml", "sequence = 1\n")
    shop.write("digests.toml", "# digests.toml\nversion = 1\n# end of digests.toml\n")
    share_roots(standin)


def names() -> list[str]:
    """The components that stand around a small program."""
    return sorted({*document(STACK)["components"]} - {"k3s", *OWN})


def _own_recipe(standin: Standin, name: str, files: dict[str, str]) -> None:
    """The recipe as it is, but for the URL of its main source; what it says of that source's files is so."""
    shop, recipe = standin.shop, RECIPES / name
    main = document(recipe / "recipe.toml")["source"][0]
    held = {path: "\n".join(texts) + "\n" for path, texts in main.get("facts", {}).items()}
    tag = main.get("tag", "v" + document(recipe / "recipe.toml")["version"])
    made = shop.git(name, {**files, **held}, tag)
    text = (recipe / "recipe.toml").read_text().replace(f'git = "{main["git"]}"\n', f'git = "{made.url}"\n', 1)
    # modules come from the proxy alone: nobody can compare them with a commit here
    text = re.sub(r'^git = "https://.*\n(tag = .*\n)?', "", text, flags=re.MULTILINE)
    shop.write(f"recipes/{name}/recipe.toml", text)


def _small(standin: Standin, name: str) -> None:
    """The images of recipes/NAME as they are, and outputs of the names that they take."""
    text = (RECIPES / name / "recipe.toml").read_text()
    recipe = load_recipes(RECIPES)[name]
    outputs = sorted({output_of(each, name)[1] for image in recipe.images for each in image.files.values()})
    source = standin.shop.git("tiny", {"a": "a", "LICENSE": "As is.\n"})
    body = f'[[source]]\nname = "src"\nform = "tree"\ngit = "{source.url}"\ntag = "v1.0.0"\n'
    body += "".join(f"[[step]]\nrun = {listed(['tool', 'copy', '/usr/bin/tool', f'out/{path}'])}\n" for path in outputs)
    body += "".join(f'[[output]]\npath = "{path}"\n' for path in outputs)
    head = HEAD.format(name=name, version=recipe.version, builder="tools")
    standin.shop.write(f"recipes/{name}/recipe.toml", f"{head}{body}\n{text[text.index('[[image]]') :]}")


def share_roots(standin: Standin) -> None:
    """The packages and roots that images are made of and licences are read from, out of the environment's own store."""
    project, store = Project(REPOSITORY), standin.shop.project().store
    for name in ("cgo-k3s", "image-busybox", "image-certificates", "image-klipper-helm", "image-klipper-lb", "licences"):
        builder = project.locked_builder(name)
        ensure_root(project, name, builder, QUIET)
        place = standin.shop.store / "trees" / root_name(builder)
        if not place.exists():
            place.symlink_to(project.store.tree(root_name(builder)))
        ensure_packages(project, name, builder.packages, QUIET)
        for package in builder.packages:
            digest = f"sha256:{package.sha256}"
            if not store.has(digest):
                with store.scratch("shared") as scratch:
                    project.store.copy_out(digest, scratch / "blob")
                    store.put_file(scratch / "blob", digest)


def requested() -> set[str]:
    """The images that k3s' recipe says upstream's air-gap list has."""
    facts = document(RECIPE)["source"][0]["facts"]
    return set(facts["scripts/airgap/image-list.txt"])
