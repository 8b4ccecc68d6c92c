"""What a PodDisruptionBudget allows: its status out of the pods it selects (policy/v1). Pure.

The eviction subresource of the API server takes from ``disruptionsAllowed`` and notes the pod in ``disruptedPods``;
this status gives both back as pods go and come.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sampan.api.clock import parse_time
from sampan.api.intorpercent import scaled
from sampan.api.pods import status as podstatus
from sampan.api.types import Obj
from sampan.controllers.workload import conditions
from sampan.records import dataclass

#: A pod noted by an eviction counts as gone for so long; after that the eviction is taken for failed.
DELETION_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Expected:
    """How many pods there should be, and how many of them must be healthy."""

    pods: int
    healthy: int


@dataclass(frozen=True, slots=True)
class Disrupted:
    """``pods`` still on their way out; ``overdue`` names those that stayed; ``recheck_seconds`` None: nothing."""

    pods: dict[str, str]
    overdue: tuple[str, ...]
    recheck_seconds: float | None


def needs_scale(budget: Obj) -> bool:
    """Whether the size of the pods' controllers counts, and not only the pods that are there."""
    spec = budget["spec"]
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def plan_expected(budget: Obj, pods: int, scale: int) -> Expected:
    """``scale`` is the sum of the wanted replicas of the pods' controllers; used only if ``needs_scale``."""
    spec = budget["spec"]
    if spec.get("maxUnavailable") is not None:
        return Expected(scale, max(0, scale - _share(spec["maxUnavailable"], scale)))
    minimum = spec.get("minAvailable")
    if isinstance(minimum, str):
        return Expected(scale, _share(minimum, scale))
    return Expected(pods, int(minimum or 0))


def plan_disrupted(budget: Obj, pods: Sequence[Obj], now: datetime) -> Disrupted:
    noted = (budget.get("status") or {}).get("disruptedPods") or {}
    kept: dict[str, str] = {}
    overdue: list[str] = []
    waits: list[float] = []
    for pod in pods:
        name = pod["metadata"]["name"]
        if name not in noted or podstatus.is_terminating(pod):
            continue
        left = (parse_time(noted[name]) - now).total_seconds() + DELETION_TIMEOUT_SECONDS
        if left < 0:
            overdue.append(name)
        else:
            kept[name] = noted[name]
            waits.append(left)
    return Disrupted(kept, tuple(overdue), min(waits, default=None))


def plan_status(budget: Obj, pods: Sequence[Obj], expected: Expected, disrupted: Disrupted, now: datetime) -> Obj:
    healthy = sum(
        1
        for pod in pods
        if podstatus.is_ready(pod)
        and not podstatus.is_terminating(pod)
        and pod["metadata"]["name"] not in disrupted.pods
    )
    # A budget that matches no pod yet allows nothing: it is in a safe state when the first one comes.
    allowed = max(0, healthy - expected.healthy) if expected.pods > 0 else 0
    status: Obj = {
        "observedGeneration": budget["metadata"].get("generation", 0),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": expected.healthy,
        "expectedPods": expected.pods,
        "conditions": _conditions(
            budget, allowed > 0, "SufficientPods" if allowed > 0 else "InsufficientPods", "", now
        ),
    }
    if disrupted.pods:
        status["disruptedPods"] = disrupted.pods
    return status


def plan_failure(budget: Obj, message: str, now: datetime) -> Obj:
    """The status while the budget cannot be worked out: nothing may be evicted."""
    status = dict(budget.get("status") or {})
    status["disruptionsAllowed"] = 0
    status["conditions"] = _conditions(budget, False, "SyncFailed", message, now)
    return status


def _conditions(budget: Obj, allowed: bool, reason: str, message: str, now: datetime) -> list[Obj]:
    new = conditions.make("DisruptionAllowed", str(allowed), reason, message, now)
    listed: list[Obj] = []
    for entry in conditions.put((budget.get("status") or {}).get("conditions"), new):
        if entry["type"] == new["type"]:
            listed.append({**entry, "message": message, "observedGeneration": budget["metadata"].get("generation", 0)})
        else:
            listed.append(dict(entry))
    return listed


def _share(value: int | str, total: int) -> int:
    """Percentages are rounded up; what is neither number nor percentage counts as 0."""
    return scaled(value, total, round_up=True) or 0
