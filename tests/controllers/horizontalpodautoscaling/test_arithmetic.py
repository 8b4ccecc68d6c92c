"""The arithmetic of the HorizontalPodAutoscaler: cases worked out by hand, each with its reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan.api.clock import format_time
from sampan.controllers.horizontalpodautoscaling import calculator
from sampan.controllers.horizontalpodautoscaling.calculator import Tolerance
from sampan.controllers.horizontalpodautoscaling.grouping import (
    Readiness,
    Sample,
    Unable,
    group,
    pod_requests,
    ready_pods,
)

Obj = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=2)


def pod(
    name: str,
    *,
    request: str | None = "100m",
    phase: str = "Running",
    ready: str | None = "True",
    started: datetime | None = LONG_AGO,
    changed: datetime = LONG_AGO,
    deleting: bool = False,
    containers: list[Obj] | None = None,
) -> Obj:
    resources = {} if request is None else {"requests": {"cpu": request}}
    status: Obj = {"phase": phase}
    if ready is not None:
        status["conditions"] = [{"type": "Ready", "status": ready, "lastTransitionTime": format_time(changed)}]
    if started is not None:
        status["startTime"] = format_time(started)
    meta: Obj = {"name": name, "namespace": "default"}
    if deleting:
        meta["deletionTimestamp"] = format_time(NOW)
    return {
        "metadata": meta,
        "spec": {"containers": containers or [{"name": "c", "resources": resources}]},
        "status": status,
    }


def pods(count: int, **more: Any) -> list[Obj]:
    return [pod(f"p{number}", **more) for number in range(count)]


def utilization(
    present: list[Obj],
    used: dict[str, int],
    target: int,
    current: int | None = None,
    tolerance: Tolerance | None = None,
) -> tuple[int, int, int]:
    """(replicas, percent, average) by cpu use in millicores."""
    samples = {name: Sample(value, NOW, 15.0) for name, value in used.items()}
    grouped = group(present, samples, "cpu", NOW, Readiness())
    values = calculator.counted(samples, grouped)
    found = calculator.by_utilization(
        len(present) if current is None else current,
        values,
        grouped,
        pod_requests(present, "", "cpu"),
        target,
        tolerance or Tolerance(),
    )
    assert found.percent is not None
    return found.replicas, found.percent, found.value


def average(
    present: list[Obj], used: dict[str, int], target: int, current: int | None = None, resource: str = ""
) -> tuple[int, int]:
    """(replicas, average) by a plain value a pod."""
    samples = {name: Sample(value, NOW, 15.0) for name, value in used.items()}
    grouped = group(present, samples, resource, NOW, Readiness())
    values = calculator.counted(samples, grouped)
    wanted = len(present) if current is None else current
    found = calculator.by_average(wanted, values, grouped, target, Tolerance())
    return found.replicas, found.value


def each(count: int, used: int) -> dict[str, int]:
    return {f"p{number}": used for number in range(count)}


@pytest.mark.parametrize(
    ("count", "used", "target", "replicas", "percent", "reason"),
    [
        (1, 200, 50, 4, 200, "200 % at 50 % is four times as much"),
        (3, 50, 50, 3, 50, "exactly the target"),
        (3, 54, 50, 3, 54, "1.08 is within a tenth"),
        (3, 55, 50, 3, 55, "1.1 is the edge, and still within"),
        (3, 56, 50, 4, 56, "1.12 of 3 is 3.36, rounded up"),
        (10, 109, 100, 10, 109, "1.09 does nothing"),
        (10, 111, 100, 12, 111, "1.11 of 10 is 11.1, rounded up"),
        (10, 45, 50, 10, 45, "0.9 is the lower edge, and still within"),
        (10, 44, 50, 9, 44, "0.88 of 10 is 8.8, rounded up"),
        (10, 91, 100, 10, 91, "0.91 does nothing"),
        (10, 89, 100, 9, 89, "0.89 of 10 is 8.9"),
        (4, 20, 80, 1, 20, "a quarter of 4"),
        (4, 21, 80, 2, 21, "1.05, rounded up"),
        (5, 0, 80, 0, 0, "nothing is used; the minimum is another rule's"),
        (1, 1000, 10, 100, 1000, "a hundred times"),
        (7, 80, 80, 7, 80, "the default target, met"),
        (7, 100, 80, 9, 100, "1.25 of 7 is 8.75"),
        (2, 150, 100, 3, 150, "1.5 of 2"),
        (2, 151, 100, 4, 151, "1.51 of 2 is 3.02, rounded up"),
        (3, 300, 200, 5, 300, "a target over 100 %: 1.5 of 3 is 4.5"),
    ],
)  # fmt: skip
def test_utilization_of_pods_that_all_count(
    count: int, used: int, target: int, replicas: int, percent: int, reason: str
) -> None:
    assert utilization(pods(count), each(count, used), target) == (replicas, percent, used), reason


def test_the_percentage_is_cut_off_and_that_decides() -> None:
    # 5 of 3 pods: 100 + 100 + 99 = 299 of 300 is 99.67 %, taken as 99; 99 / 90 is 1.1, on the edge, so nothing.
    present = pods(3)
    assert utilization(present, {"p0": 100, "p1": 100, "p2": 99}, 90) == (3, 99, 99)
    # uncut it would be 1.107, and one more


def test_different_requests_count_by_their_weight() -> None:
    present = [pod("a", request="100m"), pod("b", request="300m")]
    # 100 + 100 of 400 is 50 %
    assert utilization(present, {"a": 100, "b": 100}, 25) == (4, 50, 100)


@pytest.mark.parametrize(
    ("tolerance", "used", "replicas", "reason"),
    [
        (Tolerance(0.1, 0.0), 51, 4, "no tolerance upwards: 1.02 of 3"),
        (Tolerance(0.0, 0.1), 49, 3, "0.98 of 3 is 2.94, rounded up to what is there"),
        (Tolerance(0.0, 0.1), 33, 2, "0.66 of 3 is 1.98"),
        (Tolerance(0.1, 0.5), 75, 3, "1.5 is the edge upwards"),
        (Tolerance(0.1, 0.5), 76, 5, "1.52 of 3 is 4.56"),
        (Tolerance(0.5, 0.1), 25, 3, "0.5 is the edge downwards"),
        (Tolerance(0.5, 0.1), 24, 2, "0.48 of 3 is 1.44"),
    ],
)  # fmt: skip
def test_tolerance_each_way(tolerance: Tolerance, used: int, replicas: int, reason: str) -> None:
    assert utilization(pods(3), each(3, used), 50, tolerance=tolerance)[0] == replicas, reason


# -- pods that do not count ---------------------------------------------------------------------------------------


def test_deleted_and_failed_pods_are_left_out_whatever_they_use() -> None:
    present = [*pods(2), pod("gone", deleting=True), pod("failed", phase="Failed")]
    used = {**each(2, 100), "gone": 5000, "failed": 5000}
    # 200 of 200 is 100 % at 50 %: twice the two that count
    assert utilization(present, used, 50, current=2) == (4, 100, 100)


def test_a_pending_pod_holds_back_more_but_not_less() -> None:
    present = [*pods(2), pod("new", phase="Pending", ready=None, started=None)]
    # up: 2 x 150 of 300 (with the pending one at 0) is 100 % at 60: 1.67 of 3 is 5; without it 2.5 of 2 would be 5 too
    assert utilization(present, each(2, 150), 60)[0] == 5
    # 2 x 100 of 300 is 66 % at 60: 1.1, so nothing; without the pending one it would have been 1.67 of 2, so 4
    assert utilization(present, each(2, 100), 60)[0] == 3
    # down: it is not looked at, 2 x 20 of 200 is 20 % at 60: a third of the two that are ready
    assert utilization(present, each(2, 20), 60)[0] == 1


def test_unready_pods_of_other_sizes_damp_by_what_they_ask_for() -> None:
    # 260 of 100 is 260 % at 50: 5.2; with the unready one at 0: 260 of 400 is 65 %, 1.3 of 2 is 2.6
    present = [pod("a"), pod("b", request="300m", ready="False", started=NOW - timedelta(seconds=60))]
    assert utilization(present, {"a": 260, "b": 290}, 50)[0] == 3


def test_a_missing_sample_counts_as_all_that_was_asked_for_when_less_is_needed() -> None:
    present = pods(4)
    # 3 x 10 of 300 is 10 % at 50: less; the fourth at 100: 130 of 400 is 32 %: 0.64 of 4 is 2.56
    assert utilization(present, each(3, 10), 50)[0] == 3
    # without that rule: 0.2 of 3, one


def test_a_missing_sample_counts_as_the_target_when_that_is_over_all() -> None:
    present = pods(4)
    # target 200: 3 x 100 of 300 is 100 %, 0.5; the fourth at 200: 500 of 400 is 125 %: 0.625 of 4 is 2.5
    assert utilization(present, each(3, 100), 200)[0] == 3
    # at 100 it would be 400 of 400, half of 4: two


def test_a_missing_sample_counts_as_nothing_when_more_is_needed() -> None:
    present = pods(4)
    # 3 x 100 of 300 is 100 % at 50: more; with a fourth at 0: 300 of 400 is 75 %: 1.5 of 4
    assert utilization(present, each(3, 100), 50)[0] == 6


def test_a_direction_that_turns_round_by_what_is_missing_changes_nothing() -> None:
    # 1 x 10 is 10 % at 50: less; with three at 100: 310 of 400 is 77 %: more. So nothing
    assert utilization(pods(4), {"p0": 10}, 50)[0] == 4
    # 1 x 100 is 100 % at 60: more; with three at 0: 25 %: less. So nothing
    assert utilization(pods(4), {"p0": 100}, 60)[0] == 4


def test_a_number_that_goes_the_other_way_changes_nothing() -> None:
    # 8 pods are there and 3 are wanted now: 0.9 of 8 would be more than 3, though less is needed
    present = pods(8)
    # 7 x 30 of 700 is 30 % at 60: less; the eighth at 100: 310 of 800 is 38 %: 0.63 of 8 is 5.07, over 3
    assert utilization(present, each(7, 30), 60, current=3)[0] == 3


def test_samples_at_the_target_leave_what_is_missing_alone() -> None:
    # exactly 1.0: nothing is assumed, 150 of 300 is 50 %
    assert utilization(pods(4), each(3, 50), 50)[0] == 4


def test_nothing_but_unready_pods_gives_no_number() -> None:
    present = pods(2, ready="False", started=NOW - timedelta(seconds=10))
    with pytest.raises(Unable, match=r"^did not receive metrics for targeted pods \(pods might be unready\)$"):
        utilization(present, each(2, 100), 50)


def test_samples_of_strangers_only_give_no_number() -> None:
    with pytest.raises(Unable, match=r"^no metrics returned matched known pods$"):
        utilization(pods(1, request="0"), {"stranger": 100}, 50)


# -- when a pod is not ready --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ready", "started_ago", "changed_ago", "sample_ago", "counts", "reason"),
    [
        ("True", 7200, 7200, 0, True, "old and ready"),
        ("False", 7200, 60, 0, True, "it was ready, and is too busy now"),
        ("False", 7200, 7190, 0, False, "it was never ready: 10 s after its start is within the 30"),
        ("False", 7200, 7170, 0, True, "30 s after its start is no more within them"),
        ("False", 7200, 7171, 0, False, "29 s is"),
        ("True", 299, 250, 0, True, "young and ready, measured after it became so"),
        ("False", 299, 100, 0, False, "young and not ready"),
        ("False", 300, 100, 0, True, "as old as that, it was ready once"),
        ("True", 100, 10, 0, False, "young, and part of the sample's 15 s is from before it was ready"),
        ("True", 100, 15, 0, True, "young, and the sample's 15 s are all from after"),
        ("True", 100, 60, 50, False, "young, and the sample is from before"),
        ("True", 400, 10, 0, True, "no more young: the sample is believed"),
        ("Unknown", 100, 60, 0, True, "its node does not answer: that is not False"),
    ],
)  # fmt: skip
def test_whether_a_pod_counts_by_its_age(
    ready: str, started_ago: int, changed_ago: int, sample_ago: int, counts: bool, reason: str
) -> None:
    ago = lambda seconds: NOW - timedelta(seconds=seconds)  # noqa: E731  # a word for the table
    one = pod("p", ready=ready, started=ago(started_ago), changed=ago(changed_ago))
    samples = {"p": Sample(1, ago(sample_ago), 15.0)}
    grouped = group([one], samples, "cpu", NOW, Readiness())
    assert (grouped.ready == 1, grouped.unready == {"p"}) == (counts, not counts), reason
    assert group([one], samples, "memory", NOW, Readiness()).ready == 1, "of other resources each counts"


@pytest.mark.parametrize("without", ["condition", "start"])
def test_a_pod_that_no_node_has_looked_at_is_unready(without: str) -> None:
    one = pod("p", ready=None) if without == "condition" else pod("p", started=None)
    assert group([one], {"p": Sample(1, NOW)}, "cpu", NOW, Readiness()).unready == {"p"}


def test_both_periods_can_be_chosen() -> None:
    one = pod("p", ready="False", started=NOW - timedelta(seconds=100), changed=NOW - timedelta(seconds=40))
    samples = {"p": Sample(1, NOW)}
    assert group([one], samples, "cpu", NOW, Readiness(101, 30)).unready == {"p"}
    assert group([one], samples, "cpu", NOW, Readiness(100, 30)).ready == 1
    assert group([one], samples, "cpu", NOW, Readiness(100, 61)).unready == {"p"}


# -- what is asked for --------------------------------------------------------------------------------------------


def container(name: str, cpu: str | None, **more: Any) -> Obj:
    return {"name": name, "resources": {} if cpu is None else {"requests": {"cpu": cpu}}, **more}


def test_containers_and_sidecars_are_summed_and_init_containers_are_not() -> None:
    one = pod("p", containers=[container("a", "100m"), container("b", "250m")])
    one["spec"]["initContainers"] = [container("i", "2"), container("s", "50m", restartPolicy="Always")]
    assert pod_requests([one], "", "cpu") == {"p": 400}
    assert pod_requests([one], "b", "cpu") == {"p": 250}
    assert pod_requests([one], "s", "cpu") == {"p": 50}


def test_what_the_pod_asks_for_as_a_whole_goes_before() -> None:
    one = pod("p", containers=[container("a", "100m"), container("b", None)])
    one["spec"]["resources"] = {"requests": {"cpu": "700m"}}
    one["spec"]["overhead"] = {"cpu": "1"}
    assert pod_requests([one], "", "cpu") == {"p": 700}, "without what its sandbox needs"
    assert pod_requests([one], "a", "cpu") == {"p": 100}, "a named container goes before that"
    with pytest.raises(Unable, match=r"^missing pod-level request for memory in Pod p$"):
        pod_requests([one], "", "memory")


def test_a_container_without_a_request_is_named() -> None:
    """[sig-autoscaling] a pod without a CPU request cannot be scaled by utilization."""
    one = pod("web-1", containers=[container("a", "100m"), container("b", None)])
    with pytest.raises(Unable, match=r"^missing request for cpu in container b of Pod web-1$"):
        pod_requests([one], "", "cpu")
    with pytest.raises(Unable, match=r"^container x not found in Pod web-1$"):
        pod_requests([one], "x", "cpu")


# -- plain values a pod -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "values", "target", "replicas", "shown", "reason"),
    [
        (3, [20000, 10000, 30000], 15000, 4, 20000, "20 a pod at 15: 1.33 of 3"),
        (3, [20000, 20000, 20000], 20000, 3, 20000, "met"),
        (3, [21000, 22000, 23000], 20000, 3, 22000, "1.1 is within"),
        (3, [23000, 23000, 23000], 20000, 4, 23000, "1.15 of 3 is 3.45"),
        (4, [5000, 5000, 5000, 5000], 20000, 1, 5000, "a quarter of 4"),
        (3, [0, 0, 0], 20000, 0, 0, "nothing"),
        (2, [10, 11], 10, 2, 10, "the average is cut off: 10.5 is 10"),
    ],
)  # fmt: skip
def test_averages_of_pods_that_all_count(
    count: int, values: list[int], target: int, replicas: int, shown: int, reason: str
) -> None:
    used = {f"p{number}": value for number, value in enumerate(values)}
    assert average(pods(count), used, target) == (replicas, shown), reason


def test_of_plain_values_a_missing_one_counts_as_the_target_downwards_and_as_nothing_upwards() -> None:
    # 3 x 5 at 20: a quarter; the fourth at 20: 35 / 4 is 8.75: 0.4375 of 4 is 1.75
    assert average(pods(4), each(3, 5000), 20000) == (2, 5000)
    # 3 x 40 at 20: twice; the fourth at 0: 30: 1.5 of 4
    assert average(pods(4), each(3, 40000), 20000) == (6, 40000)


def test_of_plain_values_readiness_does_not_matter_but_pending_pods_do() -> None:
    unready = pod("u", ready="False", started=NOW)
    assert average([pod("p"), unready], {"p": 30000, "u": 30000}, 20000)[0] == 3
    pending = pod("u", phase="Pending", ready=None, started=None)
    assert average([pod("p"), pending], {"p": 30000}, 20000)[0] == 2, "30 over 2 at 20 is 0.75: turned round"


# -- what is measured of something else ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "total", "target", "ready", "replicas", "reason"),
    [
        (3, 20000, 15000, 3, 4, "1.33 of the 3 that are ready"),
        (3, 20000, 15000, 1, 2, "1.33 of the one that is ready"),
        (3, 16000, 15000, 3, 3, "1.07 is within"),
        (3, 0, 15000, 3, 0, "nothing to do"),
        (0, 0, 15000, 0, 0, "at zero, and nothing to do"),
        (0, 1, 15000, 0, 1, "at zero, the least there is to do wakes one"),
        (0, 15500, 15000, 0, 2, "at zero there is no tolerance"),
        (0, 75000, 15000, 0, 5, "as many times as the target goes into it"),
    ],
)  # fmt: skip
def test_a_total(current: int, total: int, target: int, ready: int, replicas: int, reason: str) -> None:
    assert calculator.by_total(current, total, target, lambda: ready, Tolerance()) == (replicas, total, None), reason


@pytest.mark.parametrize(
    ("present", "total", "target", "replicas", "shown", "reason"),
    [
        (4, 400000, 100000, 4, 100000, "exactly 100 each"),
        (4, 401000, 100000, 4, 100250, "1.0025 is within"),
        (4, 500000, 100000, 5, 125000, "five shares"),
        (4, 501000, 100000, 6, 125250, "a little more than five"),
        (4, 100000, 100000, 1, 25000, "one share"),
        (3, 100, 100000, 1, 34, "the average is rounded up: 33.3"),
        (0, 500000, 100000, 5, 500000, "nobody shares yet: the total is shown"),
        (0, 0, 100000, 0, 0, "nobody shares nothing"),
        (5, 0, 100000, 0, 0, "nothing to share"),
    ],
)  # fmt: skip
def test_a_share(present: int, total: int, target: int, replicas: int, shown: int, reason: str) -> None:
    assert calculator.by_share(present, total, target, Tolerance()) == (replicas, shown, None), reason


def test_ready_pods_are_those_that_run_and_are_ready() -> None:
    present = [pod("a"), pod("b", ready="False"), pod("c", phase="Pending"), pod("d", phase="Succeeded")]
    assert ready_pods(present) == 1
    with pytest.raises(Unable, match=r"^no pods returned by selector while calculating replica count$"):
        ready_pods([])


def test_no_number_is_more_than_a_scale_can_hold() -> None:
    assert calculator.by_total(1, 10**30, 1, lambda: 1000, Tolerance()).replicas == 2**31 - 1
    assert calculator.by_share(1, 10**30, 1, Tolerance()).replicas == 2**31 - 1
