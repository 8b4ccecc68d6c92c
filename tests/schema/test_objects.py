"""Helpers on objects."""

import pytest

from sampan.api import objects

POD = {
    "metadata": {
        "name": "a",
        "namespace": "n",
        "uid": "u",
        "ownerReferences": [{"uid": "x"}, {"uid": "y", "controller": True}],
    }
}


def test_a_deep_copy_shares_nothing():
    original = {"a": [{"b": 1}], "c": {"d": []}}
    copied = objects.deep_copy(original)
    copied["a"][0]["b"] = 2
    copied["c"]["d"].append(1)
    assert original == {"a": [{"b": 1}], "c": {"d": []}}


def test_paths():
    obj = {}
    objects.set_path(obj, "a", "b", "c", value=1)
    assert obj == {"a": {"b": {"c": 1}}}
    assert objects.get_path(obj, "a", "b", "c") == 1
    assert objects.get_path(obj, "a", "x", "c", default=5) == 5
    assert objects.get_path(obj, "a", "b", "c", "d") is None


def test_metadata():
    assert objects.controller_of(POD) == {"uid": "y", "controller": True}
    assert objects.is_controlled_by(POD, {"metadata": {"uid": "y"}})
    assert objects.controller_of({}) is None
    assert objects.labels({"metadata": {"labels": None}}) == {}


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ({"a": None}, {}, True),
        ({"a": []}, {"a": {}}, True),
        ({"a": [1, {"b": 2, "c": 3}]}, {"a": [1, {"c": 3, "b": 2}]}, True),
        ({"a": ""}, {}, False),
        ({"a": 1}, {"a": True}, False),
        ([1, 2], [2, 1], False),
        ({"a": 1}, [1], False),
    ],
)
def test_equal_semantics(left, right, equal):
    assert objects.equal_semantics(left, right) is equal
