"""Where kubewright-install.pyz begins. A pull waits for ``node verify-pull``: that loads the verifier, and no installer."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> int:
    """The stand-alone command; returns the exit code (docs/errors.md)."""
    given = sys.argv[1:] if words is None else list(words)
    if given[:2] == ["node", "verify-pull"]:
        from kubewright.install.judge import answer

        return answer(given[2:])
    from kubewright.install.command import main as command

    return command(given)
