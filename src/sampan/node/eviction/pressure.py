"""Which thresholds are met, for how long, and what the node says of itself for it. Pure: time is an argument.

One ``look`` each ten seconds. Thresholds of the last look that were acted on stay met until their minimum reclaim is
there too; a condition stays for the transition period after it was last seen, so that it does not come and go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from sampan.node.thresholds import CONDITIONS, Threshold, condition_of
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Observation:
    available: int
    capacity: int


Observations = Mapping[str, Observation]


@dataclass(frozen=True, slots=True)
class Pressure:
    """What one look leaves for the next. Moments are seconds of one clock."""

    first_met: Mapping[Threshold, float] = field(default_factory=dict)
    #: When each condition was seen last.
    seen: Mapping[str, float] = field(default_factory=dict)
    #: Thresholds whose grace is over, most urgent first.
    due: tuple[Threshold, ...] = ()
    #: Conditions that hold.
    conditions: tuple[str, ...] = ()


def look(
    before: Pressure,
    thresholds: Iterable[Threshold],
    observations: Observations,
    now: float,
    *,
    transition_seconds: float,
) -> Pressure:
    met = met_thresholds(thresholds, observations)
    unresolved = met_thresholds(before.due, observations, with_reclaim=True)
    met += [each for each in unresolved if each not in met]
    first_met = {each: before.first_met.get(each, now) for each in met}
    seen = {**before.seen, **{condition_of(each.signal): now for each in met}}
    seen = {kind: moment for kind, moment in seen.items() if now - moment < transition_seconds or moment == now}
    due = sorted(
        (each for each, since in first_met.items() if now - since >= each.grace_seconds),
        key=lambda each: condition_of(each.signal) != "MemoryPressure",
    )
    return Pressure(first_met, seen, tuple(due), tuple(kind for kind in CONDITIONS if kind in seen))


def met_thresholds(
    thresholds: Iterable[Threshold], observations: Observations, *, with_reclaim: bool = False
) -> list[Threshold]:
    """What nobody could observe is not met."""
    return [each for each in thresholds if _is_met(each, observations.get(each.signal), with_reclaim)]


def _is_met(threshold: Threshold, observed: Observation | None, with_reclaim: bool) -> bool:
    if observed is None:
        return False
    wanted = threshold.value.of(observed.capacity)
    if with_reclaim and threshold.minimum_reclaim is not None:
        wanted += threshold.minimum_reclaim.of(observed.capacity)
    return observed.available < wanted
