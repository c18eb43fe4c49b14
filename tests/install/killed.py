"""python killed.py ROOT NODE POINT: install NODE into ROOT, and end by SIGKILL at the POINTth thing done to the disk or run.

With POINT 0 nothing is killed, and the number of points is printed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from contents import CLUSTER, JOIN, content, shelf  # noqa: E402

from kubewright.install import run  # noqa: E402
from kubewright.install.host import Host  # noqa: E402

WATCHED = {"os.rename", "os.remove", "os.symlink", "os.mkdir", "os.chmod", "subprocess.Popen"}


def main(root: Path, node: str, point: int) -> None:
    source = shelf()
    made = content(source)
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        written = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in WATCHED or written:
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    run.install(Host(root), made, source, CLUSTER, run.Options(node=node, join=JOIN if node == "two" else None))
    print(count)


main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
