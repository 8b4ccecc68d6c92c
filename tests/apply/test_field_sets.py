"""Field sets: their JSON form, its order, and algebra against Python's own sets of paths."""

from __future__ import annotations

import tracemalloc

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.apply import elements, sets
from sampan.api.apply.checking import check
from sampan.api.apply.interned import Interned
from sampan.api.apply.sets import Fields
from sampan.api.apply.shapes import DEDUCED

Paths = frozenset[tuple[str, ...]]

ELEMENTS = ("f:a", "f:b", 'k:{"n":1}', 'k:{"n":12}', 'v:"x"')
PATHS = st.frozensets(st.lists(st.sampled_from(ELEMENTS), min_size=1, max_size=3).map(tuple), max_size=8)


def from_paths(paths: Paths) -> Fields:
    found: Fields = {}
    for path in sorted(paths):
        found = sets.union(found, sets.at(path))
    return found


def to_paths(fields: Fields, prefix: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for element, below in fields.items():
        if element == ".":
            continue
        path = (*prefix, element)
        if not below or "." in below:
            found.add(path)
        found |= to_paths(below, path)
    return found


@given(PATHS, PATHS)
def test_the_algebra_is_that_of_sets_of_paths(left: Paths, right: Paths) -> None:
    a, b = from_paths(left), from_paths(right)
    assert to_paths(a) == left
    assert to_paths(sets.union(a, b)) == left | right
    assert to_paths(sets.difference(a, b)) == left - right
    assert to_paths(sets.intersection(a, b)) == left & right
    below = {path for path in left if any(path[:length] in right for length in range(1, len(path) + 1))}
    assert to_paths(sets.without(a, b)) == left - below
    assert sets.count(a) == len(left)


@given(PATHS, PATHS)
def test_no_operation_changes_its_arguments(left: Paths, right: Paths) -> None:
    a, b = from_paths(left), from_paths(right)
    before = orjson.dumps((a, b))
    for operation in (sets.union, sets.difference, sets.intersection, sets.without):
        operation(a, b)
    assert orjson.dumps((a, b)) == before


@given(PATHS)
def test_what_changes_nothing_gives_the_set_itself(left: Paths) -> None:
    a = from_paths(left)
    assert sets.union(a, a) is a
    assert sets.difference(a, sets.NONE) is a
    assert sets.difference(a, {"f:nobody": {}}) is a


@given(PATHS)
def test_a_set_reads_as_it_was_written_in_any_order(left: Paths) -> None:
    fields = sets.ordered(from_paths(left))
    shuffled = orjson.loads(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS))
    assert orjson.dumps(sets.ordered(sets.parse(shuffled))) == orjson.dumps(fields)


def test_elements_stand_in_upstreams_order() -> None:
    names = ['v:"b"', 'v:"a"', "v:10", "v:9", "f:b", ".", 'k:{"p":443}', 'k:{"p":80}', "f:a", "i:2"]
    found = list(sets.ordered({name: {} for name in names}))
    assert found == [".", "f:a", "f:b", 'k:{"p":80}', 'k:{"p":443}', "v:9", "v:10", 'v:"a"', 'v:"b"', "i:2"]


def test_a_sent_set_is_made_canonical() -> None:
    given_text = b'{"f:a":{".":{}},"k:{ \\"b\\": 1, \\"a\\": \\"x\\" }":{"f:c":{}},"z:later":{}}'
    assert sets.parse(orjson.loads(given_text)) == {"f:a": {}, 'k:{"a":"x","b":1}': {"f:c": {}}}


@pytest.mark.parametrize(
    "text", [b"[]", b'{"f:a":1}', b'{"k:nope":{}}', b'{"nocolon":{}}', b'{"i:x":{}}', b'{"k:1":{}}']
)
def test_what_is_no_set_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        sets.parse(orjson.loads(text))


def test_paths_are_told_members_first() -> None:
    fields = {"f:spec": {"f:c": {'k:{"name":"c"}': {"f:args": {}, ".": {}}}, "f:z": {}}, "f:s": {'v:"x"': {}}}
    assert list(sets.paths(fields)) == ['.s[="x"]', ".spec.z", '.spec.c[name="c"]', '.spec.c[name="c"].args']


def test_long_elements_that_anybody_sends_are_not_remembered() -> None:
    before = [memo.cache_info().currsize for memo in (elements._kept_canonical, elements._kept_rank)]
    long = ["f:" + "x" * 1000, 'v:"' + "x" * 1000 + '"', 'k:{"n":"' + "x" * 1000 + '"}']
    sets.ordered(sets.parse({text: {} for text in long}))
    assert [memo.cache_info().currsize for memo in (elements._kept_canonical, elements._kept_rank)] == before


def test_the_path_of_a_value_is_written_for_its_fault_alone() -> None:
    """Below long keys, each of many values would else be as long as all of them together."""
    deep: object = {f"a{number}": 1 for number in range(20)}
    for _ in range(100):
        deep = {"k" * 20_000: deep}
    tracemalloc.start()
    try:
        assert check(DEDUCED, deep) is None
        assert tracemalloc.get_traced_memory()[1] < 10_000_000  # all paths together are 100 MB
    finally:
        tracemalloc.stop()


def test_sets_that_differ_in_one_place_share_the_rest() -> None:
    def of_status(address: str) -> Fields:
        conditions = {'k:{"type":"Ready"}': {".": {}, "f:status": {}}}
        return {"f:status": {"f:conditions": conditions, "f:podIPs": {f'k:{{"ip":"{address}"}}': {"f:ip": {}}}}}

    shared = Interned()
    first, second, again = (shared.one(of_status(address)) for address in ("10.0.0.1", "10.0.0.2", "10.0.0.1"))
    assert first is again
    assert (first, second) == (of_status("10.0.0.1"), of_status("10.0.0.2"))
    assert first["f:status"]["f:conditions"] is second["f:status"]["f:conditions"]
