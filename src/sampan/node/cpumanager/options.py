"""What the static policy is asked for besides (``cpuManagerPolicyOptions``): names, stages, refusals of the kubelet's.
Pure. Those of stage alpha want the gate ``CPUManagerPolicyAlphaOptions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sampan.api.errors import quoted
from sampan.api.go_bool import parse_bool
from sampan.node.processors import Topology
from sampan.records import dataclass

ALPHA_GATE: Final = "CPUManagerPolicyAlphaOptions"
_FIELDS: Final = {
    "full-pcpus-only": "full_cores",
    "strict-cpu-reservation": "strict_reservation",
    "distribute-cpus-across-numa": "across_nodes",
    "prefer-align-cpus-by-uncorecache": "by_cache",
    "align-by-socket": "by_socket",
    "distribute-cpus-across-cores": "across_cores",
}
_ALPHA: Final = ("align-by-socket", "distribute-cpus-across-cores")
#: They contradict each other.
_APART: Final = (
    ("full-pcpus-only", "distribute-cpus-across-cores"),
    ("distribute-cpus-across-numa", "distribute-cpus-across-cores"),
    ("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-cores"),
    ("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-numa"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """``full_cores``: a container gets all threads of its cores. ``strict_reservation``: nobody is on the reserved
    processors, neither alone nor with others. ``across_nodes``: as many of each NUMA node, where one is not enough.
    ``by_cache``: of as few last-level caches as may be. ``by_socket``: a socket is as good as a NUMA node.
    ``across_cores``: threads of several cores rather than of one."""

    full_cores: bool = False
    strict_reservation: bool = False
    across_nodes: bool = False
    by_cache: bool = False
    by_socket: bool = False
    across_cores: bool = False


def read(given: Mapping[str, str], *, alpha: bool = False) -> Options:
    """Raises ValueError: what no kubelet takes."""
    found: dict[str, bool] = {}
    for name, value in given.items():
        if name not in _FIELDS:
            raise ValueError(f"unknown CPU Manager Policy option: {quoted(name)}")
        if name in _ALPHA and not alpha:
            raise ValueError(f"CPU Manager Policy Alpha-level Options not enabled, but option {quoted(name)} provided")
        try:
            found[name] = parse_bool(value)
        except ValueError as error:
            raise ValueError(f"bad value for option {quoted(name)}: {error}") from error
    for one, other in _APART:
        if found.get(one) and found.get(other):
            raise ValueError(f"static policy options {one} and {other} can not be used at the same time")
    return Options(**{_FIELDS[name]: value for name, value in found.items()})


def check(options: Options, topology: Topology, topology_policy: str) -> None:
    """Raises ValueError: not on this machine, or not beside this policy of the topology manager."""
    if not options.by_socket:
        return
    if topology_policy == "single-numa-node":
        raise ValueError(
            "Topology manager single-numa-node policy is incompatible with CPUManager align-by-socket policy option"
        )
    if len(topology.by_socket(topology.cpus)) > len(topology.by_node(topology.cpus)):
        raise ValueError(
            "Align by socket is not compatible with hardware where number of sockets are more than number of NUMA"
        )
