"""The moments at which entries end: in order, and no more of them kept than there are entries."""

import random

from sampan.store.expiry import Expiries


def test_keys_are_due_in_the_order_of_their_ends() -> None:
    expiries = Expiries([("b", 20)])
    expiries.set("a", 30)
    expiries.set("c", 10)
    assert expiries.next_ms() == 10
    assert expiries.due(25, 10) == ["c", "b"]
    assert expiries.due(25, 10) == []
    assert expiries.due(30, 10) == ["a"]


def test_the_last_end_that_was_set_holds() -> None:
    expiries = Expiries()
    for at_ms in (10, 30, 20):
        expiries.set("a", at_ms)
    expiries.set("gone", 5)
    expiries.set("gone", 0)
    assert expiries.due(19, 10) == []
    assert expiries.due(20, 10) == ["a"]
    assert expiries.next_ms() is None


def test_a_key_that_is_written_again_and_again_costs_no_memory() -> None:
    expiries = Expiries()
    chance = random.Random(1)
    for n in range(5000):
        expiries.set(f"k{chance.randrange(10)}", n + 3600)
    assert len(expiries._heap) <= 2 * len(expiries) + 64
