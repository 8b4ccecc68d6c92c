"""The topology manager's policies and their options: names, refusals and defaults of the kubelet's. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast

from sampan.api.errors import quoted
from sampan.api.go_bool import parse_bool
from sampan.node.admission import Refusal
from sampan.node.numa import Cell
from sampan.node.topology import hints
from sampan.node.topology.hints import Hint, Hints
from sampan.records import dataclass

Name = Literal["none", "best-effort", "restricted", "single-numa-node"]
Scope = Literal["container", "pod"]
NAMES: Final = ("none", "best-effort", "restricted", "single-numa-node")
SCOPES: Final = ("container", "pod")
#: Every set of NUMA nodes is looked at: their number doubles with each.
MOST_NODES: Final = 8
CLOSEST, MOST = "prefer-closest-numa-nodes", "max-allowable-numa-nodes"

REFUSED: Final = Refusal("TopologyAffinityError", "Resources cannot be allocated with Topology locality")


@dataclass(frozen=True, slots=True)
class Policy:
    name: Name = "none"
    scope: Scope = "container"
    closest: bool = False
    most_nodes: int = MOST_NODES


def read(name: str, scope: str, options: Mapping[str, str]) -> Policy:
    """Raises ValueError: what no kubelet takes."""
    if name not in NAMES:
        listed = " ".join(f'"{each}"' for each in NAMES)
        raise ValueError(f"topologyManagerPolicy (--topology-manager-policy) {quoted(name)} must be one of: [{listed}]")
    if scope not in SCOPES:
        raise ValueError(
            f"topologyManagerScope (--topology-manager-scope) {quoted(scope)} "
            f'must be one of: "{SCOPES[0]}", or "{SCOPES[1]}"'
        )
    most, near = MOST_NODES, False
    for option, value in options.items():
        if option == CLOSEST:
            try:
                near = parse_bool(value)
            except ValueError as error:
                raise ValueError(f"bad value for option {quoted(option)}: {error}") from error
        elif option == MOST:
            most = _number(option, value)
        else:
            raise ValueError(f"unknown Topology Manager Policy option: {quoted(option)}")
    return Policy(cast(Name, name), cast(Scope, scope), near, most)


def _number(option: str, value: str) -> int:
    try:
        number = int(value)
    except ValueError as error:
        raise ValueError(f"unable to convert policy option to integer {quoted(option)}: {quoted(value)}") from error
    if number < MOST_NODES:
        raise ValueError(f"the minimum value of {quoted(option)} should not be less than {MOST_NODES}")
    return number


def check(policy: Policy, cells: Sequence[Cell]) -> None:
    """Raises ValueError: no kubelet with this policy starts on the machine."""
    if policy.name != "none" and len(cells) > policy.most_nodes:
        raise ValueError(f"unsupported on machines with more than {policy.most_nodes} NUMA Nodes")


def decide(policy: Policy, cells: Sequence[Cell], offers: Sequence[Hints]) -> Hint | None:
    """Where the resources are to come from; None: they are refused. Not for the policy ``none``."""
    everywhere = hints.mask_of(cell.id for cell in cells)
    wishes = hints.resources(offers)
    if policy.name != "single-numa-node":
        rank = hints.closest(cells) if policy.closest else hints.narrowest
        best = hints.merge(everywhere, wishes, rank)
        return best if best.preferred or policy.name == "best-effort" else None
    best = hints.merge(everywhere, [[each for each in wish if _on_one_node(each)] for wish in wishes])
    if not best.preferred:
        return None
    return hints.ANYWHERE if best.affinity == everywhere else best


def _on_one_node(hint: Hint) -> bool:
    return hint.preferred and (hint.affinity is None or hint.affinity.bit_count() == 1)
