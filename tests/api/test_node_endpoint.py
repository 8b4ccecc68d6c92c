"""Where a Node object says that its agent answers."""

from __future__ import annotations

import pytest

from sampan.api.nodes.endpoint import KUBELET_PORT, agent_address, agent_port
from sampan.api.types import Obj


def test_of_two_addresses_of_a_type_the_first_counts() -> None:
    """A node of both families names the one that is its own first."""
    addresses = [
        {"type": "Hostname", "address": "a"},
        {"type": "InternalIP", "address": ""},
        {"type": "InternalIP", "address": "10.0.0.1"},
        {"type": "InternalIP", "address": "fd00::1"},
    ]
    assert agent_address({"status": {"addresses": addresses}}) == "10.0.0.1"
    assert agent_address({"status": {"addresses": addresses[:1]}}) == "a"
    assert agent_address({}) == ""


@pytest.mark.parametrize(("said", "port"), [(10251, 10251), (0, 0), (-5, 0), (99999, 0), (65535, 65535)])
def test_a_port_that_there_is_not_is_not_asked(said: int, port: int) -> None:
    node: Obj = {"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": said}}}}
    assert agent_port(node) == port
    assert agent_port({}) == KUBELET_PORT
