"""Where a lab's network goes: beside whatever the machine has routes to."""

from __future__ import annotations

import pytest

from kubewright.lab.errors import LabError
from kubewright.lab.subnet import first_free, free_subnet


def test_a_machine_with_one_way_out() -> None:
    found = first_free(["default", "192.0.2.0/24"])
    assert str(found.network) == "172.30.64.0/24"
    assert found.gateway == "172.30.64.1"
    assert found.nodes(["a", "b"]) == {"a": "172.30.64.10", "b": "172.30.64.11"}
    assert found.pool == "172.30.64.200-172.30.64.220"


@pytest.mark.parametrize("taken", ["172.30.64.0/24", "172.30.64.9", "172.30.64.128/25"])
def test_what_another_lab_left_is_not_used(taken: str) -> None:
    assert str(first_free(["default", taken]).network) == "172.30.65.0/24"


def test_a_machine_without_room_is_told() -> None:
    with pytest.raises(LabError, match=r"routes to all of 172\.30\.64\.0-172\.30\.127\.255"):
        first_free(["172.16.0.0/12"])


def test_this_machine_has_one() -> None:
    assert free_subnet().network.prefixlen == 24
