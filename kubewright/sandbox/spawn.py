"""Starting a process from a thread of its own, whose mount namespace, CPUs and lifetime the process inherits.

Linux gives each thread its own mount namespace and CPU set when it asks for one, so nothing of the program around
changes, no code runs between fork and exec, and no helper program is needed. The kernel ends a process started with
PR_SET_PDEATHSIG when the *thread* that started it ends: the thread therefore waits until the run is over.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_SLAVE = 4096, 16384, 1 << 19
_STAGE = "/tmp"  # noqa: S108 (covered by a tmpfs in a mount namespace that only this thread and bwrap ever see)

Process = subprocess.Popen[bytes]


@contextmanager
def started(start: Callable[[], Process]) -> Iterator[Process]:
    """``start()`` is called in a new thread; at the end its process is killed if it still runs, and reaped."""
    thread = _Starter(start)
    try:
        thread.start()
        yield thread.result()
    finally:
        thread.stop()


class _Starter(threading.Thread):
    def __init__(self, start: Callable[[], Process]) -> None:
        super().__init__(name="kubewright-sandbox", daemon=True)
        self._start_process = start
        self._process: Process | None = None
        self._error: BaseException | None = None
        self._ready, self._over = threading.Event(), threading.Event()

    def run(self) -> None:
        try:
            self._process = self._start_process()
        except BaseException as error:  # handed to the thread that waits in result()
            self._error = error
        self._ready.set()
        self._over.wait()

    def result(self) -> Process:
        self._ready.wait()
        if self._error is not None:
            raise self._error
        assert self._process is not None
        return self._process

    def stop(self) -> None:
        if self.ident is None:  # interrupted before the thread began
            return
        self._ready.wait()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._over.set()
        self.join()


def places(sources: Sequence[Path]) -> dict[Path, str]:
    """Where :func:`stage` will put each of these."""
    return {source: f"{_STAGE}/{number}" for number, source in enumerate(dict.fromkeys(sources))}


def stage(placed: Mapping[Path, str]) -> None:
    """Bind host paths at short ones that any uid can reach, in a mount namespace of the calling thread alone.

    bwrap resolves what it mounts with the rights of the uid it runs as; a store below a home directory of mode 0700 is
    out of reach for an unprivileged one. Only what is named here becomes reachable, and only for that bwrap. Raises
    OSError (EPERM without CAP_SYS_ADMIN).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(_CLONE_NEWNS), "unshare the mount namespace")
    _mount(libc, "none", "/", None, _MS_REC | _MS_SLAVE)
    handles = {source: os.open(source, os.O_PATH) for source in placed}
    try:
        _mount(libc, "kubewright", _STAGE, "tmpfs", 0, "mode=0755,size=1m")
        for source, handle in handles.items():
            _bind(libc, handle, Path(placed[source]))
    finally:
        for handle in handles.values():
            os.close(handle)


def _bind(libc: ctypes.CDLL, handle: int, target: Path) -> None:
    source = Path(f"/proc/self/fd/{handle}")
    if source.is_dir():
        target.mkdir()
    else:
        target.touch()
    _mount(libc, str(source), str(target), None, _MS_BIND)


def _mount(libc: ctypes.CDLL, source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    words = [word.encode() if word is not None else None for word in (source, target, kind)]
    _checked(libc.mount(*words, ctypes.c_ulong(flags), data.encode()), f"mount {source} at {target}")


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {what}: {os.strerror(number)}")
