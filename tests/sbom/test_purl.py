"""Package URLs: those of the specification's types, read back by packageurl-python."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packageurl import PackageURL

from kubewright.sbom import purl


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (purl.golang("k8s.io/api", "v0.37.2"), "pkg:golang/k8s.io/api@v0.37.2"),
        (purl.golang("github.com/Azure/go-autorest", "v14.2.0+incompatible"),
         "pkg:golang/github.com/azure/go-autorest@v14.2.0%2Bincompatible"),
        (purl.golang("dario.cat/mergo", "v1.0.2"), "pkg:golang/dario.cat/mergo@v1.0.2"),
        (purl.deb("libc6-dev", "2.36-9+deb12u14", "amd64", "bookworm"),
         "pkg:deb/debian/libc6-dev@2.36-9%2Bdeb12u14?arch=amd64&distro=bookworm"),
        (purl.deb("attr", "1:2.4.47-2~bpo", "amd64", "sid"), "pkg:deb/debian/attr@1:2.4.47-2~bpo?arch=amd64&distro=sid"),
        (purl.generic("pause", "3.10"), "pkg:generic/pause@3.10"),
        (purl.generic("x", "1", {"vcs_url": "git+https://h/x@ab", "download_url": ""}),
         "pkg:generic/x@1?vcs_url=git%2Bhttps:%2F%2Fh%2Fx%40ab"),
    ],
)  # fmt: skip
def test_spelling(found: str, expected: str) -> None:
    assert found == expected


@given(st.from_regex(r"[a-z]{1,8}\.[a-z]{2}(/[a-z0-9][a-z0-9._~-]{0,8}){1,4}", fullmatch=True), st.from_regex(
    r"v[0-9]\.[0-9]\.[0-9](-[a-z0-9.]{1,9})?(\+incompatible)?", fullmatch=True))  # fmt: skip
def test_modules_are_read_back(path: str, version: str) -> None:
    found = PackageURL.from_string(purl.golang(path, version))
    assert f"{found.namespace}/{found.name}" == path
    assert found.version == version
