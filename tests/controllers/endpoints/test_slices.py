"""How endpoints are packed into slices: as few of them written as may be."""

import pytest

from sampan.controllers.endpoints.slices import Group, SliceMeta, name_prefix, plan_slices, stamp

PORT = {"name": "", "port": 80, "protocol": "TCP"}
LABELS = {"kubernetes.io/service-name": "svc"}
OWNER = {"apiVersion": "v1", "kind": "Service", "name": "svc", "uid": "s"}
META = SliceMeta("x", "svc-", "IPv4", LABELS, OWNER)


def endpoint(number, **more):
    return {"addresses": [f"10.0.{number // 250}.{number % 250}"], "targetRef": {"uid": str(number)}, **more}


def present(name, numbers, *, ports=(PORT,), owner="s", labels=LABELS, **meta):
    owners = [{**OWNER, "uid": owner}]
    metadata = {"name": name, "namespace": "x", "labels": dict(labels), "ownerReferences": owners, **meta}
    endpoints = [endpoint(number) for number in numbers]
    return {"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": list(ports)}


def group(numbers, *ports):
    return Group(ports or (PORT,), tuple(endpoint(number) for number in numbers))


def counts(slices):
    return sorted((obj["metadata"].get("name", "new"), len(obj["endpoints"])) for obj in slices)


def plan(numbers, existing, limit=100, meta=META, **more):
    return plan_slices(meta, [group(numbers)] if numbers else [], existing, limit, **more)


def test_slices_of_a_hundred():
    made = plan(range(250), [])
    assert counts(made.create) == [("new", 50), ("new", 100), ("new", 100)]


def test_those_that_are_written_anyway_are_filled_first_the_fullest_before_others():
    existing = [present("a", range(90)), present("b", range(100, 150)), present("c", range(200, 260))]
    kept = [*range(1, 90), *range(101, 150), *range(200, 260)]
    made = plan([*kept, *range(300, 320)], existing)
    assert counts(made.update) == [("a", 100), ("b", 58)]
    assert counts(made.unchanged) == [("c", 60)] and not made.create and not made.delete


def test_what_is_left_goes_into_the_one_slice_that_it_fills_best():
    existing = [present("a", range(90)), present("b", range(100, 180)), present("c", range(200, 250))]
    made = plan([*range(90), *range(100, 180), *range(200, 250), *range(300, 315)], existing)
    assert counts(made.update) == [("b", 95)]
    assert counts(made.unchanged) == [("a", 90), ("c", 50)]


def test_what_fits_no_slice_gets_one_of_its_own():
    made = plan(range(110), [present("a", range(95))])
    assert counts(made.create) == [("new", 15)] and counts(made.unchanged) == [("a", 95)]


def test_slices_are_not_joined_while_nothing_has_to_be_written():
    made = plan(range(4), [present("a", [0, 1]), present("b", [2, 3])])
    assert len(made.unchanged) == 2 and not (made.create or made.update or made.delete)


def test_a_slice_that_becomes_empty_goes_and_the_last_one_becomes_the_placeholder():
    made = plan([0], [present("a", [0]), present("b", [1])])
    assert counts(made.delete) == [("b", 1)]
    made = plan([], [present("a", [0]), present("b", [1])])
    assert counts(made.delete) == [("b", 1)] or counts(made.delete) == [("a", 1)]
    [placeholder] = made.update
    assert (placeholder["endpoints"], placeholder["ports"]) == ([], [])


def test_a_placeholder_stays_as_it_is_and_is_filled_later():
    empty = present("a", [], ports=())
    made = plan([], [empty])
    assert made.unchanged == [empty] and not (made.create or made.update or made.delete)
    made = plan([1], [empty])
    assert counts(made.update) == [("a", 1)] and made.update[0]["ports"] == [PORT] and not made.create


def test_slices_of_former_ports_take_the_new_ones():
    made = plan_slices(META, [group([1], {**PORT, "port": 81})], [present("a", [1])], 100)
    assert counts(made.update) == [("a", 1)] and made.update[0]["ports"] == [{**PORT, "port": 81}]
    assert not made.create and not made.delete


def test_slices_of_a_former_service_of_the_name_go_and_lend_nothing():
    made = plan([1], [present("a", [1], owner="former")])
    assert counts(made.delete) == [("a", 1)] and counts(made.create) == [("new", 1)] and not made.update


def test_slices_that_are_going_are_left_alone():
    made = plan([1], [present("a", [1], deletionTimestamp="2026-01-01T00:00:00Z")])
    assert counts(made.create) == [("new", 1)] and not made.delete


def test_other_labels_are_written():
    made = plan([1], [present("a", [1], labels={**LABELS, "team": "b"})])
    assert [obj["metadata"]["labels"] for obj in made.update] == [LABELS]


def test_an_endpoint_that_changed_is_written_where_it_is():
    changed = Group((PORT,), (endpoint(1, zone="z"), endpoint(2)))
    made = plan_slices(META, [changed], [present("a", [1]), present("b", [2])], 100)
    assert counts(made.update) == [("a", 1)] and made.update[0]["endpoints"][0]["zone"] == "z"


@pytest.mark.parametrize("heed", [True, False])
def test_another_hint_is_written_unless_somebody_else_plans_hints(heed):
    hinted = Group((PORT,), (endpoint(1, hints={"forZones": [{"name": "z"}]}),))
    made = plan_slices(META, [hinted], [present("a", [1])], 100, heed_hints=heed)
    assert bool(made.update) is heed


def test_a_name_of_full_length_has_no_dash_more():
    assert name_prefix("svc") == "svc-" and name_prefix("a" * 253) == "a" * 253


def test_written_slices_say_what_triggered_them():
    key = "endpoints.kubernetes.io/last-change-trigger-time"
    made = plan([1], [])
    stamp(made, "2026-01-01T00:00:00Z")
    assert made.create[0]["metadata"]["annotations"] == {key: "2026-01-01T00:00:00Z"}
    made = plan([1, 2], [present("a", [1], annotations={key: "before", "mine": "x"})])
    stamp(made, "")
    assert made.update[0]["metadata"]["annotations"] == {"mine": "x"}
