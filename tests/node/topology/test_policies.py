"""Where a container's resources are to come from: against a search through all combinations, and by example."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

import pytest

from sampan.node.numa import Cell
from sampan.node.topology import hints, policies
from sampan.node.topology.hints import ANYWHERE, Hint, Hints
from sampan.node.topology.policies import Policy


def cells(count: int, **distances: int) -> list[Cell]:
    """``distances``: of nodes n0_n2; others are 20 apart."""
    given: dict[int, dict[int, int]] = {}
    for pair, distance in distances.items():
        one, other = (int(word.removeprefix("n")) for word in pair.split("_"))
        given.setdefault(one, {})[other] = given.setdefault(other, {})[one] = distance
    return [Cell(id=number, distances=given.get(number, {})) for number in range(count)]


def search(everywhere: int, wishes: Sequence[Sequence[Hint]]) -> Hint:
    """The kubelet's way: every combination is merged, and the better of two is kept."""
    enough = max(
        (min((h.affinity.bit_count() for h in w if h.affinity is not None), default=0) for w in wishes), default=0
    )
    best: Hint | None = None
    for combination in product(*wishes):
        masks = [hint.affinity for hint in combination if hint.affinity is not None]
        merged = everywhere
        for mask in masks:
            merged &= mask
        new = Hint(merged, all(hint.preferred for hint in combination) and len(set(masks)) < 2)
        if merged and (best is None or better(new, best, enough)):
            best = new
    return best or Hint(everywhere, False)


def better(new: Hint, old: Hint, enough: int) -> bool:
    assert new.affinity is not None and old.affinity is not None
    if new.preferred != old.preferred:
        return new.preferred
    here, there = new.affinity.bit_count(), old.affinity.bit_count()
    narrower = (here, new.affinity) < (there, old.affinity)
    if new.preferred or there > enough:
        return narrower
    if there == enough:
        return here == enough and narrower
    if here > enough:
        return False
    return here > there or (here == there and narrower)


@pytest.mark.parametrize("seed", range(60))
def test_what_is_best_of_the_merged_hints_is_what_a_search_through_all_combinations_finds(seed: int) -> None:
    chance = random.Random(seed)
    count = chance.randint(1, 4)
    everywhere = (1 << count) - 1
    for _ in range(20):
        wishes = [
            [
                Hint(chance.choice([None, *range(1, everywhere + 1)]), chance.random() < 0.5)
                for _ in range(chance.randint(1, 4))
            ]
            for _ in range(chance.randint(1, 3))
        ]
        assert hints.merge(everywhere, wishes) == search(everywhere, wishes), wishes


def cpu(*found: Hint) -> Hints:
    return {"cpu": found}


ONE, TWO, BOTH = Hint(0b01, True), Hint(0b10, True), Hint(0b11, False)


@pytest.mark.parametrize(
    ("name", "offers", "expected"),
    [
        ("best-effort", [cpu(ONE, TWO, BOTH), {"toy": (TWO,)}], Hint(0b10, True)),
        ("best-effort", [cpu(ONE), {"toy": (TWO,)}], Hint(0b11, False)),
        ("restricted", [cpu(ONE), {"toy": (TWO,)}], None),
        ("restricted", [cpu(ONE, BOTH), {"toy": (TWO, BOTH)}], None),
        ("restricted", [cpu(Hint(0b11, True)), {}], Hint(0b11, True)),
        ("single-numa-node", [cpu(Hint(0b11, True)), {}], None),
        ("single-numa-node", [cpu(ONE, TWO, BOTH), {"toy": None}], Hint(0b01, True)),
        ("single-numa-node", [cpu(), {}], None),
        ("restricted", [cpu(), {}], None),
        ("best-effort", [cpu(), {}], Hint(0b11, False)),
        ("single-numa-node", [{}, {}], ANYWHERE),
    ],
)
def test_a_policy_takes_what_is_good_enough_for_it(name: policies.Name, offers: list[Hints], expected: Hint) -> None:
    assert policies.decide(Policy(name), cells(2), offers) == expected


def test_of_as_many_nodes_those_that_are_nearer_come_first_where_it_is_asked_for() -> None:
    there = cells(4, n0_n1=40, n0_n2=11)
    offers = [cpu(Hint(0b0011, True), Hint(0b0101, True))]
    assert policies.decide(Policy("best-effort"), there, offers) == Hint(0b0011, True)
    assert policies.decide(Policy("best-effort", closest=True), there, offers) == Hint(0b0101, True)


def test_a_machine_of_more_nodes_than_a_policy_looks_at_is_refused_unless_it_is_allowed() -> None:
    with pytest.raises(ValueError, match="unsupported on machines with more than 8 NUMA Nodes"):
        policies.check(Policy("restricted"), cells(9))
    policies.check(Policy("none"), cells(9))
    policies.check(policies.read("restricted", "pod", {"max-allowable-numa-nodes": "9"}), cells(9))
