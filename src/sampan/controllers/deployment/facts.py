"""Facts about a Deployment and its ReplicaSets (upstream ``deployment/util``). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sampan.api import objects
from sampan.api.intorpercent import scaled
from sampan.api.types import Obj
from sampan.controllers.workload import history

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
#: Annotations of a Deployment that its ReplicaSets do not inherit.
_OWN_ANNOTATIONS = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED,
        MAX,
        "deprecated.deployment.rollback.to",
    }
)
REVISION_HISTORY_LIMIT_CHARS = 2000
_NO_DEADLINE = 2**31 - 1


def replicas(obj: Obj) -> int:
    value = obj["spec"].get("replicas")
    return 1 if value is None else int(value)


def status_count(obj: Obj, field: str) -> int:
    return int((obj.get("status") or {}).get(field) or 0)


def total(sets: Iterable[Obj]) -> int:
    return sum(replicas(rs) for rs in sets)


def total_status(sets: Iterable[Obj], field: str) -> int:
    return sum(status_count(rs, field) for rs in sets)


def active(sets: Iterable[Obj]) -> list[Obj]:
    return [rs for rs in sets if replicas(rs) > 0]


def annotation(obj: Obj, name: str) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(name, ""))


def revision(obj: Obj) -> int:
    text = annotation(obj, REVISION)
    return int(text) if text.isdigit() else 0


def is_rolling(deployment: Obj) -> bool:
    return bool((deployment["spec"].get("strategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def fenceposts(deployment: Obj) -> tuple[int, int]:
    """(max surge, max unavailable) in pods; not both are 0."""
    if not is_rolling(deployment):
        return 0, 0
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    wanted = replicas(deployment)
    surge = scaled(rolling.get("maxSurge", "25%"), wanted, round_up=True) or 0
    unavailable = scaled(rolling.get("maxUnavailable", "25%"), wanted, round_up=False) or 0
    if surge == 0 and unavailable == 0:
        # Percentages may both round to 0: then nothing could ever move.
        unavailable = 1
    return surge, unavailable


def max_surge(deployment: Obj) -> int:
    return fenceposts(deployment)[0]


def max_unavailable(deployment: Obj) -> int:
    if not is_rolling(deployment) or replicas(deployment) == 0:
        return 0
    return min(fenceposts(deployment)[1], replicas(deployment))


def same_template(left: Obj, right: Obj) -> bool:
    return objects.equal_semantics(history.without_label(left, HASH_LABEL), history.without_label(right, HASH_LABEL))


def template_hash(template: Obj, collisions: int) -> str:
    return history.short_hash(history.without_label(template, HASH_LABEL), collisions)


def find_new(deployment: Obj, sets: Iterable[Obj]) -> Obj | None:
    """The set that has the Deployment's template; the oldest if there are several."""
    template = deployment["spec"]["template"]
    return history.find_equal(sets, lambda rs: same_template(rs["spec"]["template"], template))


def inherited_annotations(deployment: Obj) -> dict[str, str]:
    source = deployment["metadata"].get("annotations") or {}
    return {key: value for key, value in source.items() if key not in _OWN_ANNOTATIONS}


def replicas_annotations(deployment: Obj) -> dict[str, str]:
    wanted = replicas(deployment)
    return {DESIRED: str(wanted), MAX: str(wanted + max_surge(deployment))}


def desired_annotation(rs: Obj) -> int | None:
    text = annotation(rs, DESIRED)
    return int(text) if text.isdigit() else None


def is_saturated(deployment: Obj, rs: Obj | None) -> bool:
    if rs is None:
        return False
    wanted = replicas(deployment)
    return (
        replicas(rs) == wanted and desired_annotation(rs) == wanted and status_count(rs, "availableReplicas") == wanted
    )


def active_or_latest(new: Obj | None, old: Sequence[Obj]) -> Obj | None:
    """The only set with replicas; without any, the new or the latest old one; with several, None."""
    running = active([*old, *([new] if new else [])])
    if len(running) == 1:
        return running[0]
    if running:
        return None
    return new or (history.by_creation(old)[-1] if old else None)


def deadline_seconds(deployment: Obj) -> int | None:
    """None: progress is not watched."""
    value = deployment["spec"].get("progressDeadlineSeconds")
    return None if value is None or value >= _NO_DEADLINE else int(value)
