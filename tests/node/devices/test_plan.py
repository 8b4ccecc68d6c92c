"""Which devices a container gets, worked out without a plug-in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sampan.node.devices.plan import Need, Stock, Unavailable, choose, needs, reusable, take

TOY = "example.com/toy"


def container(name: str, number: int | str, **more: Any) -> dict[str, Any]:
    return {"name": name, "resources": {"limits": {TOY: str(number), "cpu": "1"}}, **more}


def test_init_containers_come_first_and_lend_unless_they_stay() -> None:
    pod = {
        "spec": {
            "initContainers": [container("first", 2), container("beside", 1, restartPolicy="Always")],
            "containers": [container("main", 1), container("none", 0)],
        }
    }
    assert needs(pod, {TOY, "example.com/other"}) == [
        Need("first", TOY, 2, True),
        Need("beside", TOY, 1, False),
        Need("main", TOY, 1, False),
    ]


def test_what_an_init_container_had_is_lent_once() -> None:
    first, beside, main = Need("first", TOY, 2, True), Need("beside", TOY, 1, False), Need("main", TOY, 1, False)
    held = {("first", TOY): ("a", "b"), ("beside", TOY): ("a",)}
    assert reusable([first, beside, main], main, held) == {"b"}


@pytest.mark.parametrize(
    ("already", "in_use", "stock", "text"),
    [
        ((), (), Stock(), "no healthy devices present; cannot allocate unhealthy devices example.com/toy"),
        (
            (), ("a",), Stock(frozenset("ab")),
            "requested number of devices unavailable for example.com/toy. Requested: 2, Available: 1",
        ),
        (
            ("a", "b"), ("a", "b"), Stock(frozenset("b"), frozenset("a")),
            "previously allocated devices are no longer healthy; cannot allocate unhealthy devices example.com/toy",
        ),
        (("a",), ("a",), Stock(frozenset("ab")), 'changed request for resource "example.com/toy" from 1 to 2'),
    ],
)  # fmt: skip
def test_why_a_container_cannot_have_them(already: Any, in_use: Any, stock: Stock, text: str) -> None:
    with pytest.raises(Unavailable, match=text):
        choose(Need("c", TOY, 2, False), already, (), in_use, stock)


def test_a_plug_ins_preference_counts_as_far_as_it_is_free() -> None:
    choice = choose(Need("c", TOY, 3, False), (), ("b",), ("b", "x"), Stock(frozenset("abcdx")))
    assert take(choice, ["x", "d", "d", "nowhere"]) == ("b", "d", "a")


names = some.frozensets(some.sampled_from("abcdefgh"))


@given(
    healthy=names,
    in_use=names,
    lent=names,
    number=some.integers(1, 8),
    preferred=some.lists(some.text("abcxyz", max_size=1)),
)
def test_a_choice_is_exact_healthy_and_nobody_elses(
    healthy: frozenset[str], in_use: frozenset[str], lent: frozenset[str], number: int, preferred: list[str]
) -> None:
    lent &= in_use
    try:
        choice = choose(Need("c", TOY, number, False), (), lent, in_use, Stock(healthy))
    except Unavailable:
        assert len(healthy - in_use) + len(healthy & lent) < number
        return
    taken = take(choice, preferred)
    assert len(taken) == len(set(taken)) == number
    assert set(taken) <= healthy - (in_use - lent)
