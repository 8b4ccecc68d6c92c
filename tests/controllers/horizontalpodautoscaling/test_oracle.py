"""The arithmetic against another one, written straight from what the documentation says, on random pods."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from typing import Any

import pytest

from sampan.controllers.horizontalpodautoscaling import behavior, calculator
from sampan.controllers.horizontalpodautoscaling.calculator import Tolerance
from sampan.controllers.horizontalpodautoscaling.grouping import Readiness, Sample, Unable, group, pod_requests

from . import test_arithmetic as hand

Obj = dict[str, Any]
NOW = hand.NOW


class Someone:
    """A pod as the oracle sees it: what it is, what it asks for, what it uses (None: not measured)."""

    def __init__(self, chance: random.Random, number: int) -> None:
        self.name = f"p{number}"
        self.state = chance.choices(("ready", "unready", "pending", "ending", "failed"), (12, 2, 1, 1, 1))[0]
        self.request = chance.choice((50, 100, 100, 100, 250))
        self.used = None if chance.random() < 0.15 else chance.choice((0, 10, 45, 50, 55, 90, 100, 110, 300))

    def as_pod(self) -> Obj:
        young, old = NOW - timedelta(seconds=60), NOW - timedelta(hours=1)
        return hand.pod(
            self.name,
            request=f"{self.request}m",
            phase={"pending": "Pending", "failed": "Failed"}.get(self.state, "Running"),
            ready="False" if self.state == "unready" else "True",
            started=young if self.state == "unready" else old,
            changed=young if self.state == "unready" else old,
            deleting=self.state == "ending",
        )


def oracle(people: list[Someone], current: int, target: int, low: float, high: float, percent: bool, cpu: bool) -> Any:
    """Replicas, or None when nothing can be said."""
    living = [one for one in people if one.state not in ("ending", "failed")]
    held = [
        one for one in living if one.state == "pending" or (one.state == "unready" and cpu and one.used is not None)
    ]
    silent = [one for one in living if one not in held and one.used is None]
    heard = [one for one in living if one not in held and one.used is not None]
    if not heard:
        return None

    def ratio(uses: list[tuple[Someone, int]]) -> float:
        total = sum(use for _, use in uses)
        if percent:
            return (total * 100 // sum(one.request for one, _ in uses)) / target
        return (total // len(uses)) / target

    uses: list[tuple[Someone, int]] = [(one, one.used or 0) for one in heard]
    first = ratio(uses)
    if not silent and not (held and first > 1):
        return current if 1.0 - low <= first <= 1.0 + high else math.ceil(first * len(heard))
    if first < 1:
        full = (lambda one: one.request * max(100, target) // 100) if percent else (lambda one: target)
        uses += [(one, full(one)) for one in silent]
    if first > 1:
        uses += [(one, 0) for one in silent + held]
    second = ratio(uses)
    if 1.0 - low <= second <= 1.0 + high or (first - 1) * (second - 1) < 0:
        return current
    wanted = math.ceil(second * len(uses))
    return current if (second - 1) * (wanted - current) < 0 else wanted


def ours(people: list[Someone], current: int, target: int, low: float, high: float, percent: bool, cpu: bool) -> Any:
    present = [one.as_pod() for one in people]
    samples = {one.name: Sample(one.used, NOW, 15.0) for one in people if one.used is not None}
    grouped = group(present, samples, "cpu" if cpu else "", NOW, Readiness())
    tolerance = Tolerance(low, high)
    try:
        values = calculator.counted(samples, grouped)
    except Unable:
        return None
    if not percent:
        return calculator.by_average(current, values, grouped, target, tolerance).replicas
    requests = pod_requests(present, "", "cpu")
    return calculator.by_utilization(current, values, grouped, requests, target, tolerance).replicas


@pytest.mark.parametrize("seed", range(4))
def test_random_pods_get_the_replicas_that_the_oracle_gives_them(seed: int) -> None:
    chance = random.Random(seed)
    seen = set()
    for _ in range(250):
        people = [Someone(chance, number) for number in range(chance.randint(1, 12))]
        current = chance.choice((len(people), len(people), chance.randint(1, 15)))
        low, high = chance.choice(((0.1, 0.1), (0.1, 0.0), (0.0, 0.1), (0.3, 0.05)))
        question = (people, current, chance.choice((10, 50, 80, 100, 150)), low, high, chance.random() < 0.6)
        cpu = question[-1] or chance.random() < 0.5
        wanted = oracle(*question, cpu)
        assert ours(*question, cpu) == wanted, [(one.state, one.request, one.used) for one in people]
        seen.add(None if wanted is None else (wanted > current) - (wanted < current))
    assert seen == {None, -1, 0, 1}, "every outcome has come up"


# -- how fast it may go -------------------------------------------------------------------------------------------


class Slow:
    """The rules of behavior, told by keeping all that ever happened."""

    def __init__(self, rules: Obj, least: int, most: int, start: int) -> None:
        self.rules, self.least, self.most = rules, least, most
        self.recommended: list[tuple[float, int]] = [(0.0, start)]
        self.changes: list[tuple[float, int]] = []

    def step(self, now: float, current: int, proposed: int) -> int:
        up, down = self.rules["scaleUp"], self.rules["scaleDown"]
        recent = [(at, count) for at, count in [*self.recommended, (now, proposed)]]
        floor = min(count for at, count in recent if at > now - up["stabilizationWindowSeconds"] or at == now)
        ceiling = max(count for at, count in recent if at > now - down["stabilizationWindowSeconds"] or at == now)
        self.recommended.append((now, proposed))
        calm = current
        if calm < floor:
            calm = floor
        if calm > ceiling:
            calm = ceiling
        wanted = calm
        if calm > current:
            wanted = max(min(calm, self.most, max(self._limit(up, now, current, 1), current)), 0)
        elif calm < current:
            wanted = max(calm, self.least, min(self._limit(down, now, current, -1), current))
        if wanted != current:
            self.changes.append((now, wanted - current))
        return wanted

    def _limit(self, rules: Obj, now: float, current: int, sign: int) -> int:
        if rules["selectPolicy"] == "Disabled":
            return current
        allowed = []
        for policy in rules["policies"]:
            before = current - sum(change for at, change in self.changes if at > now - policy["periodSeconds"])
            if policy["type"] == "Pods":
                allowed.append(before + sign * policy["value"])
            elif sign > 0:
                allowed.append(math.ceil(before * (1 + policy["value"] / 100)))
            else:
                allowed.append(int(before * (1 - policy["value"] / 100)))
        widest = max if sign > 0 else min
        narrowest = min if sign > 0 else max
        return (narrowest if rules["selectPolicy"] == "Min" else widest)(allowed)


def random_rules(chance: random.Random) -> Obj:
    policies = [
        {"type": chance.choice(("Pods", "Percent")), "value": chance.choice((1, 2, 4, 10, 50, 100))}
        for _ in range(chance.randint(1, 3))
    ]
    period = chance.choice((15, 60, 120))  # one for both directions: upstream forgets by the direction's own longest
    return {
        "selectPolicy": chance.choice(("Max", "Max", "Min", "Disabled")),
        "stabilizationWindowSeconds": chance.choice((0, 0, 60, 300)),
        "policies": [{**policy, "periodSeconds": period} for policy in policies],
    }


@pytest.mark.parametrize("seed", range(50))
def test_random_rules_are_followed_as_by_one_who_remembers_everything(seed: int) -> None:
    chance = random.Random(seed)
    rules = {"scaleUp": random_rules(chance), "scaleDown": random_rules(chance)}
    period = rules["scaleUp"]["policies"][0]["periodSeconds"]
    for policy in rules["scaleDown"]["policies"]:
        policy["periodSeconds"] = period
    least, most, current = 1, 60, chance.randint(1, 30)
    slow, history = Slow(rules, least, most, current), behavior.History()
    history.begin(current, 0.0)
    for step in range(60):
        now, proposed = 7.0 + 15.0 * step, chance.choice((1, 2, 5, 10, 20, 40, 80, current, current))
        proposed = max(least, proposed)
        found = behavior.steady(history, rules, behavior.Bounds(current, least, most), proposed, 300.0, now)
        assert found.replicas == slow.step(now, current, proposed), (step, rules)
        history.scaled(rules, current, found.replicas, now) if found.replicas != current else None
        current = found.replicas
    assert len(history.recommended) <= 300 / 15 + 2, "what no window reaches is not kept"
