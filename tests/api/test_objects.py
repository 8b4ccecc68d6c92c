"""Copies of objects: what is shared with the original and what is the copy's own."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.objects import copy_of, deep_copy, same


def containers(value: Any) -> list[Any]:
    """All objects and lists in it, itself too."""
    if isinstance(value, dict):
        return [value, *(inner for item in value.values() for inner in containers(item))]
    if isinstance(value, list):
        return [value, *(inner for item in value for inner in containers(item))]
    return []


WHOLE = {
    "kind": "ConfigMap",
    "metadata": {
        "name": "a",
        "labels": {"a": "b"},
        "ownerReferences": [{"uid": "u", "controller": True}],
        "managedFields": [{"manager": "m", "fieldsV1": {"f:data": {}}}],
    },
    "data": {"a": None, "b": [1, [2, {"c": 1.5}]]},
    #: only the metadata's own are nobody's to change
    "managedFields": [{"a": 1}],
    "spec": {"metadata": {"managedFields": [{"b": 1}]}},
}


@pytest.mark.parametrize("obj", [WHOLE, {}, {"metadata": None}, {"metadata": ["a", {}]}, {"metadata": {"a": [{}]}}])
def test_a_copy_shares_nothing_but_the_managed_fields(obj: Any) -> None:
    meta = obj.get("metadata")
    shared = {id(one) for one in containers(meta["managedFields"])} if obj is WHOLE else set()
    copied = copy_of(obj)
    assert copied == obj
    both = {id(one) for one in containers(copied)} & {id(one) for one in containers(obj)}
    assert both == shared


def test_a_deep_copy_shares_nothing() -> None:
    copied = deep_copy(WHOLE)
    assert copied == WHOLE
    assert not {id(one) for one in containers(copied)} & {id(one) for one in containers(WHOLE)}


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), (1.0, True)])
@pytest.mark.parametrize(
    "where",
    [lambda value: value, lambda value: {"a": [{"b": value}]}, lambda value: [2**70, value]],
    ids=("itself", "below", "beside_much"),
)
def test_a_truth_is_no_number(where: Any, one: Any, other: Any) -> None:
    assert where(one) == where(other)
    assert not same(where(one), where(other))
    assert same(where(one), where(one))
    assert same(where(1), where(1.0))


def test_the_order_of_keys_is_no_difference() -> None:
    assert same({"a": 1, "b": [True, {}]}, {"b": [True, {}], "a": 1})
    assert not same({"a": 1}, {"a": 1, "b": None})
