"""A lab's own docker daemon: where its sockets are, and what is left of one that does not start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kubewright.lab import daemon
from kubewright.lab.errors import LabError

#: sun_path of Linux, with the zero at its end
LONGEST = 108


def test_its_sockets_fit_wherever_the_checkout_lies(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-very-long-name-of-a-folder"] * 6)
    sockets = daemon.sockets_of(deep)
    assert len(f"{sockets}/exec/containerd/containerd.sock.ttrpc") < LONGEST
    assert sockets != daemon.sockets_of(deep / "other")


def test_one_that_does_not_start_leaves_its_log_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/dockerd"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho no room for me\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    if not os.access("/run", os.W_OK):
        pytest.skip("/run is root's")
    with pytest.raises(LabError, match="does not start") as failure:
        daemon.start(tmp_path / "m1.docker")
    assert "no room for me" in failure.value.details
    assert not daemon.sockets_of(tmp_path / "m1.docker").exists()
