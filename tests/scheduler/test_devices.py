"""Who gets which device: pools, selectors, numbers, constraints and taints, worked out by hand; and no device twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from sampan.scheduler.devices.allocator import MOST_DEVICES, MOST_LOOKS, MOST_TRIES, Impossible, Tries, allocate, want
from sampan.scheduler.devices.pools import Pools
from sampan.scheduler.devices.store import Devices

Obj = dict[str, Any]
DRIVER = "gpu.example.com"
NODE: Obj = {"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1", "rack": "r1"}}}
CLASSES: dict[str, Obj] = {
    "gpu": {
        "spec": {
            "selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}],
            "config": [{"opaque": {"driver": DRIVER, "parameters": {"mode": "shared"}}}],
        }
    },
    "any": {"spec": {}},
}


def device(name: str, **more: Any) -> Obj:
    return {"name": name, **more}


def slice_of(name: str, *devices: Obj, pool: str = "n1", generation: int = 1, count: int = 1, **where: Any) -> Obj:
    spec = {
        "driver": DRIVER,
        "pool": {"name": pool, "generation": generation, "resourceSliceCount": count},
        "devices": list(devices),
        **(where or {"nodeName": "n1"}),
    }
    return {"metadata": {"name": name}, "spec": spec}


def claim(*requests: Obj, **more: Any) -> Obj:
    return {"metadata": {"name": "c", "namespace": "ns"}, "spec": {"devices": {"requests": list(requests), **more}}}


def request(name: str = "r", count: int = 1, **more: Any) -> Obj:
    exactly = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": count, **more}
    return {"name": name, "exactly": exactly}


def cel(expression: str) -> list[Obj]:
    return [{"cel": {"expression": expression}}]


def pools(*slices: Obj) -> Pools:
    found = Pools()
    for each in slices:
        found.changed(each)
    return found


def given_to(wanted: Obj, *slices: Obj, taken: set[tuple[str, str, str]] | None = None) -> list[str] | None:
    found = allocate([want(wanted, CLASSES.get)], list(pools(*slices).reachable(NODE)), taken or set())
    if found is None:
        return None
    return [f"{result['request']}:{result['device']}" for result in found[0]["devices"]["results"]]


def test_the_first_free_devices_are_taken() -> None:
    offer = slice_of("s", device("a"), device("b"), device("c"))
    assert given_to(claim(request(count=2)), offer) == ["r:a", "r:b"]
    assert given_to(claim(request(count=2)), offer, taken={(DRIVER, "n1", "a")}) == ["r:b", "r:c"]
    assert given_to(claim(request(count=4)), offer) is None


def test_selectors_of_class_and_request_both_count() -> None:
    offer = slice_of(
        "s",
        device("small", capacity={"memory": {"value": "8Gi"}}),
        device("large", capacity={"memory": {"value": "80Gi"}}),
    )
    large = cel(f'device.capacity["{DRIVER}"].memory.compareTo(quantity("40Gi")) >= 0')
    assert given_to(claim(request(selectors=large)), offer) == ["r:large"]
    assert given_to(claim(request(selectors=cel("false"))), offer) is None


def test_a_selector_that_cannot_be_evaluated_names_the_device() -> None:
    wanted = claim(request(selectors=cel(f'device.attributes["{DRIVER}"].model == "x"')))
    with pytest.raises(Impossible, match=r"device gpu\.example\.com/n1/a: no such key: model"):
        given_to(wanted, slice_of("s", device("a")))


def test_alternatives_are_tried_in_order() -> None:
    offer = slice_of("s", device("a", attributes={"model": {"string": "old"}}))
    alternatives = [
        {"name": "new", **request(selectors=cel(f'device.attributes["{DRIVER}"].model == "new"'))["exactly"]},
        {"name": "old", **request(selectors=cel(f'device.attributes["{DRIVER}"].model == "old"'))["exactly"]},
    ]
    assert given_to(claim({"name": "r", "firstAvailable": alternatives}), offer) == ["r/old:a"]


def test_all_means_every_one_that_fits_and_that_none_is_in_use() -> None:
    offer = slice_of("s", device("a"), device("b"))
    every = request(allocationMode="All")
    del every["exactly"]["count"]
    assert given_to(claim(every), offer) == ["r:a", "r:b"]
    assert given_to(claim(every), offer, taken={(DRIVER, "n1", "b")}) is None
    assert given_to(claim(every), slice_of("s")) is None


def test_devices_of_a_pool_that_is_not_known_whole_are_not_given() -> None:
    assert given_to(claim(request()), slice_of("s", device("a"), count=2)) is None
    assert given_to(claim(request()), slice_of("s", device("a"), count=2), slice_of("t", count=2)) == ["r:a"]


def test_of_two_generations_the_newest_counts() -> None:
    old, new = slice_of("s", device("old")), slice_of("t", device("new"), generation=2)
    assert given_to(claim(request()), old, new) == ["r:new"]
    assert given_to(claim(request(count=2)), old, new) is None


def test_one_attribute_must_be_the_same_for_all_or_differ() -> None:
    def on(numa: int) -> Obj:
        return {"attributes": {"numa": {"int": numa}}}

    offer = slice_of("s", device("a", **on(0)), device("b", **on(1)), device("c", **on(1)))
    same = claim(request(count=2), constraints=[{"matchAttribute": f"{DRIVER}/numa"}])
    assert given_to(same, offer) == ["r:b", "r:c"]
    other = claim(request("one"), request("two"), constraints=[{"distinctAttribute": f"{DRIVER}/numa"}])
    assert given_to(other, offer) == ["one:a", "two:b"]
    only_two = claim(
        request("one"), request("two", 2), constraints=[{"requests": ["two"], "matchAttribute": f"{DRIVER}/numa"}]
    )
    assert given_to(only_two, offer) == ["one:a", "two:b", "two:c"]
    assert given_to(claim(request(), constraints=[{"matchAttribute": f"{DRIVER}/none"}]), offer) is None


def test_a_tainted_device_is_for_those_who_tolerate_it() -> None:
    offer = slice_of("s", device("a", taints=[{"key": "ill", "effect": "NoSchedule"}]))
    assert given_to(claim(request()), offer) is None
    tolerated = [{"key": "ill", "operator": "Exists", "effect": "NoSchedule"}]
    assert given_to(claim(request(tolerations=tolerated)), offer) == ["r:a"]


def test_administrators_see_devices_that_others_have() -> None:
    offer = slice_of("s", device("a"))
    assert given_to(claim(request(adminAccess=True)), offer, taken={(DRIVER, "n1", "a")}) == ["r:a"]


def test_devices_beyond_one_node_are_reached_by_their_selector() -> None:
    def rack(name: str) -> Obj:
        term = {"matchExpressions": [{"key": "rack", "operator": "In", "values": [name]}]}
        return {"nodeSelector": {"nodeSelectorTerms": [term]}}

    assert given_to(claim(request()), slice_of("s", device("a"), pool="p", **rack("r2"))) is None
    assert given_to(claim(request()), slice_of("s", device("a"), pool="p", **rack("r1"))) == ["r:a"]
    assert given_to(claim(request()), slice_of("s", device("a"), pool="p", allNodes=True)) == ["r:a"]


def test_what_is_written_says_where_it_can_be_used_and_how_it_is_configured() -> None:
    own = {"requests": ["r"], "opaque": {"driver": DRIVER, "parameters": {"mode": "alone"}}}
    wanted = claim(request(), config=[own])
    [found] = (
        allocate([want(wanted, CLASSES.get)], list(pools(slice_of("s", device("a"))).reachable(NODE)), set()) or []
    )
    assert found == {
        "devices": {
            "results": [{"request": "r", "driver": DRIVER, "pool": "n1", "device": "a"}],
            "config": [
                {
                    "source": "FromClass",
                    "requests": ["r"],
                    "opaque": {"driver": DRIVER, "parameters": {"mode": "shared"}},
                },
                {"source": "FromClaim", **own},
            ],
        },
        "nodeSelector": {
            "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]
        },
    }


def test_a_class_that_is_missing_is_named() -> None:
    with pytest.raises(Impossible, match="request r: device class nothing does not exist"):
        want(claim(request(deviceClassName="nothing")), CLASSES.get)


def test_a_search_has_an_end() -> None:
    offer = slice_of("s", *(device(f"d{number:03}", attributes={"n": {"int": number}}) for number in range(100)))
    hopeless = claim(
        request("one", 15), request("two", 15),
        constraints=[{"distinctAttribute": f"{DRIVER}/n"}, {"requests": ["two"], "matchAttribute": f"{DRIVER}/n"}],
    )  # fmt: skip
    with pytest.raises(Impossible, match="no devices were found in 5000 tries"):
        given_to(hopeless, offer)


@settings(max_examples=200)
@given(
    offered=some.integers(0, 6),
    numbers=some.lists(some.integers(1, 3), min_size=1, max_size=4),
    taken=some.sets(some.integers(0, 5)),
)
def test_claims_together_get_exactly_what_is_free_or_nothing(offered: int, numbers: list[int], taken: set[int]) -> None:
    offer = pools(slice_of("s", *(device(f"d{number}") for number in range(offered))))
    in_use = {(DRIVER, "n1", f"d{number}") for number in taken}
    wants = [want(claim(request(count=number)), CLASSES.get) for number in numbers]
    found = allocate(wants, list(offer.reachable(NODE)), in_use)
    free = {f"d{number}" for number in range(offered)} - {f"d{number}" for number in taken}
    if sum(numbers) > len(free):
        assert found is None
        return
    assert found is not None
    given_ = [result["device"] for each in found for result in each["devices"]["results"]]
    assert len(given_) == len(set(given_)) == sum(numbers) <= MOST_DEVICES * len(numbers)
    assert set(given_) <= free


def test_a_promise_counts_until_the_claim_is_seen_and_is_taken_back_by_its_pod_alone() -> None:
    devices = Devices()
    wanted = claim(request())
    allocation = {"devices": {"results": [{"request": "r", "driver": DRIVER, "pool": "n1", "device": "a"}]}}
    devices.promise(wanted, allocation, "pod-1")
    devices.release(wanted, "pod-2")
    assert devices.taken() == {(DRIVER, "n1", "a")}
    devices.claim_changed({**wanted, "status": {"allocation": allocation}})
    devices.release(wanted, "pod-1")
    assert devices.taken() == {(DRIVER, "n1", "a")}
    assert devices.claim_changed(wanted) is True
    assert devices.taken() == set()


def test_devices_that_others_have_cost_a_search_no_tries() -> None:
    """So that on a cluster of many nodes whose devices are all taken, the last free one is found."""
    offer = pools(slice_of("s", *(device(f"d{number}") for number in range(MOST_TRIES))))
    reachable, tries = list(offer.reachable(NODE)), Tries()
    taken = {(DRIVER, "n1", f"d{number}") for number in range(MOST_TRIES)}
    wanted = [want(claim(request()), CLASSES.get)]
    assert allocate(wanted, reachable, taken, tries) is None
    taken.remove((DRIVER, "n1", f"d{MOST_TRIES - 1}"))
    assert allocate(wanted, reachable, taken, tries) is not None
    assert tries.left == MOST_TRIES - 1


def test_a_search_looks_at_each_device_once_a_request_however_often_it_goes_back() -> None:
    offer = pools(slice_of("s", *(device(f"d{number}", attributes={"m": {"int": 1}}) for number in range(100))))
    reachable, tries = list(offer.reachable(NODE)), Tries()
    differ = claim(request("a"), request("b"), constraints=[{"distinctAttribute": f"{DRIVER}/m"}])
    with pytest.raises(Impossible, match="tries"):
        allocate([want(differ, CLASSES.get)], reachable, set(), tries)
    assert tries.looks == MOST_LOOKS - 200
    with pytest.raises(Impossible, match=f"no devices were found in {MOST_LOOKS} looks"):
        for _ in range(MOST_LOOKS // 100):
            allocate([want(claim(request(count=101)), CLASSES.get)], reachable, set(), tries)


def test_a_slice_that_changes_leaves_the_devices_of_the_others_as_they_are() -> None:
    offer = pools(slice_of("s", device("a"), count=2), slice_of("t", device("b"), count=2))
    before = [each for each, _ in offer.reachable(NODE)]
    offer.changed(slice_of("t", device("c"), count=2))
    after = [each for each, _ in offer.reachable(NODE)]
    assert [each.name for each in after] == ["a", "c"] and after[0] is before[0]


def test_what_a_device_remembers_of_expressions_has_a_bound() -> None:
    [(offered, _)] = pools(slice_of("s", device("a"))).reachable(NODE)
    for number in range(100):
        assert offered.selected(f"device.driver != '{number}'")
    assert len(offered._verdicts) <= 64
