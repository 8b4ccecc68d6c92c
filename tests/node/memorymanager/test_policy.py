"""From which NUMA nodes containers have their memory: by example, and against a count of every page."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sampan.node.memorymanager import checkpoint, reserved
from sampan.node.memorymanager.policy import Block, NoRoom, StaticPolicy
from sampan.node.numa import Cell
from sampan.node.topology.hints import Hint, mask_of, nodes_of

GIB = 1 << 30


def cells(*gibibytes: int, huge: int = 0) -> list[Cell]:
    pages = {"hugepages-1Gi": huge * GIB} if huge else {}
    return [Cell(id=node, memory_bytes=size * GIB, hugepages=pages) for node, size in enumerate(gibibytes)]


def pod(uid: str, *sizes: int, init: tuple[int, ...] = (), side: tuple[int, ...] = (), **more: str) -> Any:
    def container(name: str, size: int, **fields: Any) -> Any:
        given = {"cpu": "1", "memory": f"{size}Gi", **{name.replace("_", "-"): text for name, text in more.items()}}
        return {"name": name, "resources": {"requests": given, "limits": given}, **fields}

    first = [container(f"s{index}", size, restartPolicy="Always") for index, size in enumerate(side)]
    first += [container(f"i{index}", size) for index, size in enumerate(init)]
    main = [container(f"c{index}", size) for index, size in enumerate(sizes)]
    return {"metadata": {"uid": uid}, "spec": {"initContainers": first, "containers": main}}


def give(policy: StaticPolicy, of: Any, affinity: int | None = None) -> None:
    for container in (*of["spec"]["initContainers"], *of["spec"]["containers"]):
        policy.allocate(of, container, affinity)


def offered(policy: StaticPolicy, of: Any) -> Any:
    return policy.hints(of, of["spec"]["containers"][0])["memory"]


def test_memory_is_offered_of_the_fewest_nodes_that_could_have_it_and_of_larger_groups() -> None:
    policy = StaticPolicy(cells(8, 8), {0: {"memory": 2 * GIB}})
    assert offered(policy, pod("p", 6)) == [Hint(0b01, True), Hint(0b10, True), Hint(0b11, False)]
    assert offered(policy, pod("p", 7)) == [Hint(0b10, True), Hint(0b11, False)]
    assert offered(policy, pod("p", 10)) == [Hint(0b11, True)]
    assert offered(policy, pod("p", 15)) == []


def test_a_node_of_which_one_has_memory_alone_is_no_part_of_a_group_and_the_other_way_round() -> None:
    policy = StaticPolicy(cells(8, 8, 8), {})
    give(policy, pod("alone", 2), 0b001)
    assert offered(policy, pod("p", 7)) == [Hint(0b010, True), Hint(0b100, True), Hint(0b110, False)]
    give(policy, pod("wide", 10))
    assert policy.nodes_of("wide", "c0") == (1, 2)
    assert offered(policy, pod("p", 5)) == [Hint(0b001, True), Hint(0b110, False)]
    with pytest.raises(NoRoom, match="preferred hint violates NUMA node allocation"):
        give(policy, pod("q", 1), 0b011)
    with pytest.raises(NoRoom, match="no NUMA nodes with enough memory is available"):
        give(policy, pod("q", 7))


def test_a_container_whose_nodes_have_too_little_has_more_nodes_around_them() -> None:
    policy = StaticPolicy(cells(4, 4, 4), {})
    give(policy, pod("p", 6), 0b010)
    assert policy.nodes_of("p", "c0") == (0, 1)
    with pytest.raises(NoRoom, match="failed to find NUMA nodes to extend the current topology hint"):
        give(policy, pod("q", 3), 0b111 & ~0b011 | 0b100000)


def test_huge_pages_and_memory_come_from_the_same_nodes_and_pages_are_no_memory() -> None:
    policy = StaticPolicy(cells(8, 8, huge=3), {})
    mine = pod("p", 5, hugepages_1Gi="2Gi")
    both = [Hint(0b01, True), Hint(0b10, True), Hint(0b11, False)]
    assert policy.hints(mine, mine["spec"]["containers"][0]) == {"memory": both, "hugepages-1Gi": both}
    give(policy, mine, 0b10)
    assert sorted(policy.blocks("p", "c0"), key=lambda block: block.resource) == [
        Block(0b10, "hugepages-1Gi", 2 * GIB), Block(0b10, "memory", 5 * GIB),
    ]  # fmt: skip
    assert offered(policy, pod("q", 6)) == []


def test_what_init_containers_had_is_used_again_and_sidecars_keep_theirs() -> None:
    policy = StaticPolicy(cells(16), {})
    mine = pod("p", 2, 3, init=(4, 6), side=(1,))
    assert policy.pod_hints(mine) == {"memory": [Hint(1, True)]}
    give(policy, mine)
    sizes = {name: blocks[0].size // GIB for name, blocks in policy.assigned["p"].items()}
    assert sizes == {"s0": 1, "i0": 0, "i1": 1, "c0": 2, "c1": 3}
    assert sum(sizes.values()) == 7
    assert policy.pod_hints(mine) == {"memory": (Hint(1, True),)}


@pytest.mark.parametrize("kind", ["burstable", "whole"])
def test_only_guaranteed_pods_whose_containers_say_it_have_memory_of_their_own(kind: str) -> None:
    policy, mine = StaticPolicy(cells(8), {}), pod("p", 2)
    if kind == "burstable":
        mine["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "1", "memory": "1Gi"}
    else:
        mine["spec"]["resources"] = {"limits": {"memory": "4Gi", "cpu": "1"}}
    give(policy, mine)
    assert (policy.assigned, policy.hints(mine, mine["spec"]["containers"][0])) == ({}, {})


@pytest.mark.parametrize("seed", range(30))
def test_no_group_gives_more_than_it_has_shares_a_node_with_another_and_all_comes_back(seed: int) -> None:
    chance = random.Random(seed)
    there = cells(*(chance.randint(2, 9) for _ in range(chance.randint(1, 4))))
    kept = {0: {"memory": GIB}}
    policy = StaticPolicy(there, kept)
    alive: list[str] = []
    for number in range(40):
        if alive and chance.random() < 0.4:
            alive.remove(chance.choice(alive))
            policy.keep_only(alive)
        else:
            sizes = [chance.randint(1, 8) for _ in range(chance.randint(1, 2))]
            mine = pod(f"p{number}", *sizes, init=tuple(chance.sample([1, 4, 7], chance.randint(0, 2))))
            affinity = mask_of(chance.sample(range(len(there)), 1)) if chance.random() < 0.5 else None
            try:
                give(policy, mine, affinity)
                alive.append(f"p{number}")
            except NoRoom:
                policy.release(f"p{number}")
        used: dict[int, int] = {}
        for of_pod in policy.assigned.values():
            for blocks in of_pod.values():
                for block in blocks:
                    used[block.nodes] = used.get(block.nodes, 0) + block.size
        for group, size in used.items():
            assert size <= sum(policy.allocatable[node]["memory"] for node in nodes_of(group))
            assert not any(group & other for other in used if other != group)
        state = checkpoint.decode(checkpoint.encode(policy))
        assert state is not None and state.assigned == policy.assigned and not checkpoint.misfit(state, policy)
    policy.keep_only(())
    fresh = StaticPolicy(there, kept)
    assert checkpoint.encode(policy) == checkpoint.encode(fresh)


def test_the_state_says_of_each_node_what_is_reserved_and_free_in_the_kubelets_form() -> None:
    policy = StaticPolicy(cells(4, 4), {0: {"memory": GIB}})
    give(policy, pod("p", 5))
    state = checkpoint.decode(checkpoint.encode(policy))
    assert state is not None and state.policy == "Static"
    assert state.machine == {0: {"memory": (4 * GIB, GIB, 3 * GIB)}, 1: {"memory": (4 * GIB, 0, 4 * GIB)}}
    shown = checkpoint.encode(policy).decode()
    assert '"cells":[0,1],"memoryMap":{"memory":{"allocatable":3221225472,"free":0,"reserved":3221225472' in shown
    assert '"free":2147483648,"reserved":2147483648' in shown


def of(policy: str = "Static", node: int = 0, size: int = GIB, resource: str = "memory") -> checkpoint.State:
    machine = {0: {"memory": (4 * GIB, 0, 4 * GIB)}}
    return checkpoint.State(policy, machine, {"p": {"c": [Block(1 << node, resource, size)]}})


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (of(), ""),
        (of("None"), 'configured policy "Static" differs from state checkpoint policy "None"'),
        (of(node=1), "[memorymanager] (pod: p, container: c) the memory assignment uses the NUMA that does not exist"),
        (
            of(resource="hugepages-2Mi"),
            "[memorymanager] (pod: p, container: c) the memory assignment uses memory resource that does not exist",
        ),
        (of(size=5 * GIB), "[memorymanager] the expected machine state is different from the real one"),
        (of()._replace(machine={}), "[memorymanager] the expected machine state is different from the real one"),
        (of()._replace(machine={}, assigned={}), ""),
    ],
    ids=["fits", "policy", "node", "resource", "size", "machine", "nobody"],
)
def test_a_state_that_does_not_fit_is_told_in_the_kubelets_words(state: checkpoint.State, words: str) -> None:
    assert checkpoint.misfit(state, StaticPolicy(cells(4), {})) == words


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b'{"policyName":"Static","entries":{"p":{"c":[{"numaAffinity":[-1],"type":"memory","size":1}]}}}',
        b'{"policyName":"Static","entries":{"p":{"c":[{"numaAffinity":[99999],"type":"memory","size":1}]}}}',
        b'{"policyName":"Static","entries":{"p":{"c":[{"numaAffinity":[0],"type":"memory","size":-1}]}}}',
        b'{"policyName":"Static","machineState":{"0":{}}}',
    ],
)  # fmt: skip
def test_a_state_that_cannot_be_read_is_none(data: bytes) -> None:
    assert checkpoint.decode(data) is None


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"numaNode": 0, "limits": {"cpu": "1"}}],
         'the limit type "cpu" for NUMA node 0 is not supported, only [memory hugepages-<HugePageSize>] is accepted'),
        ([{"numaNode": 1, "limits": {"memory": "0"}}],
         'reserved memory may not be zero for NUMA node 1 and resource "memory"'),
        ([{"numaNode": 0, "limits": {"memory": "1"}}, {"limits": {"memory": "1"}}],
         'the reserved memory has a duplicate value for NUMA node 0 and resource "memory"'),
        ([{"node": 0}], 'strict decoding error: unknown field "reservedMemory.node"'),
        ([{"numaNode": "0"}], "reservedMemory: numaNode is a whole number, and limits are a map of quantities"),
        ([{"limits": {"memory": "much"}}], 'reservedMemory of NUMA node 0, "memory": '),
    ],
)  # fmt: skip
def test_reserved_memory_that_no_kubelet_takes_is_refused(entries: Any, words: str) -> None:
    with pytest.raises(ValueError) as refused:  # the words are the subject
        reserved.read(entries)
    assert str(refused.value).startswith(words)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"limits": {"memory": "1Gi"}}, {"numaNode": 1, "limits": {"memory": "1Gi"}}], ""),
        ([{"numaNode": 2, "limits": {"memory": "2Gi"}}],
         "the reserved memory configuration references a NUMA node 2 that does not exist on this machine"),
        ([{"numaNode": 1, "limits": {"memory": "1Gi"}}],
         'the total amount "1Gi" of type "memory" is not equal to the value "2Gi" determined by Node Allocatable '
         "feature"),
        ([], 'the total amount "0" of type "memory" is not equal to the value "2Gi"'),
    ],
)  # fmt: skip
def test_what_is_reserved_by_node_is_all_that_is_reserved(entries: Any, words: str) -> None:
    found = reserved.read(entries)
    if not words:
        reserved.check(found, cells(2, 2), 2 * GIB)
        return
    with pytest.raises(ValueError) as refused:  # the words are the subject
        reserved.check(found, cells(2, 2), 2 * GIB)
    assert str(refused.value).startswith(words)
