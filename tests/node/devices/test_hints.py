"""On which NUMA nodes devices can be had: counted again the slow way, and by example."""

from __future__ import annotations

import random

import pytest

from sampan.node.devices import hints
from sampan.node.devices.plan import Need, Stock, choose, take
from sampan.node.topology.hints import Hint, nodes_of

TOY = "example.com/toy"
NODES = {"a": (0,), "b": (0,), "c": (1,), "d": (0, 1)}
STOCK = Stock(frozenset("abcde"), nodes=NODES)


def need(number: int, container: str = "main", *, lends: bool = False) -> Need:
    return Need(container, TOY, number, lends)


def asked(wanted: Need, held: dict[tuple[str, str], tuple[str, ...]] | None = None, in_use: str = "") -> object:
    return hints.of_container(wanted, [need(2, "first", lends=True), wanted], held or {}, in_use, STOCK, [0, 1])


def test_devices_are_offered_where_there_are_so_many_and_of_the_fewest_nodes_preferably() -> None:
    assert asked(need(2)) == [Hint(0b01, True), Hint(0b10, True), Hint(0b11, False)]
    assert asked(need(3)) == [Hint(0b01, True), Hint(0b11, False)]
    assert asked(need(3), in_use="a") == [Hint(0b11, False)]
    assert asked(need(5)) == []  # one is nowhere


def test_a_resource_whose_plug_in_says_nothing_of_places_is_as_good_anywhere() -> None:
    assert hints.of_container(need(1), [need(1)], {}, (), Stock(frozenset("ab")), [0, 1]) is None
    assert hints.of_pod(TOY, [need(1)], {}, (), Stock(frozenset("ab")), [0, 1]) is None


def test_what_a_container_has_or_an_init_container_lends_says_where_it_is() -> None:
    assert asked(need(1), {("main", TOY): ("c",)}) == [Hint(0b10, True), Hint(0b11, False)]
    assert asked(need(2), {("main", TOY): ("c",)}) == ()
    assert asked(need(2), {("first", TOY): ("c", "e")}, "ce") == [Hint(0b10, True), Hint(0b11, False)]


def test_a_pod_wants_as_many_as_it_has_at_once() -> None:
    needs = [need(3, "first", lends=True), need(1, "side"), need(1)]
    assert hints.of_pod(TOY, needs, {}, (), STOCK, [0, 1]) == [Hint(0b01, True), Hint(0b11, False)]
    held = {("first", TOY): ("a", "b", "d"), ("side", TOY): ("a",)}
    assert hints.of_pod(TOY, needs, held, "abd", STOCK, [0, 1]) == [Hint(0b01, True), Hint(0b11, False)]


@pytest.mark.parametrize(
    ("number", "affinity", "in_use", "preferred", "expected"),
    [
        (1, 0b10, "", "", ("c",)),
        (1, 0b10, "", "a", ("c",)),  # a preference for what is elsewhere does not count
        (1, 0b01, "", "d", ("d",)),
        (3, 0b10, "", "be", ("c", "d", "b")),  # all that are near, then what is preferred
        (3, 0b10, "", "", ("c", "d", "a")),
        (4, 0b10, "", "", ("c", "d", "a", "b")),  # those that are nowhere come last
        (2, None, "", "e", ("e", "a")),
        (2, 0b01, "ab", "", ("d", "c")),
    ],
)
def test_devices_near_the_rest_come_first_and_the_plug_in_chooses_among_them(
    number: int, affinity: int | None, in_use: str, preferred: str, expected: tuple[str, ...]
) -> None:
    assert take(choose(need(number), (), (), in_use, STOCK, affinity), tuple(preferred)) == expected


@pytest.mark.parametrize("seed", range(20))
def test_a_hint_is_kept_by_what_is_chosen_by_it(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        names = [f"d{number}" for number in range(chance.randint(1, 8))]
        nodes = {name: tuple(chance.sample(range(4), chance.randint(1, 2))) for name in names if chance.random() < 0.9}
        healthy = frozenset(chance.sample(names, chance.randint(1, len(names))))
        stock = Stock(healthy, frozenset(names) - healthy, nodes)
        in_use = chance.sample(names, chance.randint(0, len(names)))
        wanted = need(chance.randint(1, 4))
        for hint in hints.of_container(wanted, [wanted], {}, in_use, stock, range(4)) or ():
            assert hint.affinity is not None
            chosen = take(choose(wanted, (), (), in_use, stock, hint.affinity), ())
            assert all(set(nodes[device]) & set(nodes_of(hint.affinity)) for device in chosen)
            assert len(set(chosen)) == wanted.number and set(chosen) <= healthy - set(in_use)
