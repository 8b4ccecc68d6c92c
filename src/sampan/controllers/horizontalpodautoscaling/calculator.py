"""From what is measured to a number of replicas (upstream ``replica_calculator.go``). Pure.

All amounts are in thousandths. Ratios are floats, as upstream's, so that a ratio on the edge of a tolerance falls on
the same side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from sampan.controllers.horizontalpodautoscaling.grouping import Grouped, Samples, Unable
from sampan.records import dataclass

#: no Scale has more replicas
MOST: Final = 2**31 - 1

Values = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a ratio may be from 1 before anything is done, downwards and upwards."""

    down: float = 0.1
    up: float = 0.1

    def covers(self, ratio: float) -> bool:
        return (1.0 - self.down) <= ratio <= (1.0 + self.up)


class Utilization(NamedTuple):
    """``percent`` of what is asked for; ``average`` a pod."""

    ratio: float
    percent: int
    average: int


class Proposal(NamedTuple):
    replicas: int
    #: what was measured: an average a pod, or a total
    value: int
    percent: int | None = None


def counted(samples: Samples, grouped: Grouped) -> dict[str, int]:
    """The values of pods that are neither ending nor unready. Raises Unable."""
    left_out = grouped.ignored | grouped.unready
    values = {name: sample.value for name, sample in samples.items() if name not in left_out}
    if not values:
        raise Unable("did not receive metrics for targeted pods (pods might be unready)")
    return values


def utilization_of(values: Values, requests: Values, target_percent: int) -> Utilization:
    """Raises Unable."""
    known = [name for name in values if name in requests]
    requested = sum(requests[name] for name in known)
    if requested == 0:
        raise Unable("no metrics returned matched known pods")
    used = sum(values[name] for name in known)
    percent = quotient(used * 100, requested)
    return Utilization(percent / target_percent, percent, quotient(used, len(values)))


def average_of(values: Values) -> int:
    return quotient(sum(values.values()), len(values))


def by_utilization(
    current: int, values: Values, grouped: Grouped, requests: Values, target_percent: int, tolerance: Tolerance
) -> Proposal:
    """``values`` are what ``counted`` gave. Raises Unable."""
    first = utilization_of(values, requests, target_percent)
    assumed = max(100, target_percent)
    replicas = _settle(
        current,
        values,
        grouped,
        tolerance,
        lambda seen: utilization_of(seen, requests, target_percent).ratio,
        lambda name: quotient(requests.get(name, 0) * assumed, 100),
    )
    return Proposal(replicas, first.average, first.percent)


def by_average(current: int, values: Values, grouped: Grouped, target: int, tolerance: Tolerance) -> Proposal:
    """``values`` are what ``counted`` gave."""
    replicas = _settle(current, values, grouped, tolerance, lambda seen: average_of(seen) / target, lambda name: target)
    return Proposal(replicas, average_of(values))


def by_total(current: int, total: int, target: int, ready: Callable[[], int], tolerance: Tolerance) -> Proposal:
    """Of something that is no pod. ``ready``: how many pods are, asked only if that matters; what it raises goes on."""
    ratio = total / target
    if current == 0:
        return Proposal(_ceil(ratio), total)
    if tolerance.covers(ratio):
        return Proposal(current, total)
    return Proposal(_ceil(ratio * ready()), total)


def by_share(present: int, total: int, target: int, tolerance: Tolerance) -> Proposal:
    """Of something that is no pod, shared by the present replicas. Without any, the total itself is shown (upstream
    divides by nothing there)."""
    replicas = present
    if not present or not tolerance.covers(total / (target * present)):
        replicas = _ceil(total / target)
    return Proposal(replicas, -(-total // max(present, 1)))


def _settle(
    current: int,
    values: Values,
    grouped: Grouped,
    tolerance: Tolerance,
    ratio_of: Callable[[Values], float],
    assumed: Callable[[str], int],
) -> int:
    """Careful about what is not known: of a pod without a sample the value is ``assumed`` when less is needed, and 0
    when more is; one that is not ready has 0. If that turns the direction round, nothing is done."""
    ratio = ratio_of(values)
    with_unready = bool(grouped.unready) and ratio > 1.0
    if not with_unready and not grouped.missing:
        return current if tolerance.covers(ratio) else _ceil(ratio * grouped.ready)
    adjusted = dict(values)
    if ratio < 1.0:
        adjusted.update((name, assumed(name)) for name in grouped.missing)
    elif ratio > 1.0:
        adjusted.update(dict.fromkeys(grouped.missing, 0))
    if with_unready:
        adjusted.update(dict.fromkeys(grouped.unready, 0))
    again = ratio_of(adjusted)
    if tolerance.covers(again) or ratio < 1.0 < again or again < 1.0 < ratio:
        return current
    wanted = _ceil(again * len(adjusted))
    if (again < 1.0 and wanted > current) or (again > 1.0 and wanted < current):
        return current
    return wanted


def _ceil(amount: float) -> int:
    return MOST if amount >= MOST else max(-MOST, math.ceil(amount))


def quotient(dividend: int, divisor: int) -> int:
    """Towards zero, as Go divides."""
    found = abs(dividend) // abs(divisor)
    return found if (dividend < 0) == (divisor < 0) else -found
