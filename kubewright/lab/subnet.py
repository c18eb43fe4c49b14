"""Which addresses a lab has: a network of 256 that nothing on this machine has a route to."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

from kubewright.lab.errors import LabError

#: private (RFC 1918), and not where docker's own networks begin
_CANDIDATES: Final = tuple(IPv4Network("172.30.64.0/18").subnets(new_prefix=24))


@dataclass(frozen=True, slots=True)
class Subnet:
    """``network`` is a /24."""

    network: IPv4Network

    @property
    def gateway(self) -> str:
        """This machine's address in it."""
        return str(self.network[1])

    @property
    def pool(self) -> str:
        """What a load balancer may give out: first-last."""
        return f"{self.network[200]}-{self.network[220]}"

    def nodes(self, names: Sequence[str]) -> dict[str, str]:
        """name -> address."""
        return {name: str(self.network[10 + number]) for number, name in enumerate(names)}


def free_subnet() -> Subnet:
    """The first that no route leads to. Raises LabError."""
    said = subprocess.run(["ip", "-json", "-4", "route", "show"], capture_output=True, text=True, check=True).stdout
    return first_free([str(route["dst"]) for route in json.loads(said)])


def first_free(routes: Sequence[str]) -> Subnet:
    """The first network that is apart from all destinations of ``routes``, as `ip route` writes them. Raises LabError."""
    taken = [IPv4Network(each, strict=False) for each in routes if each != "default"]
    for network in _CANDIDATES:
        if not any(network.overlaps(each) for each in taken):
            return Subnet(network)
    raise LabError(
        f"this machine has routes to all of {_CANDIDATES[0][0]}-{_CANDIDATES[-1][-1]}, where a lab would be",
        remedy="`ip route` shows them; ./doit lab:m1:down takes away what a lab left",
    )
