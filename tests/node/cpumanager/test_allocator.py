"""Which processors a container gets to itself: safety over random machines, the kubelet's preferences by example."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sampan.node.cpumanager import checkpoint
from sampan.node.cpumanager.allocator import TooFew, take
from sampan.node.cpumanager.options import Options, check, read
from sampan.node.cpumanager.policy import Misaligned, StaticPolicy, reserve
from sampan.node.processors import Place, Topology, flat, parse, show


def machine(sockets: int, cores: int, threads: int) -> Topology:
    """Numbered as Linux does: the first threads of all cores, then the second ones."""
    places = {}
    for thread in range(threads):
        for socket in range(sockets):
            for core in range(cores):
                places[thread * sockets * cores + socket * cores + core] = Place(socket, core)
    return Topology(places)


def guaranteed(uid: str, *cpus: str, init: tuple[str, ...] = ()) -> Any:
    def container(name: str, amount: str) -> Any:
        given = {"cpu": amount, "memory": "1Gi"}
        return {"name": name, "resources": {"requests": given, "limits": given}}

    return {
        "metadata": {"uid": uid},
        "spec": {
            "containers": [container(f"c{index}", amount) for index, amount in enumerate(cpus)],
            "initContainers": [container(f"i{index}", amount) for index, amount in enumerate(init)],
        },
    }


@pytest.mark.parametrize(
    ("free", "count", "expected"),
    [
        ("0-7", 1, "0"),
        ("0-7", 2, "0,4"),  # both threads of one core
        ("1-7", 2, "1,5"),  # core 0 is broken up already
        ("1-7", 1, "4"),  # so its other thread goes first
        ("0-7", 3, "0-1,4"),
        ("0,2-4,6-7", 4, "2-3,6-7"),  # a whole socket, before two cores of several
    ],
)
def test_as_few_cores_and_sockets_as_may_be_are_broken_up(free: str, count: int, expected: str) -> None:
    assert show(take(machine(2, 2, 2), parse(free), count)) == expected


def test_whoever_wants_more_than_there_is_gets_nothing_and_the_kubelets_words() -> None:
    with pytest.raises(TooFew, match="not enough cpus available to satisfy request: requested=3, available=2"):
        take(flat(4), parse("0-1"), 3)


@pytest.mark.parametrize("seed", range(25))
def test_nobody_gets_what_another_has_and_all_comes_back(seed: int) -> None:
    chance = random.Random(seed)
    topology = machine(chance.randint(1, 2), chance.randint(1, 6), chance.randint(1, 2))
    reserved = reserve(topology, chance.randint(1, 1500), frozenset())
    policy = StaticPolicy(topology, reserved)
    alive: list[str] = []
    for number in range(60):
        if alive and chance.random() < 0.4:
            alive.remove(chance.choice(alive))
            policy.keep_only(alive)
        else:
            wanted = [chance.choice(["1", "2", "3", "500m", "1500m"]) for _ in range(chance.randint(1, 3))]
            pod = guaranteed(f"p{number}", *wanted, init=tuple(chance.sample(["1", "2", "4"], chance.randint(0, 2))))
            before = {uid: dict(each) for uid, each in policy.assigned.items()}
            try:
                policy.admit(pod)
                alive.append(f"p{number}")
            except TooFew:
                assert policy.assigned == before
        given = [cpus for each in policy.assigned.values() for name, cpus in each.items() if name.startswith("c")]
        assert sum(map(len, given)) == len(frozenset().union(*given)), "two have one processor"
        pods = [frozenset().union(*each.values()) for each in policy.assigned.values()]
        assert sum(map(len, pods)) == len(frozenset().union(*pods)), "two pods have one processor"
        assert not frozenset().union(*pods) & reserved
        assert policy.shared | frozenset().union(*pods) == topology.cpus and policy.shared >= reserved
        kept = checkpoint.decode(checkpoint.encode(policy.shared, policy.assigned))
        assert kept is not None and kept.assigned == policy.assigned and not checkpoint.misfit(kept, policy)
    policy.keep_only(())
    assert policy.shared == topology.cpus


def test_an_init_container_and_the_containers_after_it_have_the_same_processors() -> None:
    policy = StaticPolicy(flat(4), frozenset({0}))
    policy.admit(guaranteed("p", "1", "1", init=("2",)))
    given = policy.assigned["p"]
    assert (show(given["i0"]), show(given["c0"]), show(given["c1"])) == ("1-2", "1", "2")
    assert show(policy.shared) == "0,3"


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"policyName":"static"}',
    b'{"policyName":"static","defaultCpuSet":"1-99999999","entries":{}}'])  # fmt: skip
def test_a_state_that_cannot_be_read_is_none(data: bytes) -> None:
    assert checkpoint.decode(data) is None


@pytest.mark.parametrize(
    ("strict", "shared", "entries", "words"),
    [
        (False, "", '{"p":{"c":"1"}}', "default cpuset cannot be empty"),
        (False, "2-3", '{"p":{"c":"1"}}', 'not all reserved cpus: "0" are present in defaultCpuSet: "2-3"'),
        (
            False, "0-3", '{"p":{"c":"1-2"}}',
            'pod: p, container: c cpuset: "1-2" overlaps with default cpuset "0-3"',
        ),
        (
            False, "0,2-5", '{"p":{"c":"1"}}',
            'current set of available CPUs "0-3" doesn\'t match with CPUs in state "0-5"',
        ),
        (
            False, "0,2", '{"p":{"c":"1"}}',
            'current set of available CPUs "0-3" doesn\'t match with CPUs in state "0-2"',
        ),
        (
            False, "0,3", '{"p":{"c":"1-2"},"q":{"c":"2"}}',
            'pod: q, container: c cpuset: "2" is empty or another pod\'s',
        ),
        (
            True, "0,2-3", '{"p":{"c":"1"}}',
            'some of strictly reserved cpus: "0" are present in defaultCpuSet: "0,2-3"',
        ),
        (True, "2-3", '{"p":{"c":"1"}}', ""),
        (True, "", '{"p":{"c":"1-3"}}', ""),  # all but the reserved are given
        (True, "0-9", "{}", ""),  # nobody has anything
        (False, "", "{}", ""),
        (False, "0,3", '{"p":{"c":"1-2","d":"2"}}', ""),
    ],
)  # fmt: skip
def test_a_state_that_does_not_fit_the_machine_is_told_in_the_kubelets_words(
    strict: bool, shared: str, entries: str, words: str
) -> None:
    state = checkpoint.decode(f'{{"policyName":"static","defaultCpuSet":"{shared}","entries":{entries}}}'.encode())
    assert state is not None
    policy = StaticPolicy(flat(4), frozenset({0}), options=Options(strict_reservation=strict))
    assert checkpoint.misfit(state, policy) == words


def test_a_state_of_another_policy_is_told() -> None:
    state = checkpoint.decode(b'{"policyName":"none","defaultCpuSet":""}')
    assert state is not None
    assert checkpoint.misfit(state, StaticPolicy(flat(4), frozenset({0}))) == (
        'configured policy "static" differs from state checkpoint policy "none"'
    )


FULL = Options(full_cores=True)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("3", "SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2"),
        (
            "8",
            "SMT Alignment Error: not enough free physical CPUs: available physical CPUs = 6, requested CPUs = 8, "
            "CPUs per core = 2",
        ),
    ],
)
def test_of_full_cores_nobody_gets_a_part_nor_one_that_is_reserved_in_part(wanted: str, words: str) -> None:
    policy = StaticPolicy(machine(2, 2, 2), frozenset({0}), options=FULL)
    with pytest.raises(Misaligned) as refused:
        policy.admit(guaranteed("p", wanted))
    assert (str(refused.value), policy.assigned) == (words, {})


@pytest.mark.parametrize("seed", range(10))
def test_of_full_cores_no_core_is_two_containers(seed: int) -> None:
    chance = random.Random(seed)
    topology = machine(chance.randint(1, 2), chance.randint(2, 6), 2)
    policy = StaticPolicy(topology, reserve(topology, chance.randint(1, 2500), frozenset()), options=FULL)
    alive: list[str] = []
    for number in range(40):
        if alive and chance.random() < 0.4:
            alive.remove(chance.choice(alive))
            policy.keep_only(alive)
            continue
        wanted = [chance.choice(["1", "2", "4", "500m"]) for _ in range(chance.randint(1, 3))]
        try:
            policy.admit(guaranteed(f"p{number}", *wanted))
            alive.append(f"p{number}")
        except Misaligned:
            assert f"p{number}" not in policy.assigned
    whole = topology.by_core(topology.cpus)
    for each in policy.assigned.values():
        for cpus in each.values():
            assert all(part == whole[place] for place, part in topology.by_core(cpus).items())


def test_what_is_strictly_reserved_is_nobodys_neither_alone_nor_shared() -> None:
    policy = StaticPolicy(flat(4), frozenset({0}), options=Options(strict_reservation=True))
    assert show(policy.cpus_of("other", "c")) == "1-3"
    policy.admit(guaranteed("p", "2"))
    assert (show(policy.cpus_of("p", "c0")), show(policy.shared)) == ("1-2", "3")
    kept = checkpoint.decode(checkpoint.encode(policy.shared, policy.assigned))
    assert kept is not None and not checkpoint.misfit(kept, policy)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"none": "true"}, 'unknown CPU Manager Policy option: "none"'),
        (
            {"align-by-socket": "true"},
            'CPU Manager Policy Alpha-level Options not enabled, but option "align-by-socket" provided',
        ),
        (
            {"full-pcpus-only": "yes"},
            'bad value for option "full-pcpus-only": strconv.ParseBool: parsing "yes": invalid syntax',
        ),
    ],
)
def test_an_option_that_no_kubelet_takes_is_refused_in_its_words(given: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError) as refused:  # the words are the subject
        read(given)
    assert str(refused.value) == words


def test_options_of_stage_alpha_want_their_gate_and_none_contradicts_another() -> None:
    assert read({"align-by-socket": "true"}, alpha=True) == Options(by_socket=True)
    assert read({"full-pcpus-only": "true", "strict-cpu-reservation": "0"}) == FULL
    both = {"distribute-cpus-across-numa": "true", "prefer-align-cpus-by-uncorecache": "true"}
    with pytest.raises(ValueError, match="distribute-cpus-across-numa can not be used at the same time"):
        read(both)


@pytest.mark.parametrize(
    ("policy", "topology", "words"),
    [
        ("single-numa-node", flat(2), "incompatible with CPUManager align-by-socket"),
        ("restricted", machine(2, 2, 1), "number of sockets are more than number of NUMA"),
        ("restricted", flat(2), ""),
    ],
    ids=["single", "larger", "fits"],
)
def test_a_socket_is_no_unit_beside_a_policy_of_single_nodes_nor_within_larger_nodes(
    policy: str, topology: Topology, words: str
) -> None:
    if not words:
        check(Options(by_socket=True), topology, policy)
        return
    with pytest.raises(ValueError, match=words):
        check(Options(by_socket=True), topology, policy)
