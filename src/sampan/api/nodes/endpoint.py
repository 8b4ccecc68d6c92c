"""Where the agent of a node answers (the kubelet's API): what the Node object says. Pure."""

from __future__ import annotations

from typing import Final

from sampan.api.types import Obj

KUBELET_PORT: Final = 10250
_ADDRESS_TYPES: Final = ("InternalIP", "ExternalIP", "Hostname")


def agent_address(node: Obj) -> str:
    """The first address of the preferred types; "": it has none."""
    status = node.get("status") or {}
    listed = {entry.get("type"): entry.get("address", "") for entry in status.get("addresses") or ()}
    return next((listed[kind] for kind in _ADDRESS_TYPES if listed.get(kind)), "")


def agent_port(node: Obj) -> int:
    """0: the node says that its agent does not listen (simulated nodes)."""
    endpoint = ((node.get("status") or {}).get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    port = endpoint.get("Port", KUBELET_PORT)
    return port if isinstance(port, int) else KUBELET_PORT
