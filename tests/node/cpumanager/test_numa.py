"""Processors of machines with several NUMA nodes: where they can be had, and how each option takes them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sampan.node.cpumanager.allocator import TooFew, take
from sampan.node.cpumanager.options import Options
from sampan.node.cpumanager.policy import Misaligned, StaticPolicy
from sampan.node.cpumanager.spreading import take_evenly
from sampan.node.processors import Cpus, Place, Topology, parse, show
from sampan.node.topology.hints import Hint, nodes_of


def machine(sockets: int, nodes: int, cores: int, threads: int = 1, caches: int = 1) -> Topology:
    """``nodes`` of each socket, ``cores`` and ``caches`` of each node; the first threads come first."""
    all_ = sockets * nodes * cores
    places = {}
    for cpu in range(all_ * threads):
        core = cpu % all_
        node = core // cores
        cache = node * caches + core % cores * caches // cores
        places[cpu] = Place(node // nodes, core, node, cache)
    return Topology(places)


def pod(uid: str, *cpus: int, init: tuple[int, ...] = ()) -> Any:
    def containers(letter: str, amounts: tuple[int, ...]) -> Any:
        given = [{"cpu": str(amount), "memory": "1Gi"} for amount in amounts]
        return [
            {"name": f"{letter}{index}", "resources": {"requests": each, "limits": each}}
            for index, each in enumerate(given)
        ]

    return {
        "metadata": {"uid": uid},
        "spec": {"containers": containers("c", cpus), "initContainers": containers("i", init)},
    }


def offered(policy: StaticPolicy, of: Any, container: int = 0) -> Any:
    return policy.hints(of, of["spec"]["containers"][container])


def test_a_request_can_be_had_of_every_set_of_nodes_with_so_many_and_of_the_fewest_preferably() -> None:
    policy = StaticPolicy(machine(1, 2, 4), frozenset({0}))
    assert offered(policy, pod("p", 3)) == {"cpu": [Hint(0b01, True), Hint(0b10, True), Hint(0b11, False)]}
    # Four would fit on one node of this machine, so that two are never preferred.
    policy.allocate(pod("q", 1), pod("q", 1)["spec"]["containers"][0], 0b10)
    assert offered(policy, pod("p", 4)) == {"cpu": [Hint(0b11, False)]}
    assert offered(policy, pod("p", 5)) == {"cpu": [Hint(0b11, True)]}
    assert offered(policy, pod("p", 8)) == {"cpu": []}
    assert policy.hints(pod("p", 1), {"name": "shares", "resources": {}}) == {}


def test_what_a_container_has_is_where_it_is_offered_again() -> None:
    policy, mine = StaticPolicy(machine(1, 2, 4), frozenset()), pod("p", 3)
    policy.allocate(mine, mine["spec"]["containers"][0], 0b10)
    assert offered(policy, mine) == {"cpu": [Hint(0b10, True), Hint(0b11, False)]}
    assert policy.pod_hints(mine) == {"cpu": [Hint(0b10, True), Hint(0b11, False)]}
    assert offered(policy, pod("p", 2)) == {"cpu": ()}


def test_containers_after_an_init_container_are_where_its_processors_are() -> None:
    policy, mine = StaticPolicy(machine(1, 2, 4), frozenset()), pod("p", 3, init=(2,))
    policy.allocate(mine, mine["spec"]["initContainers"][0], 0b10)
    assert offered(policy, mine) == {"cpu": [Hint(0b10, True), Hint(0b11, False)]}
    policy.allocate(mine, mine["spec"]["containers"][0], 0b10)
    assert {name: show(cpus) for name, cpus in policy.assigned["p"].items()} == {"i0": "4-5", "c0": "4-6"}


@pytest.mark.parametrize("seed", range(20))
def test_hints_are_what_counting_finds_and_what_is_taken_by_one_lies_within_it(seed: int) -> None:
    chance = random.Random(seed)
    topology = machine(chance.randint(1, 2), chance.randint(1, 2), chance.randint(1, 4), chance.randint(1, 2))
    places = topology.places
    options = Options(full_cores=chance.random() < 0.3, across_nodes=chance.random() < 0.3)
    policy = StaticPolicy(topology, frozenset(chance.sample(sorted(topology.cpus), 1)), options=options)
    for number in range(12):
        mine = pod(f"p{number}", chance.randint(1, 5))
        container = mine["spec"]["containers"][0]
        count = int(container["resources"]["requests"]["cpu"])
        kept = {places[cpu] for cpu in policy.reserved}
        free = {cpu for cpu in policy.shared - policy.reserved if not options.full_cores or places[cpu] not in kept}
        found = policy.hints(mine, container)["cpu"]
        assert found is not None
        nodes = sorted({place.node for place in topology.places.values()})
        counted = set()
        for mask in range(1, 1 << (nodes[-1] + 1)):
            if sum(topology.places[cpu].node in nodes_of(mask) for cpu in free) >= count:
                counted.add(mask)
        assert {hint.affinity for hint in found} == counted
        if not found:
            continue
        affinity = chance.choice(found).affinity
        assert affinity is not None
        try:
            policy.allocate(mine, container, affinity)
        except Misaligned:
            continue
        mine_now = policy.assigned[f"p{number}"]["c0"]
        assert len(mine_now) == count and mine_now <= free
        assert {topology.places[cpu].node for cpu in mine_now} <= set(nodes_of(affinity))


def test_halves_of_cores_that_are_reserved_in_part_are_no_cores_of_a_node() -> None:
    policy, mine = StaticPolicy(machine(1, 2, 2, 2), frozenset({0, 1}), options=Options(full_cores=True)), pod("p", 2)
    assert offered(policy, mine) == {"cpu": [Hint(0b10, True), Hint(0b11, False)]}
    policy.allocate(mine, mine["spec"]["containers"][0], 0b01)
    assert show(policy.assigned["p"]["c0"]) == "2,6"


def test_a_node_that_is_smaller_than_a_socket_is_filled_before_the_next() -> None:
    assert show(take(machine(1, 2, 4), parse("1-7"), 4)) == "4-7"
    assert show(take(machine(2, 1, 2, 2), frozenset(range(8)), 4)) == "0-1,4-5"


@pytest.mark.parametrize(
    ("free", "count", "group", "expected"),
    [
        ("0-15", 4, 1, "0-3"),  # one node has enough
        ("0-15", 10, 1, "0-4,8-12"),  # two in equal parts
        ("2-15", 10, 1, "2-6,8-12"),
        ("0-15", 9, 1, "0-4,8-11"),  # and one more of one of them
        ("0-2,8-15", 10, 1, "0-1,8-15"),  # not even: packed
    ],
)
def test_what_one_node_has_not_is_taken_of_several_in_equal_parts(
    free: str, count: int, group: int, expected: str
) -> None:
    topology = machine(1, 2, 8)

    def pack(some: Cpus, number: int) -> Cpus:
        return take(topology, some, number)

    assert show(take_evenly(topology, parse(free), count, group, pack)) == expected


def test_equal_parts_are_of_whole_cores_where_cores_are_given_whole() -> None:
    options = Options(full_cores=True, across_nodes=True)
    policy = StaticPolicy(machine(1, 2, 3, 2), frozenset(), options=options)
    policy.admit(pod("p", 10))
    nodes = policy.topology.by_node(policy.assigned["p"]["c0"])
    assert sorted(map(len, nodes.values())) == [4, 6]
    with pytest.raises(Misaligned):
        policy.admit(pod("q", 4))


@pytest.mark.parametrize("seed", range(15))
def test_equal_parts_are_exact_and_free(seed: int) -> None:
    chance = random.Random(seed)
    topology = machine(chance.randint(1, 2), chance.randint(1, 3), chance.randint(1, 6), 2)

    def pack(some: Cpus, number: int) -> Cpus:
        return take(topology, some, number)

    for _ in range(30):
        free = frozenset(chance.sample(sorted(topology.cpus), chance.randint(0, len(topology.cpus))))
        count, group = chance.randint(0, len(topology.cpus)), chance.choice([1, 2])
        try:
            taken = take_evenly(topology, free, count, group, pack)
        except TooFew:
            assert count > len(free)
            continue
        assert len(taken) == count and taken <= free


@pytest.mark.parametrize(
    ("free", "count", "expected"),
    [
        ("0-7", 2, "0-1"),
        ("1-7", 2, "2-3"),  # cache 0-1 is used in part: another has both
        ("1-7", 1, "1"),  # the smallest that has it
        ("1-7", 3, "1-3"),  # a whole cache, and the rest of one other
        ("1,3,5,7", 2, "1,3"),  # none has: packed
    ],
)
def test_as_few_caches_as_may_be_are_shared_where_it_is_asked_for(free: str, count: int, expected: str) -> None:
    assert show(take(machine(1, 1, 8, caches=4), parse(free), count, by_cache=True)) == expected


def test_threads_of_several_cores_come_before_the_second_thread_of_one_where_it_is_asked_for() -> None:
    topology = machine(1, 1, 4, 2)
    assert show(take(topology, topology.cpus, 3, apart=True)) == "0-2"
    assert show(take(topology, topology.cpus, 5, apart=True)) == "0-4"
    assert show(take(topology, topology.cpus, 3)) == "0-1,4"


def test_a_socket_is_as_good_as_a_node_where_sockets_count() -> None:
    policy = StaticPolicy(machine(2, 2, 2), frozenset(), options=Options(by_socket=True))
    preferred = {hint.affinity for hint in offered(policy, pod("p", 1))["cpu"] if hint.preferred}
    assert preferred == {0b0001, 0b0010, 0b0011, 0b0100, 0b1000, 0b1100}
    mine = pod("p", 3)
    policy.allocate(mine, mine["spec"]["containers"][0], 0b0010)
    # What its node has not is taken of the same socket.
    assert policy.assigned["p"]["c0"] <= parse("0-3")
