"""What a mirror says of itself to people."""

from __future__ import annotations

from kubewright.model.stack import Stack

_README = """\
A mirror of kubewright: from this folder the stack {stack} can be built again, byte for byte, with no network.

    git clone DIR/kubewright.git && cd kubewright
    KUBEWRIGHT_MIRROR=DIR ./doit build
    .venv/bin/kubewright mirror check DIR --policy site.toml

DIR is where this folder is; or the URL where `kubewright mirror serve DIR` (or any web server) offers it.
docs/mirror.md in the clone says what lies where, what is verified, and how ordinary clients (go, git, pip) use it.
"""


def readme(stack: Stack) -> bytes:
    """The file README."""
    return _README.format(stack=stack.name).encode()
