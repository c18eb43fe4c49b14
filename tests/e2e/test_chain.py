"""The whole chain on small components that use everything a recipe can say: lock, build, why, rebuild, accept, build again."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import goproxy
import pytest
from loopback import files_of
from workshop import Workshop

Serve = Callable[[type[BaseHTTPRequestHandler]], str]

GREET_C = """#include <stdio.h>
#include "banner.h"
int main(void) { printf("%s " VERSION " " COMMIT " " DATE " " LIBRARY "\\n", BANNER); return 0; }
"""
PATCH = """--- a/banner.h
+++ b/banner.h
@@ -1,2 +1,2 @@
 #pragma once
-#define BANNER "upstream"
+#define BANNER "ours"
"""

GREETER = """
[[source]]
name = "main"
form = "tree"
git = "{git}"
[[source.patch]]
file = "0001-banner.patch"
reason = "our name on it"

[[source]]
name = "headers"
form = "archive"
url = "{web}/headers-{{version}}.tar.gz"

[[source]]
name = "inner"
form = "archive"
url = "{web}/headers-{{version}}.tar.gz"
strip = 2

[[source]]
name = "library"
form = "module"
module = "example.org/library"
version = "v0.3.0"
unpack = true

[[overlay]]
from = "files/notice"
to = "notice"
[[overlay]]
from = "generator"
to = "tools/generator"

[[step]]
run = ["gcc", "-static", "-O1", "-Wl,--build-id=none", "-Isrc/headers/include", "-DVERSION=\\"{{version}}\\"",
       "-DCOMMIT=\\"{{commit}}\\"", "-DDATE=\\"{{source_date}}\\"", "-DLIBRARY=\\"{{module:example.org/library}}\\"",
       "-o", "{{build}}/out/greet", "greet.c"]
dir = "src/main"
[[step]]
run = ["tools/generator", "folder", "out/share"]
[[step]]
run = ["tools/generator", "copy", "notice/one.txt", "out/share/notice"]
[[step]]
run = ["tools/generator", "link", "/absolute/elsewhere", "out/share/link"]
[[step]]
run = ["tools/generator", "copy", "src/inner/size.h", "out/size.h"]
[[step]]
go.commands = {{ lib = "example.org/library/cmd/lib" }}
go.variables = {{ "main.version" = "v{{version}} {{commit:main}} {{source_date_iso}}" }}

[[output]]
path = "greet"
[[output]]
path = "lib"
[[output]]
path = "size.h"
kind = "file"
[[output]]
path = "share"
kind = "tree"

[[smoke]]
run = ["greet"]
expect = ["ours {{version}} {{commit}} {{source_date}} v0.3.0"]
[[smoke]]
run = ["lib"]
expect = ["v{{version}} {{commit}} {{source_date_iso}} helped"]
"""

HOLDER = """
[[source]]
form = "tree"
git = "{git}"
[[input]]
component = "greeter"
output = "greet"
to = "src/holder/embedded/greet"
[[input]]
component = "greeter"
output = "share"
to = "share"
[[input]]
component = "greeter"
output = "share/notice"
to = "src/holder/embedded/notice"
[[step]]
go.dir = "src/holder"
go.commands = {{ holder = "example.org/holder" }}
[[output]]
path = "holder"
[[smoke]]
run = ["holder"]
expect = ["{size} ELF", "a notice"]
"""

HOLDER_GO = """package main

import "embed"

//go:embed embedded
var held embed.FS

func main() {
	program, _ := held.ReadFile("embedded/greet")
	notice, _ := held.ReadFile("embedded/notice")
	println(len(program), string(program[1:4]), string(notice))
}
"""


@pytest.fixture
def made(shop: Workshop, serve: Serve) -> Workshop:
    """``greeter`` of three forms of source, with overlays and a patch, and ``holder``, which embeds outputs of it."""
    origin = shop.git("greet", {"greet.c": GREET_C, "banner.h": '#pragma once\n#define BANNER "upstream"\n'})
    web = shop.folder / "origins/web"
    web.mkdir()
    with tarfile.open(web / "headers-1.0.0.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("headers-1.0.0/include/size.h")
        info.size, info.mtime = 1, 1_600_000_000
        tar.addfile(info, io.BytesIO(b"\n"))
    proxy = shop.folder / "origins/go"
    helper = {"go.mod": "module example.org/helper\n\ngo 1.26.0\n", "h.go": 'package helper\n\nconst Word = "helped"\n'}
    goproxy.publish(proxy, "example.org/helper", "v1.1.0", helper)
    library = (
        'package main\n\nimport "example.org/helper"\n\nvar version string\n\nfunc main() { println(version, helper.Word) }\n'
    )
    mod = "module example.org/library\n\ngo 1.26.0\n\nrequire example.org/helper v1.1.0\n"
    goproxy.publish(proxy, "example.org/library", "v0.3.0", {"go.mod": mod, "cmd/lib/main.go": library})
    shop.recipe("greeter", GREETER.format(git=origin.url, web=serve(files_of(web))), builder="cgo")
    shop.write("patches/greeter/0001-banner.patch", PATCH)
    shop.write("recipes/greeter/files/notice/one.txt", "a notice\n")
    shop.write("recipes/greeter/generator", (shop.tools[0].parent / "tool").read_bytes(), 0o755)
    files = {"go.mod": "module example.org/holder\n\ngo 1.26.0\n", "main.go": HOLDER_GO}
    shop.recipe("holder", HOLDER.format(git=shop.git("holder", files).url, size="{version}"), builder="go")
    shop.edit("recipes/holder/recipe.toml", '"{version} ELF", ', '"ELF", ')
    shop.stack("holder", "greeter")
    shop.doit("lock:greeter", "lock:holder")
    return shop


def digests(shop: Workshop) -> dict[str, str]:
    return {**shop.record("greeter").digests(), **shop.record("holder").digests()}


def test_from_lock_to_accepted_digests(made: Workshop) -> None:
    shop = made
    commit = shop.git("greet", {}).git("rev-parse", "HEAD")
    first = shop.doit("build:holder")
    assert first.out.index("build:greeter: done") < first.out.index("build:holder: done")
    assert "2 done; " in first.out
    assert shop.artifact("greeter", "share/notice").read_text() == "a notice\n"
    assert str(shop.artifact("greeter", "share/link").readlink()) == "/absolute/elsewhere"
    assert shop.artifact("greeter", "size.h").stat().st_mode & 0o777 == 0o644
    assert shop.artifact("greeter", "greet").stat().st_mode & 0o777 == 0o755

    explained = shop.why("greeter")
    assert [source["form"] for source in explained["sources"]] == ["tree", "archive", "archive", "module"]
    assert explained["sources"][0]["commit"] == commit
    assert explained["sources"][0]["patches"][0]["reason"] == "our name on it"
    assert {module["path"] for module in explained["modules"]} == {"example.org/library", "example.org/helper"}
    assert f'-DCOMMIT="{commit}"' in explained["steps"][0]["argv"]
    renamed = shop.write("elsewhere", shop.artifact("holder").read_bytes())
    found = shop.why(str(renamed))
    assert found["component"] == "holder"
    assert found["output"] == "holder"
    assert list(found["dependencies"]) == ["greeter"]

    assert "2 cached; " in shop.doit("build").out
    shop.doit("rebuild:greeter", DOCKER_HOST="unix:///nowhere")
    for again in shop.why("greeter")["rebuilds"]:
        assert again["agrees"]
        assert again["conditions"]["cold"]
        assert again["conditions"]["build_path"] != "/build"
    shop.doit("accept:greeter")
    accepted = (shop.root / "digests.toml").read_text()
    assert all(digest in accepted for digest in shop.record("greeter").digests().values())
    assert "one build here" in shop.doit("accept:holder", status=33).err
    before = digests(shop)
    for name in ("refs", "artifacts"):
        ((shop.store if name == "refs" else shop.root) / name).rename(shop.folder / f"aside-{name}")
    assert "2 done; " in shop.doit("-n", "2", "build").out
    assert digests(shop) == before
    assert shop.artifact("holder").read_bytes() == renamed.read_bytes()
    shop.tidy()


def test_the_same_bytes_in_docker(made: Workshop, docker_host: str) -> None:
    shop = made
    shop.doit("build:greeter")
    here = shop.record("greeter").digests()
    (shop.store / "refs").rename(shop.folder / "aside-refs")
    shop.doit("build:greeter", KUBEWRIGHT_SANDBOX="docker", DOCKER_HOST=docker_host)
    assert shop.record("greeter").conditions.sandbox == "docker"
    assert shop.record("greeter").digests() == here


def test_artifacts_that_were_changed_or_removed_are_put_back(made: Workshop) -> None:
    shop = made
    shop.doit("build:greeter")
    wanted = hashlib.sha256(shop.artifact("greeter", "greet").read_bytes()).hexdigest()
    shop.flip(shop.artifact("greeter", "greet"))
    assert "1 done; " in shop.doit("build:greeter").out
    assert hashlib.sha256(shop.artifact("greeter", "greet").read_bytes()).hexdigest() == wanted
    shop.artifact("greeter", "share/notice").unlink()
    shop.doit("build:greeter")
    assert shop.artifact("greeter", "share/notice").read_text() == "a notice\n"
    assert "1 cached; " in shop.doit("build:greeter").out


def test_a_dry_run_of_lock_writes_nothing(made: Workshop) -> None:
    shop = made
    shop.git("greet", {}).commit({"new": "file"}, "v1.1.0")
    (shop.folder / "origins/web/headers-1.0.0.tar.gz").rename(shop.folder / "origins/web/headers-1.1.0.tar.gz")
    shop.edit("recipes/greeter/recipe.toml", 'version = "1.0.0"', 'version = "1.1.0"')

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in shop.root.rglob("*") if path.is_file() and "__pycache__" not in path.parts}

    before = files()
    said = shop.doit("lock:greeter", "--dry-run").out
    assert "1.0.0 -> 1.1.0" in said
    assert files() == before
    assert shop.doit("lock:greeter").out.count("1.0.0 -> 1.1.0") == said.count("1.0.0 -> 1.1.0")
    assert files() != before
    locked = files()
    assert "nothing changes" in shop.doit("lock:greeter").out
    assert files() == locked


def test_a_source_that_imports_something_else_in_as_many_bytes(shop: Workshop) -> None:
    """All files have one time and all builds one path: go's index of packages, in the compile cache, cannot tell them apart."""
    main = 'package main\n\nimport _ "errors"\n\nfunc main() { println("hello") }\n'
    origin = shop.git("hello", {"go.mod": "module example.org/hello\n\ngo 1.26.0\n", "main.go": main})
    origin.commit({"main.go": main.replace("errors", "unique")}, "v1.0.1")
    body = f'[[source]]\nform = "tree"\ngit = "{origin.url}"\n[[step]]\ngo.dir = "src/hello"\n'
    shop.recipe("hello", body + 'go.commands = { hello = "example.org/hello" }\n[[output]]\npath = "hello"\n', builder="go")
    shop.doit("lock:hello")
    shop.doit("build:hello")
    shop.edit("recipes/hello/recipe.toml", "1.0.0", "1.0.1")
    shop.doit("lock:hello")
    shop.doit("build:hello")
