"""What is to be done for one volume: where it is attached, where it is wanted, and when it may be taken away. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Final

from sampan.api import objects
from sampan.api.nodes import taints
from sampan.api.pods.status import is_terminal, is_terminating, node_name
from sampan.api.reading import part, parts
from sampan.api.types import Obj
from sampan.records import dataclass

#: after this time a volume is taken off a node that is not well, whatever it says
FORCE_SECONDS: Final = 360.0
_MANAGED: Final = "volumes.kubernetes.io/controller-managed-attach-detach"
_KEEPS: Final = "volumes.kubernetes.io/keep-terminated-pod-volumes"


@dataclass(frozen=True, slots=True)
class Attached:
    """A VolumeAttachment. ``unwanted_seconds``: for how long no pod of its node has wanted it."""

    name: str
    uid: str
    node: str
    leaving: bool = False
    unwanted_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Observed:
    """``wanted``: by node, the pods. ``using``: nodes that say the volume is in use; ``ill``: not Ready or not there;
    ``out_of_service``: nobody comes back to them."""

    wanted: Mapping[str, Sequence[Obj]] = field(default_factory=dict)
    attached: Sequence[Attached] = ()
    shared: bool = False
    using: frozenset[str] = frozenset()
    ill: frozenset[str] = frozenset()
    out_of_service: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """``detach``: each with whether nobody is asked. ``attach``: nodes. ``refused``: by node, the others that have it.
    ``look_seconds``: when time alone changes the plan."""

    detach: tuple[tuple[Attached, bool], ...] = ()
    attach: tuple[str, ...] = ()
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    look_seconds: float | None = None


def plan(observed: Observed) -> Plan:
    detach: list[tuple[Attached, bool]] = []
    look: float | None = None
    for each in observed.attached:
        if each.leaving or each.node in observed.wanted:
            continue
        forced = each.node in observed.out_of_service
        late = each.unwanted_seconds >= FORCE_SECONDS and each.node in observed.ill
        # A node that is gone cannot say whether it uses the volume.
        if not (each.node in observed.using or each.node in observed.ill) or forced or late:
            detach.append((each, forced or late))
        else:
            left = max(FORCE_SECONDS - each.unwanted_seconds, 1.0)
            look = left if look is None else min(look, left)
    at = {each.node for each in observed.attached}
    missing = sorted(node for node in observed.wanted if node not in at)
    if observed.shared:
        return Plan(tuple(detach), tuple(missing), {}, look)
    if at:
        refused = {node: tuple(sorted(at)) for node in missing}
        return Plan(tuple(detach), (), refused, look)
    return Plan(tuple(detach), tuple(missing[:1]), {node: tuple(missing[:1]) for node in missing[1:]}, look)


def wants_volumes(pod: Obj, node: Obj | None) -> bool:
    """Whether the pod's volumes are to be at its node. ``node`` None: it is not there."""
    if not node_name(pod) or node is None:
        return False
    annotations = part(part(node, "metadata"), "annotations")
    if annotations.get(_MANAGED) != "true":
        return False  # its kubelet does that itself
    ended = is_terminal(pod) or (is_terminating(pod) and not _runs(pod))
    return not ended or annotations.get(_KEEPS) == "true"


def _runs(pod: Obj) -> bool:
    for each in parts(part(pod, "status"), "containerStatuses"):
        state = part(each, "state")
        if "terminated" not in state and "waiting" not in state:
            return True
    return False


def is_out_of_service(node: Obj) -> bool:
    return any(taint.get("key") == taints.OUT_OF_SERVICE for taint in taints.of(node))


def refusal(volume: str, pod: Obj, holders: Sequence[Obj]) -> str:
    """Upstream's words. ``holders``: pods that use the volume elsewhere, of other namespaces only their number."""
    here = [objects.name(each) for each in holders if objects.namespace(each) == objects.namespace(pod)]
    elsewhere = len(holders) - len(here)
    others = f"{elsewhere} pod(s) in different namespaces"
    if here:
        words = f"Volume is already used by pod(s) {', '.join(here)}" + (f" and {others}" if elsewhere else "")
    elif elsewhere:
        words = f"Volume is already used by {others}"
    else:
        words = "Volume is already exclusively attached to one node and can't be attached to another"
    return f'Multi-Attach error for volume "{volume}" {words}'
