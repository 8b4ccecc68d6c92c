"""How fast and how steadily a target follows what is proposed (upstream ``horizontal.go``: ``normalizeDesired...``).

Pure: the moments are given. A ``History`` is what one autoscaler remembers; its lists are bounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import field
from typing import Final, NamedTuple

from sampan.api.reading import part, parts, text, whole
from sampan.api.types import Obj
from sampan.controllers.horizontalpodautoscaling.calculator import MOST
from sampan.records import dataclass

#: a window is an hour at most, in which there are 240 looks, and one more for each change of the spec
_MOST_REMEMBERED: Final = 1000

_UP_POLICIES: Final = (
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
)
_DOWN_POLICIES: Final = ({"type": "Percent", "value": 100, "periodSeconds": 15},)


class Noted(NamedTuple):
    """A number of replicas (or of more or fewer of them), and when."""

    replicas: int
    moment: float


@dataclass(slots=True)
class History:
    """What was recommended before it was steadied, and how the target was scaled up and down."""

    recommended: list[Noted] = field(default_factory=list)
    ups: list[Noted] = field(default_factory=list)
    downs: list[Noted] = field(default_factory=list)

    def begin(self, current: int, moment: float) -> None:
        """What is there when nothing is remembered counts as recommended: nobody scales down as soon as he starts."""
        if not self.recommended:
            self.recommended.append(Noted(current, moment))

    def scaled(self, behavior: Obj | None, before: int, after: int, moment: float) -> None:
        if behavior is None:
            return
        if after > before:
            _note(self.ups, Noted(after - before, moment), moment - Rules.up(behavior).longest_period)
        else:
            _note(self.downs, Noted(before - after, moment), moment - Rules.down(behavior, 0.0).longest_period)


@dataclass(frozen=True, slots=True)
class Rules:
    """Of one direction. ``select``: Max, Min or Disabled."""

    window_seconds: float
    select: str
    policies: tuple[Obj, ...]

    @property
    def longest_period(self) -> float:
        return max((_period(policy) for policy in self.policies), default=0.0)

    @classmethod
    def up(cls, behavior: Obj) -> Rules:
        return cls._of(part(behavior, "scaleUp"), 0.0, _UP_POLICIES)

    @classmethod
    def down(cls, behavior: Obj, default_window: float) -> Rules:
        return cls._of(part(behavior, "scaleDown"), default_window, _DOWN_POLICIES)

    @classmethod
    def _of(cls, rules: Obj, window: float, policies: tuple[Obj, ...]) -> Rules:
        given = whole(rules, "stabilizationWindowSeconds")
        found = tuple(parts(rules, "policies"))
        return cls(window if given is None else float(given), text(rules, "selectPolicy") or "Max", found or policies)


@dataclass(frozen=True, slots=True)
class Bounds:
    current: int
    least: int
    most: int


class Said(NamedTuple):
    """Of a condition: ``True`` and ``False`` are written by who sets it."""

    reason: str
    message: str


class Steadied(NamedTuple):
    replicas: int
    #: of the condition AbleToScale, which is True
    able: Said
    limited: bool
    #: of the condition ScalingLimited
    limit: Said


READY: Final = Said("ReadyForNewScale", "recommended size matches current size")
_WITHIN: Final = Said("DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_FAST: Final = Said("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_TOO_FAST_DOWN: Final = Said(
    "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"
)
_TOO_MANY: Final = Said("TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FEW: Final = Said("TooFewReplicas", "the desired replica count is less than the minimum replica count")
_DOWN_STEADIED: Final = Said(
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
_UP_STEADIED: Final = Said(
    "ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation"
)


def steady(
    history: History, behavior: Obj | None, bounds: Bounds, proposed: int, window_seconds: float, moment: float
) -> Steadied:
    """The replicas to have now. ``window_seconds``: for how long less is not believed, unless ``behavior`` says it."""
    if behavior is None:
        calm = _calmed(history, proposed, window_seconds, moment)
        able = READY if calm == proposed else _DOWN_STEADIED
        wanted, limit = _limited(bounds, calm)
    else:
        up, down = Rules.up(behavior), Rules.down(behavior, window_seconds)
        calm = _calmed_by_rules(history, bounds.current, proposed, up, down, moment)
        steadied = _UP_STEADIED if proposed >= bounds.current else _DOWN_STEADIED
        able = READY if calm == proposed else steadied
        wanted, limit = _limited_by_rules(history, bounds, calm, up, down, moment)
    return Steadied(wanted, able, wanted != calm, limit)


# -- without behavior --------------------------------------------------------------------------------------------


def _calmed(history: History, proposed: int, window: float, moment: float) -> int:
    cutoff = moment - window
    highest = max((noted.replicas for noted in history.recommended if noted.moment >= cutoff), default=proposed)
    _note(history.recommended, Noted(proposed, moment), cutoff)
    return max(highest, proposed)


def _limited(bounds: Bounds, calm: int) -> tuple[int, Said]:
    """At most twice as many at a time, or four."""
    fastest = max(2 * bounds.current, 4)
    most, limit = (fastest, _TOO_FAST) if bounds.most > fastest else (bounds.most, _TOO_MANY)
    if calm < bounds.least:
        return bounds.least, _TOO_FEW
    if calm > most:
        return most, limit
    return calm, _WITHIN


# -- with behavior -----------------------------------------------------------------------------------------------


def _calmed_by_rules(history: History, current: int, proposed: int, up: Rules, down: Rules, moment: float) -> int:
    up_cutoff, down_cutoff = moment - up.window_seconds, moment - down.window_seconds
    lowest, highest = proposed, proposed
    for noted in history.recommended:
        if noted.moment > up_cutoff:
            lowest = min(lowest, noted.replicas)
        if noted.moment > down_cutoff:
            highest = max(highest, noted.replicas)
    _note(history.recommended, Noted(proposed, moment), min(up_cutoff, down_cutoff))
    return min(max(current, lowest), highest)


def _limited_by_rules(
    history: History, bounds: Bounds, calm: int, up: Rules, down: Rules, moment: float
) -> tuple[int, Said]:
    if calm > bounds.current:
        limit = max(bounds.current, _highest(history, bounds.current, up, moment))
        most, said = (limit, _TOO_FAST) if bounds.most > limit else (bounds.most, _TOO_MANY)
        if calm > most:
            return most, said
    elif calm < bounds.current:
        limit = min(bounds.current, _lowest(history, bounds.current, down, moment))
        least, said = (limit, _TOO_FAST_DOWN) if bounds.least < limit else (bounds.least, _TOO_FEW)
        if calm < least:
            return least, said
    return calm, _WITHIN


def _highest(history: History, current: int, rules: Rules, moment: float) -> int:
    if rules.select == "Disabled":
        return current
    allowed = [_raised(policy, start) for policy, start in _starts(history, current, rules, moment)]
    return min(allowed) if rules.select == "Min" else max(allowed)


def _lowest(history: History, current: int, rules: Rules, moment: float) -> int:
    if rules.select == "Disabled":
        return current
    allowed = [_lowered(policy, start) for policy, start in _starts(history, current, rules, moment)]
    return max(allowed) if rules.select == "Min" else min(allowed)


def _starts(history: History, current: int, rules: Rules, moment: float) -> Iterable[tuple[Obj, int]]:
    """Each policy, with the replicas that there were when its period began."""
    for policy in rules.policies:
        cutoff = moment - _period(policy)
        added, taken = _sum_since(history.ups, cutoff), _sum_since(history.downs, cutoff)
        yield policy, current - added + taken


def _raised(policy: Obj, start: int) -> int:
    value = whole(policy, "value") or 0
    if text(policy, "type") == "Pods":
        return min(MOST, start + value)
    return min(MOST, math.ceil(start * (1 + value / 100)))


def _lowered(policy: Obj, start: int) -> int:
    value = whole(policy, "value") or 0
    return start - value if text(policy, "type") == "Pods" else int(start * (1 - value / 100))


# -- what is remembered ------------------------------------------------------------------------------------------


def _note(noted: list[Noted], new: Noted, cutoff: float) -> None:
    """In place of one that is from before the cutoff, if there is one."""
    for index in range(len(noted) - 1, -1, -1):
        if noted[index].moment < cutoff:
            noted[index] = new
            return
    noted.append(new)
    if len(noted) > _MOST_REMEMBERED:
        del noted[0]


def _sum_since(noted: Iterable[Noted], cutoff: float) -> int:
    return sum(each.replicas for each in noted if each.moment > cutoff)


def _period(policy: Obj) -> float:
    return float(whole(policy, "periodSeconds") or 0)
