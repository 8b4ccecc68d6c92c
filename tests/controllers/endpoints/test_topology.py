"""Hints by the CPU of zones: no zone overloaded by more than a fifth, or no hints."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.controllers.endpoints.slices import SlicePlan
from sampan.controllers.endpoints.topology import ZoneCpu, add_hints, is_overloaded, remove_hints, wants_hints

FEW = "Insufficient number of endpoints"
UNEVEN = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
NO_NODES = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"


def node(name, zone="a", cpu="1", ready="True", **labels):
    if zone:
        labels["topology.kubernetes.io/zone"] = zone
    status = {"allocatable": {"cpu": cpu}, "conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": name, "labels": labels}, "status": status}


MASTER = node("3", "c", **{"node-role.kubernetes.io/control-plane": ""})


def cpu_of(*nodes):
    made = ZoneCpu()
    for each in nodes:
        made.note(each)
    return made


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([], None),
        ([node("1")], None),
        ([node("1"), node("2", "b")], {"a": 0.5, "b": 0.5}),
        ([node("1", cpu="1500m"), node("2", "b", "500m")], {"a": 0.75, "b": 0.25}),
        ([node("1"), node("2"), node("3", "b"), node("4", "b")], {"a": 0.5, "b": 0.5}),
        ([node("1"), node("2", "b"), node("3", "")], None),
        ([node("1"), node("2", "b"), node("3", "b", "0")], None),
        ([node("1"), node("2", "b"), node("3", "", ready="False")], {"a": 0.5, "b": 0.5}),
        ([node("1"), node("2", "b"), MASTER], {"a": 0.5, "b": 0.5}),
    ],
)  # fmt: skip
def test_the_ratio_of_zones(nodes, expected):
    assert cpu_of(*nodes).ratios() == expected


def test_nodes_that_change_and_go_are_counted_once():
    made = cpu_of(node("1"), node("2", "b"))
    assert not made.note(node("1"))
    assert made.note(node("1", cpu="3")) and made.ratios() == {"a": 0.75, "b": 0.25}
    assert made.note(node("2", "b", ready="False")) and made.ratios() is None
    assert made.note(node("2", "b")) and made.ratios() == {"a": 0.75, "b": 0.25}
    assert made.forget("2") and not made.forget("2") and made.ratios() is None


def piece(zones, name="", hints=None):
    endpoints = []
    for number, zone in enumerate(zones):
        each = {"addresses": [f"{name}{number}"], "conditions": {"ready": True}}
        if zone:
            each["zone"] = zone
        if hints:
            each["hints"] = {"forZones": [{"name": hints[number]}]}
        endpoints.append(each)
    return {"metadata": {"name": name}, "endpoints": endpoints}


def hinted(plan):
    found = Counter()
    for each in [*plan.create, *plan.update, *plan.unchanged]:
        for endpoint in each["endpoints"]:
            for zone in (endpoint.get("hints") or {}).get("forZones") or ():
                found[zone["name"]] += 1
    return dict(found)


HALF, THIRD = {"a": 0.5, "b": 0.5}, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}


@pytest.mark.parametrize(
    ("zones", "ratios", "expected"),
    [
        ("aabb", HALF, {"a": 2, "b": 2}),
        ("aaab", HALF, {"a": 2, "b": 2}),
        ("aaaaaa", HALF, {"a": 3, "b": 3}),
        ("abc", THIRD, {"a": 1, "b": 1, "c": 1}),
        ("aaaaaaab", {"a": 0.75, "b": 0.25}, {"a": 6, "b": 2}),
        ("aaaaaaaaaabb", {"a": 0.5, "b": 0.25, "c": 0.25}, {"a": 6, "b": 3, "c": 3}),
    ],
)
def test_zones_with_too_many_endpoints_lend_some(zones, ratios, expected):
    plan = SlicePlan(create=[piece(zones)])
    found = add_hints(plan, ratios)
    assert not found.fault and hinted(plan) == dict(found.by_zone)
    assert sorted(found.by_zone.values()) == sorted(expected.values())
    assert sum(found.by_zone.values()) == len(zones)
    assert not is_overloaded(found.by_zone, ratios)


@pytest.mark.parametrize(
    ("zones", "ratios", "fault"),
    [
        ("ab", None, NO_NODES),
        ("a", HALF, f"{FEW} (1 endpoints, 2 zones)"),
        ("abc", {"a": 0.4, "b": 0.4, "c": 0.2}, f"{UNEVEN} (3 endpoints, 3 zones)"),
        (("a", "b", "a", ""), HALF, "One or more endpoints do not have a zone specified"),
        ("", {}, "No hints allocated for zones"),
    ],
)
def test_no_hints_where_they_would_overload_a_zone(zones, ratios, fault):
    present = piece("ab", "p", hints="ab")
    plan = SlicePlan(create=[piece(zones)], unchanged=[] if fault != NO_NODES else [present])
    found = add_hints(plan, ratios)
    assert (found.fault, found.by_zone) == (fault, {})
    assert hinted(plan) == {} and hinted(SlicePlan(create=[present])) == {"a": 1, "b": 1}, "what is cached stays"


def test_endpoints_that_are_not_ready_get_no_hint():
    one = piece("abb")
    one["endpoints"][2]["conditions"]["ready"] = False
    plan = SlicePlan(create=[one])
    assert not add_hints(plan, HALF).fault
    assert "hints" not in one["endpoints"][2] and hinted(plan) == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    ("hints", "stays"), [("ab", True), (None, False), ("aa", False), ("az", False)],
    ids=["right", "none", "too many", "of a zone that is no more"],
)  # fmt: skip
def test_a_slice_with_hints_that_still_fit_is_not_written(hints, stays):
    present = piece("ab", "p", hints=hints)
    plan = SlicePlan(unchanged=[present])
    assert not add_hints(plan, HALF).fault
    assert (plan.unchanged == [present]) is stays and hinted(plan) == {"a": 1, "b": 1}
    assert bool(plan.update) is not stays


def test_hints_are_taken_away_from_slices_that_have_some():
    with_hints, without = piece("ab", "p", hints="ab"), piece("ab", "q")
    plan = SlicePlan(unchanged=[with_hints, without])
    remove_hints(plan)
    assert [each["metadata"]["name"] for each in plan.update] == ["p"] and plan.unchanged == [without]
    assert hinted(plan) == {}


@pytest.mark.parametrize(
    ("by_zone", "ratios", "expected"),
    [
        ({}, HALF, False), ({"a": 1}, None, True), ({"a": 2, "b": 2}, HALF, False), ({"a": 4}, HALF, True),
        ({"a": 2, "b": 2}, THIRD, True), ({"a": 3, "b": 1}, HALF, True), ({"a": 6, "b": 5}, HALF, False),
    ],
)  # fmt: skip
def test_when_hints_have_to_be_planned_again(by_zone, ratios, expected):
    assert is_overloaded(by_zone, ratios) is expected


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, False),
        ({"service.kubernetes.io/topology-mode": "Auto"}, True),
        ({"service.kubernetes.io/topology-mode": "auto"}, True),
        ({"service.kubernetes.io/topology-mode": "Disabled"}, False),
        ({"service.kubernetes.io/topology-aware-hints": "auto"}, True),
        ({"service.kubernetes.io/topology-aware-hints": "no", "service.kubernetes.io/topology-mode": "Auto"}, False),
    ],
)
def test_which_services_want_hints(annotations, expected):
    assert wants_hints({"metadata": {"annotations": annotations}}) is expected


@settings(max_examples=60, deadline=None)
@given(st.text("abc", min_size=3, max_size=30), st.tuples(*[st.integers(1, 8)] * 3))
def test_every_ready_endpoint_has_one_hint_and_no_zone_is_overloaded(zones, cpus):
    total = sum(cpus)
    ratios = {zone: cpu / total for zone, cpu in zip("abc", cpus, strict=True)}
    plan = SlicePlan(create=[piece(zones[:10]), piece(zones[10:])])
    found = add_hints(plan, ratios)
    if found.fault:
        assert hinted(plan) == {}
        return
    assert sum(hinted(plan).values()) == len(zones) and hinted(plan) == {k: v for k, v in found.by_zone.items() if v}
    assert not add_hints(SlicePlan(unchanged=plan.create), ratios).fault
