"""When a node is under pressure: thresholds, graces, minimum reclaim, and no condition that comes and goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sampan.node.eviction.pressure import Observation, Pressure, look
from sampan.node.thresholds import Threshold, parse_thresholds

HARD = parse_thresholds({"memory.available": "100"}, enforce_allocatable=False)
SOFT = parse_thresholds({}, {"memory.available": "200"}, {"memory.available": "90s"}, enforce_allocatable=False)


def see(before: Pressure, thresholds: tuple[Threshold, ...], now: float, **available: int) -> Pressure:
    names = {"memory": "memory.available", "disk": "nodefs.available", "pids": "pid.available"}
    seen = {names[name]: Observation(amount, 1000) for name, amount in available.items()}
    return look(before, thresholds, seen, now, transition_seconds=300)


def test_a_hard_threshold_is_acted_on_at_once() -> None:
    assert see(Pressure(), HARD, 0, memory=100) == Pressure()
    found = see(Pressure(), HARD, 0, memory=99)
    assert (found.due, found.conditions) == (HARD, ("MemoryPressure",))


def test_a_soft_threshold_waits_for_its_grace_and_begins_anew_when_it_was_not_met() -> None:
    state = see(Pressure(), SOFT, 0, memory=150)
    assert (state.due, state.conditions) == ((), ("MemoryPressure",))
    assert see(state, SOFT, 89, memory=150).due == ()
    assert see(state, SOFT, 90, memory=150).due == SOFT
    state = see(see(state, SOFT, 80, memory=200), SOFT, 90, memory=150)
    assert state.due == ()


def test_what_was_acted_on_stays_met_until_its_minimum_reclaim_is_there_too() -> None:
    wanted = parse_thresholds(
        {"nodefs.available": "100"}, minimum_reclaim={"nodefs.available": "50"}, enforce_allocatable=False
    )
    assert see(Pressure(), wanted, 0, disk=120).due == ()
    state = see(Pressure(), wanted, 0, disk=99)
    state = see(state, wanted, 10, disk=149)
    assert state.due == wanted
    assert see(state, wanted, 20, disk=150).due == ()


def test_a_condition_stays_for_the_transition_period_after_it_was_seen_last() -> None:
    state = see(Pressure(), HARD, 0, memory=1)
    assert see(state, HARD, 299, memory=500).conditions == ("MemoryPressure",)
    assert see(state, HARD, 300, memory=500).conditions == ()


def test_memory_goes_before_all_else_and_conditions_are_told_in_one_order() -> None:
    wanted = parse_thresholds({"pid.available": "100", "nodefs.available": "10%", "memory.available": "10%"})
    state = see(Pressure(), wanted, 0, memory=1, disk=1, pids=1)
    assert state.due[0].signal == "memory.available"
    assert state.conditions == ("MemoryPressure", "DiskPressure", "PIDPressure")


def test_what_nobody_could_measure_is_no_pressure() -> None:
    assert see(Pressure(), HARD, 0) == Pressure()


@given(st.lists(st.integers(0, 200), min_size=1, max_size=60), st.sampled_from([0.0, 30.0, 300.0]))
def test_a_condition_never_goes_sooner_than_the_transition_period_after_the_last_shortage(
    available: list[int], transition: float
) -> None:
    state, last_short = Pressure(), float("-inf")
    for step, amount in enumerate(available):
        now = step * 10.0
        state = look(state, HARD, {"memory.available": Observation(amount, 1000)}, now, transition_seconds=transition)
        last_short = now if amount < 100 else last_short
        short = amount < 100
        assert bool(state.due) == short
        assert bool(state.conditions) == (short or now - last_short < transition)
