"""How fast and how steadily a target follows: stabilization, policies, limits; each with the condition that says so."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.controllers.horizontalpodautoscaling.behavior import Bounds, History, Steadied, steady

Obj = dict[str, Any]
WINDOW = 300.0


class Following:
    """An autoscaler that is asked each 15 s."""

    def __init__(self, current: int, behavior: Obj | None = None, least: int = 1, most: int = 100) -> None:
        self.current, self.behavior, self.least, self.most = current, behavior, least, most
        self.history, self.now = History(), 0.0
        self.history.begin(current, self.now)

    def step(self, proposed: int, seconds: float = 15.0) -> Steadied:
        self.now += seconds
        bounds = Bounds(self.current, self.least, self.most)
        found = steady(self.history, self.behavior, bounds, proposed, WINDOW, self.now)
        if found.replicas != self.current:
            self.history.scaled(self.behavior, self.current, found.replicas, self.now)
            self.current = found.replicas
        return found

    def steps(self, proposed: int, count: int) -> list[int]:
        return [self.step(proposed).replicas for _ in range(count)]


def rules(policies: list[Obj], window: int | None = 0, select: str = "Max") -> Obj:
    found: Obj = {"policies": policies, "selectPolicy": select}
    return found if window is None else {**found, "stabilizationWindowSeconds": window}


def pods(value: int, period: int = 60) -> Obj:
    return {"type": "Pods", "value": value, "periodSeconds": period}


def percent(value: int, period: int = 60) -> Obj:
    return {"type": "Percent", "value": value, "periodSeconds": period}


ANY = rules([percent(100, 15), pods(1000, 15)])


# -- without behavior ---------------------------------------------------------------------------------------------


def test_less_is_done_when_it_was_wanted_for_five_minutes() -> None:
    follows = Following(10)
    first = follows.step(4)
    assert (first.replicas, first.able.reason) == (10, "ScaleDownStabilized")
    assert first.able.message == (
        "recent recommendations were higher than current one, applying the highest recent recommendation"
    )
    assert follows.steps(4, 19) == [10] * 19  # up to 300 s after the start, when 10 was recommended
    last = follows.step(4)
    assert (last.replicas, last.able.reason, last.able.message) == (
        4, "ReadyForNewScale", "recommended size matches current size",
    )  # fmt: skip


def test_the_highest_of_the_window_counts_as_it_slides() -> None:
    follows = Following(12)
    follows.step(8)
    assert follows.steps(3, 20)[-2:] == [12, 8]  # 12 was at 0 s, 8 at 15 s
    assert follows.step(3).replicas == 3


def test_more_is_done_at_once_but_at_most_twice_as_much_or_four() -> None:
    found = Following(1).step(50)
    assert (found.replicas, found.limited, found.limit.reason) == (4, True, "ScaleUpLimit")
    assert found.limit.message == "the desired replica count is increasing faster than the maximum scale rate"
    assert Following(5).steps(50, 4) == [10, 20, 40, 50]


def test_the_bounds_are_kept_and_told() -> None:
    found = Following(8, most=10).step(50)
    assert (found.replicas, found.limited) == (10, True)
    assert found.limit == ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
    follows = Following(4, least=3)
    follows.step(1)
    found = follows.step(1, 301)
    assert (found.replicas, found.limited) == (3, True)
    assert found.limit == ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
    found = Following(4).step(5)
    assert (found.replicas, found.limited) == (5, False)
    assert found.limit == ("DesiredWithinRange", "the desired count is within the acceptable range")


# -- with behavior ------------------------------------------------------------------------------------------------


def test_no_more_pods_than_a_policy_allows_in_its_period() -> None:
    follows = Following(10, {"scaleUp": rules([pods(4)]), "scaleDown": ANY})
    first = follows.step(30)
    assert (first.replicas, first.limited, first.limit.reason) == (14, True, "ScaleUpLimit")
    assert follows.steps(30, 4) == [14, 14, 14, 18]  # 60 s later


def test_a_percentage_is_of_what_there_was_when_the_period_began_and_is_rounded_up() -> None:
    follows = Following(3, {"scaleUp": rules([percent(50)]), "scaleDown": ANY})
    assert follows.steps(30, 6) == [5, 5, 5, 5, 8, 8]  # 4.5, 7.5


def test_of_several_policies_the_widest_counts_unless_the_narrowest_is_asked_for() -> None:
    policies = [pods(4), percent(100)]
    assert Following(10, {"scaleUp": rules(policies), "scaleDown": ANY}).step(90).replicas == 20
    assert Following(2, {"scaleUp": rules(policies), "scaleDown": ANY}).step(90).replicas == 6
    assert Following(10, {"scaleUp": rules(policies, select="Min"), "scaleDown": ANY}).step(90).replicas == 14
    down = rules([pods(4), percent(10)])
    assert (
        Following(100, {"scaleUp": ANY, "scaleDown": {**down, "stabilizationWindowSeconds": 0}}).step(5).replicas == 90
    )
    least = rules([pods(4), percent(10)], select="Min")
    found = Following(100, {"scaleUp": ANY, "scaleDown": least}).step(5)
    assert (found.replicas, found.limited) == (96, True)
    assert found.limit == (
        "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate",
    )  # fmt: skip


@pytest.mark.parametrize("way", ["scaleUp", "scaleDown"])
def test_a_disabled_direction_is_not_taken(way: str) -> None:
    behavior = {"scaleUp": ANY, "scaleDown": ANY, way: rules([pods(1)], select="Disabled")}
    follows = Following(10, behavior)
    found = follows.step(20 if way == "scaleUp" else 5)
    assert (found.replicas, found.limited) == (10, True)
    assert found.limit.reason == ("ScaleUpLimit" if way == "scaleUp" else "ScaleDownLimit")
    assert follows.step(5 if way == "scaleUp" else 20).replicas != 10


def test_the_default_policies_add_four_or_double_each_quarter_of_a_minute() -> None:
    default = {"scaleUp": rules([pods(4, 15), percent(100, 15)]), "scaleDown": rules([percent(100, 15)], None)}
    assert Following(1, default).steps(50, 4) == [5, 10, 20, 40]


def test_a_window_upwards_takes_the_lowest_of_it() -> None:
    follows = Following(2, {"scaleUp": rules([pods(100)], 60), "scaleDown": ANY})
    found = follows.step(10)
    assert (found.replicas, found.able.reason) == (2, "ScaleUpStabilized")
    assert found.able.message == (
        "recent recommendations were lower than current one, applying the lowest recent recommendation"
    )
    assert [follows.step(each).replicas for each in (8, 10, 10)] == [2, 2, 8]  # 2 was at 0 s, and counts up to 60


def test_a_window_downwards_of_the_behavior_goes_before_the_default_one() -> None:
    follows = Following(10, {"scaleUp": ANY, "scaleDown": rules([percent(100, 15)], 30)})
    assert follows.steps(2, 3) == [10, 2, 2]
    follows = Following(10, {"scaleUp": ANY, "scaleDown": rules([percent(100, 15)], None)})
    assert follows.steps(2, 20) == [10] * 19 + [2]


def test_between_two_windows_nothing_moves() -> None:
    follows = Following(10, {"scaleUp": rules([pods(100)], 60), "scaleDown": rules([percent(100)], 60)})
    found = [follows.step(each).replicas for each in (15, 5, 15, 5, 15, 5)]
    assert found == [10] * 6


def test_what_was_taken_away_may_come_back_within_the_period() -> None:
    """Policies reckon from what there was when the period began, whichever way it went since."""
    follows = Following(10, {"scaleUp": rules([pods(2)]), "scaleDown": rules([percent(100, 15)])})
    assert follows.step(4).replicas == 4
    assert follows.step(20).replicas == 12  # 10 a minute ago, and two more


def test_a_limit_that_is_already_passed_does_not_turn_round() -> None:
    follows = Following(10, {"scaleUp": rules([pods(4)]), "scaleDown": ANY})
    follows.step(14)
    follows.current = 30  # somebody else scaled it
    found = follows.step(50)
    assert found.replicas == 30  # 30 - 4 + 4 is what is allowed: not more, and not less than there are


def test_behavior_without_a_direction_has_the_default_of_it() -> None:
    assert Following(1, {}).steps(50, 3) == [5, 10, 20]
    assert Following(10, {}).steps(2, 20) == [10] * 19 + [2]


def test_a_percentage_downwards_is_cut_off_and_more_than_all_is_all() -> None:
    follows = Following(7, {"scaleUp": ANY, "scaleDown": rules([percent(50)])})
    assert follows.step(1).replicas == 3  # 3.5
    follows = Following(7, {"scaleUp": ANY, "scaleDown": rules([percent(300)])}, least=2)
    found = follows.step(1)
    assert (found.replicas, found.limit.reason) == (2, "TooFewReplicas")


def test_what_is_remembered_is_bounded() -> None:
    follows = Following(5, {"scaleUp": rules([pods(1, 1800)], 3600), "scaleDown": rules([pods(1, 1800)], 3600)})
    for _ in range(1100):
        follows.step(6, 0.1)
    assert len(follows.history.recommended) == 1000
