"""How a pod is doing, as its status says: phase, conditions, readiness (``api/v1/pod``). Pure; never raises."""

from __future__ import annotations

from datetime import datetime

from sampan.api.reading import moment, part, parts, text, whole
from sampan.api.types import Condition, Obj

#: The phases of which a pod never comes back.
TERMINAL_PHASES = ("Succeeded", "Failed")


def phase(pod: Obj) -> str:
    # Spelt out, as the next ones: owners of thousands of pods ask it of each at every look.
    status = pod.get("status") if isinstance(pod, dict) else None
    found = status.get("phase") if isinstance(status, dict) else None
    return found if isinstance(found, str) else ""


def is_terminal_phase(phase: str) -> bool:
    return phase in TERMINAL_PHASES


def is_terminal(pod: Obj) -> bool:
    """It has ended for good; what it held of a node is free."""
    return phase(pod) in TERMINAL_PHASES


def is_terminating(pod: Obj) -> bool:
    """Its deletion was asked for."""
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    found = metadata.get("deletionTimestamp") if isinstance(metadata, dict) else None
    return isinstance(found, str) and found != ""


def is_active(pod: Obj) -> bool:
    """It counts as a replica: neither ended nor on its way out."""
    return not is_terminal(pod) and not is_terminating(pod)


def node_name(pod: Obj) -> str:
    """The node it is bound to; "" before that."""
    return text(part(pod, "spec"), "nodeName")


def condition(pod: Obj, kind: str) -> Condition | None:
    status = pod.get("status") if isinstance(pod, dict) else None
    listed = status.get("conditions") if isinstance(status, dict) else None
    if isinstance(listed, list):
        for entry in listed:
            if isinstance(entry, dict) and entry.get("type") == kind:
                found: Condition = entry  # type: ignore[assignment]  # read as one; absent fields count as such
                return found
    return None


def is_true(pod: Obj, kind: str) -> bool:
    """Whether its condition of that kind is True."""
    found = condition(pod, kind)
    return found is not None and found.get("status") == "True"


def is_ready(pod: Obj) -> bool:
    return is_true(pod, "Ready")


def ready_since(pod: Obj) -> datetime | None:
    return moment(condition(pod, "Ready"), "lastTransitionTime") if is_ready(pod) else None


def available_in_seconds(pod: Obj, min_ready_seconds: int, now: datetime) -> float | None:
    """0: available now; more: when it will be if it stays ready; None: it is not ready."""
    if not is_ready(pod):
        return None
    if min_ready_seconds == 0:
        return 0.0
    since = ready_since(pod)
    if since is None:
        return None
    return max(0.0, (since - now).total_seconds() + min_ready_seconds)


def restarts(pod: Obj) -> int:
    """Of the main container that restarted most."""
    return max((whole(s, "restartCount") or 0 for s in parts(part(pod, "status"), "containerStatuses")), default=0)


def sidecar_restarts(pod: Obj) -> int:
    """Of the sidecar that restarted most: an init container that is always to run."""
    statuses = parts(part(pod, "status"), "initContainerStatuses")
    counts = {text(status, "name"): whole(status, "restartCount") or 0 for status in statuses}
    sidecars = (each for each in parts(part(pod, "spec"), "initContainers") if text(each, "restartPolicy") == "Always")
    return max((counts.get(text(each, "name"), 0) for each in sidecars), default=0)


def created(pod: Obj) -> datetime | None:
    return moment(part(pod, "metadata"), "creationTimestamp")


def started(pod: Obj) -> datetime | None:
    """When its node took it."""
    return moment(part(pod, "status"), "startTime")


def is_resize_infeasible(pod: Obj) -> bool:
    """The node said that it will never have what the pod was resized to: the wish does not count."""
    found = condition(pod, "PodResizePending")
    return found is not None and found.get("reason") == "Infeasible"
