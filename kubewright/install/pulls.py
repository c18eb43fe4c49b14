"""Pulls at run time, as a plan has them: where containerd may ask, and who judges what it was answered.

Nothing is pulled but what the bundle has. ``hosts.toml`` sends every other name to a port of this host where nobody listens:
refused at once, and the address in the message says why. Whatever is answered, containerd asks our verifier before it fetches
(``io.containerd.image-verifier.v1.bindir``), which applies the site's policy to what was kept of the bundle.
"""

from __future__ import annotations

from typing import Any, Final

from kubewright.install.content import INSTALLER, RELEASE_FILES, STATEMENTS, Content
from kubewright.install.plan import HOME, File, Run, current
from kubewright.install.render import toml
from kubewright.verify.pulled import CONTENTS, RELEASE

PROGRAM: Final = "lib/kubewright-install.pyz"
TRUST: Final = "trust"
POLICY: Final = f"{TRUST}/policy.toml"
VERIFIERS: Final = "verifiers"
VERIFIER: Final = f"{VERIFIERS}/kubewright"
LOG: Final = "/var/log/kubewright/pulls.jsonl"
HOSTS: Final = f"{HOME}/certs.d"
#: nobody listens there but the check that pulls are verified, while it lasts; only root may
CHECK_PORT: Final = 987
#: what a message about a refused pull shows
ADVICE: Final = "/only-images-of-the-bundle-can-be-pulled"

_SCRIPT: Final = f"""#!/bin/sh
# containerd runs this before it fetches an image (docs/install.md, "Pulls"); any other end than 0 is a refusal
exec python3 -I {current(PROGRAM)} node verify-pull "$@"
"""


def pull_files(content: Content) -> list[File]:
    """What a node needs to judge an image: program, policy, and the signed statements of the bundle."""
    kept = [
        *((f"{TRUST}/{RELEASE}/{file.name}", file) for file in content.component(RELEASE_FILES)),
        *(
            (f"{TRUST}/{CONTENTS if file.name.startswith('bundle.') else RELEASE}/{file.name}", file)
            for file in content.component(STATEMENTS)
        ),
    ]
    return [
        File(PROGRAM, content.file(INSTALLER, "kubewright-install.pyz")),
        File(VERIFIER, _SCRIPT, 0o755),
        File(POLICY, content.policy),
        *(File(path, file) for path, file in kept),
    ]


def hosts_files() -> tuple[File, ...]:
    """containerd's registry hosts (docs/hosts.md of containerd)."""
    return (File(f"{HOSTS}/_default/hosts.toml", toml({"server": nobody(), "override_path": True})),)


def nobody() -> str:
    """The address that refuses; while pulls are checked, the check answers there."""
    return f"http://127.0.0.1:{CHECK_PORT}{ADVICE}"


def verifier_plugin() -> dict[str, Any]:
    """Every file in the directory has to agree; an unlimited number, so that none can be pushed out by others."""
    return {"bin_dir": current(VERIFIERS), "max_verifiers": -1, "per_verifier_timeout": "60s"}


def check_step() -> Run:
    """Proves that containerd asks the verifier: an install fails where it does not."""
    argv = ("python3", "-I", current(PROGRAM), "node", "check-pulls")
    return Run("what is pulled is verified", argv, timeout=300)
