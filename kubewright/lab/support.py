"""What a lab's nodes say when something went wrong, in files: journals, pods, events, audit logs. Never a secret."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from kubewright.lab.machines import Machines

_KUBECTL: Final = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
_QUESTIONS: Final = {
    "journal.txt": "journalctl --no-pager --lines 3000",
    "processes.txt": "ps axf -o pid,ppid,stat,etime,comm",
    "units.txt": "systemctl list-units --all --no-pager",
    "network.txt": "ip address; ip route; ip neigh; nft list ruleset 2>&1 | head -2000",
    "disk.txt": "df -h; free -m",
    "containers.txt": "/usr/local/bin/ctr -n k8s.io containers ls",
    "kubewright.txt": "cat /var/lib/kubewright/audit.jsonl",
    "pods.txt": f"{_KUBECTL} get nodes,pods,services -A -o wide; {_KUBECTL} get events -A --sort-by=.lastTimestamp",
    "pod-logs.txt": 'for f in /var/log/pods/*/*/*.log; do echo "== $f"; tail -n 60 "$f"; done',
}


def collect(machines: Machines, folder: Path) -> None:
    """Ask every node everything; what does not answer is left out."""
    shutil.rmtree(folder, ignore_errors=True)
    for node in machines.state.nodes:
        place = folder / node
        place.mkdir(parents=True)
        for name, script in _QUESTIONS.items():
            with suppress(Exception):  # a node that is gone says nothing; the others do
                (place / name).write_text(machines.run(node, ["sh", "-c", script]).output, encoding="utf-8")
