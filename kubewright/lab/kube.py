"""kubectl on a lab's control plane, as a few words: apply, get, wait, run in a pod."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubewright.lab.errors import LabCheckError
from kubewright.lab.machines import Machines

_KUBECTL: Final = ("/usr/local/bin/kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf")


@dataclass(frozen=True, slots=True)
class Kube:
    """The API of a lab's cluster, through its control plane ``node``."""

    machines: Machines
    node: str

    def call(self, *words: str) -> str:
        """What kubectl printed, without its warnings. Raises LabCheckError when it failed."""
        said = self.machines.run(self.node, (*_KUBECTL, *words))
        if said.status:
            raise LabCheckError(f"kubectl {' '.join(words)[:120]} ended with status {said.status}", details=said.output[-4000:])
        return said.result

    def get(self, *words: str) -> Any:
        """Objects, as data."""
        return json.loads(self.call("get", *words, "-o", "json"))

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Give objects to the API server."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        # no standard input through exec: the text is an argument of a shell that hands it on
        script = 'printf %s "$1" | kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f -'
        said = self.machines.run(self.node, ["sh", "-c", script, "sh", text])
        if said.status:
            raise LabCheckError("kubectl apply failed", details=said.output[-4000:])

    def inside(self, pod: str, *argv: str) -> str:
        """What a program in a pod printed. Raises LabCheckError when it failed."""
        return self.call("exec", pod, "--", *argv)

    def until(self, what: str, found: Callable[[], Any], timeout: float = 120) -> Any:
        """The first result that is true, of asking again and again. Raises LabCheckError after ``timeout`` seconds."""
        end, last = time.monotonic() + timeout, ""
        while True:
            try:
                result = found()
                if result:
                    return result
            except LabCheckError as error:
                last = error.details or error.message
            if time.monotonic() > end:
                raise LabCheckError(f"after {timeout:.0f} s it is still not so that {what}", details=last or self._why())
            time.sleep(0.3)

    def _why(self) -> str:
        said = self.machines.run(self.node, (*_KUBECTL, "get", "pods", "-A", "-o", "wide"))
        events = self.machines.run(self.node, (*_KUBECTL, "get", "events", "-A", "--sort-by=.lastTimestamp"))
        return said.output[-3000:] + "\n" + "\n".join(events.output.splitlines()[-15:])


def condition(item: Mapping[str, Any], kind: str) -> bool:
    """Whether an object's condition is True."""
    return any(each["type"] == kind and each["status"] == "True" for each in item.get("status", {}).get("conditions", ()))


def pod(name: str, image: str, command: Sequence[str], *, node: str = "", **spec: Any) -> dict[str, Any]:
    """A pod of one container, on a node if it is said."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": list(command),
        **spec.pop("container", {}),
    }
    where = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **where, **spec},
    }


def service(name: str, app: str, port: int, kind: str = "ClusterIP") -> dict[str, Any]:
    """A service of one port in front of pods."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"type": kind, "selector": {"app": app}, "ports": [{"port": port, "targetPort": port}]},
    }
