"""Where the agent of a node answers (the kubelet's API): what the Node object says. Pure."""

from __future__ import annotations

from typing import Final

from sampan.api.types import Obj

KUBELET_PORT: Final = 10250
_ADDRESS_TYPES: Final = ("InternalIP", "ExternalIP", "Hostname")


def agent_address(node: Obj) -> str:
    """The first address of the preferred types; "": it has none."""
    status = node.get("status") or {}
    listed: dict[str, str] = {}
    for entry in status.get("addresses") or ():
        if address := entry.get("address"):
            listed.setdefault(entry.get("type", ""), address)  # of both families the first is the node's own
    return next((listed[kind] for kind in _ADDRESS_TYPES if kind in listed), "")


def agent_port(node: Obj) -> int:
    """0: the node says that its agent does not listen (simulated nodes), or a port that there is not."""
    endpoint = ((node.get("status") or {}).get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    port = endpoint.get("Port", KUBELET_PORT)
    if not isinstance(port, int):
        return KUBELET_PORT
    return port if 0 < port < 1 << 16 else 0
