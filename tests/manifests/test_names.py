"""Image references, as container runtimes read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewright.manifests.names import parse

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest", "registry"),
    [
        ("busybox", "docker.io/library/busybox", "", "", False),
        ("busybox:1.37", "docker.io/library/busybox", "1.37", "", False),
        ("rancher/x:v1", "docker.io/rancher/x", "v1", "", False),
        ("docker.io/busybox", "docker.io/library/busybox", "", "", True),
        ("index.docker.io/library/busybox:1", "docker.io/library/busybox", "1", "", True),
        ("registry.k8s.io/coredns/coredns:v1.14.6", "registry.k8s.io/coredns/coredns", "v1.14.6", "", True),
        ("host:5000/x:tag", "host:5000/x", "tag", "", True),
        ("host:5000/x", "host:5000/x", "", "", True),
        ("localhost/x:1", "localhost/x", "1", "", True),
        ("UPPER/x:1", "UPPER/x", "1", "", True),  # capitals make the first part a host
        ("[2001:db8::1]:5000/x:1", "[2001:db8::1]:5000/x", "1", "", True),
        (f"x.example/y@{DIGEST}", "x.example/y", "", DIGEST, True),
        (f"x.example/y:1@{DIGEST}", "x.example/y", "1", DIGEST, True),
        ("x.example/a__b/c-d.e:T_a-g.1", "x.example/a__b/c-d.e", "T_a-g.1", "", True),
        ("5000:5000", "docker.io/library/5000", "5000", "", False),
    ],
)
def test_a_reference_taken_apart(text: str, repository: str, tag: str, digest: str, registry: bool) -> None:
    found = parse(text)
    assert found is not None
    assert (found.repository, found.tag, found.digest, found.registry) == (repository, tag, digest, registry)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Busybox",
        "x.example/Y:1",
        "x.example/",
        "/x",
        "x//y",
        "x:",
        ":tag",
        "x:-tag",
        "x:" + "t" * 129,
        "y" * 256,
        "x.example/y@sha256:abc",
        "x.example/y@" + DIGEST.upper(),
        "x.example/y@sha512:" + "0" * 128,
        "x@y@z",
        "https://x.example/y:1",
        "{{ .Image }}",
        "$(IMAGE)",
        "x.example/y:1 ",
        "x.example/y\n",
        "a" * 64,  # an image's id
        "x.example:port/y",
        "-x/y",
        "x..y/z",
        "a" * 1_000_000,
    ],
)
def test_what_is_no_reference(text: str) -> None:
    assert parse(text) is None


@given(st.text(max_size=400))
def test_any_text_is_a_reference_or_is_not(text: str) -> None:
    found = parse(text)
    if found is not None:
        tag = f":{found.tag}" if found.tag else ""
        digest = f"@{found.digest}" if found.digest else ""
        assert f"{found.name}{tag}{digest}" == text
        full = parse(f"{found.repository}{tag}{digest}")
        assert full is not None
        assert full.repository == found.repository
