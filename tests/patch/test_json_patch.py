"""RFC 6902 with upstream's limits and codes."""

import copy

import pytest

from sampan.api import errors, patch, schema

NODE = schema.load().definition("io.k8s.api.core.v1.ConfigMap")
CURRENT = {"metadata": {"name": "a", "resourceVersion": "5"}, "data": {"k": "v", "a/b": "1"}, "items": [1, 2]}


def apply(operations):
    return patch.apply_patch(NODE, CURRENT, operations, patch.JSON_PATCH)


@pytest.mark.parametrize(
    ("operation", "path", "result"),
    [
        ({"op": "add", "path": "/data/n", "value": "x"}, ("data", "n"), "x"),
        ({"op": "replace", "path": "/data/a~1b", "value": "2"}, ("data", "a/b"), "2"),
        ({"op": "copy", "from": "/data/k", "path": "/data/l"}, ("data", "l"), "v"),
        ({"op": "move", "from": "/data/k", "path": "/data/l"}, ("data", "l"), "v"),
        ({"op": "add", "path": "/items/-", "value": 3}, ("items",), [1, 2, 3]),
        ({"op": "remove", "path": "/items/0"}, ("items",), [2]),
        ({"op": "add", "path": "/items/-1", "value": 3}, ("items",), [1, 2, 3]),
        ({"op": "add", "path": "/items/-3", "value": 3}, ("items",), [3, 1, 2]),
        ({"op": "remove", "path": "/items/-1"}, ("items",), [1]),
        ({"op": "replace", "path": "/items/-2", "value": 3}, ("items",), [3, 2]),
        ({"op": "copy", "from": "/items/-1", "path": "/items/+0"}, ("items",), [2, 1, 2]),
        ({"op": "test", "path": "/items/-1", "value": 2}, ("items",), [1, 2]),
        ({"op": "test", "path": "/data/none", "value": None}, ("items",), [1, 2]),
        ({"op": "replace", "path": "/data/n", "value": "x"}, ("data", "n"), "x"),
        ({"op": "replace", "path": "", "value": {"a": [1]}}, ("a",), [1]),
        ({"op": "add", "path": "/data/n"}, ("data", "n"), None),
        ({"op": "add", "path": "/data/~01~10", "value": "x"}, ("data", "~1/0"), "x"),
    ],
)
def test_operations(operation, path, result):
    before = copy.deepcopy(CURRENT)
    value = apply([operation])
    for key in path:
        value = value[key]
    assert value == result
    assert before == CURRENT


def test_operations_see_what_earlier_ones_did():
    done = apply([{"op": "add", "path": "/x", "value": {}}, {"op": "add", "path": "/x/y", "value": 1}])
    assert done["x"] == {"y": 1}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "4"},
        {"op": "test", "path": "/no", "value": 1},
        {"op": "remove", "path": "/no"},
        {"op": "replace", "path": "/no/where", "value": 1},
        {"op": "add", "path": "/no/where", "value": 1},
        {"op": "add", "path": "/items/9", "value": 1},
        {"op": "add", "path": "/items/x", "value": 1},
        {"op": "add", "path": "/data/k/x", "value": 1},
        {"op": "add", "path": "data", "value": 1},
        {"op": "add", "path": "", "value": {}},
        {"op": "add", "path": "/items/-4", "value": 1},
        {"op": "remove", "path": "/items/-3"},
        {"op": "test", "path": "/items/0", "value": True},
        {"op": "test", "path": "/items/0", "value": 1.0},
        {"op": "test", "path": "/items/2", "value": None},
        {"op": "add", "path": "/items/" + "1" * 5000, "value": 1},
        {"op": ["add"], "path": "/data/x"},
        {"op": "copy", "path": "/data/x"},
        {"op": "copy", "from": "/no/k", "path": "/data/x"},
        {"op": "move", "from": 5, "path": "/x"},
        {"op": "frob", "path": "/data"},
        {"op": "add", "value": 1},
        {"op": "replace", "path": "", "value": []},
    ],
)
def test_what_does_not_apply_is_invalid(operation):
    with pytest.raises(errors.Invalid, match="the server rejected our request due to an error in our request"):
        apply([operation])


@pytest.mark.parametrize("body", [b"{}", b"x", b'"a"', b"[1]", b"null"])
def test_what_is_no_patch_is_a_bad_request(body):
    with pytest.raises(errors.BadRequest):
        apply(body)


def test_too_many_operations_are_too_large():
    with pytest.raises(errors.RequestEntityTooLarge, match="10000, got 10001"):
        apply([{"op": "test", "path": "/data/k", "value": "v"}] * 10001)


def test_ten_thousand_operations_cost_their_paths_and_not_the_document():
    """The time limit of a test would not hold one copy of the document for each."""
    current = {"data": {str(n): "x" * 10 for n in range(50_000)}}
    operations = [{"op": "replace", "path": f"/data/{n}", "value": "y"} for n in range(10_000)]
    changed = patch.apply_patch(NODE, current, operations, patch.JSON_PATCH)
    assert changed["data"]["9999"] == "y"
    assert current["data"]["9999"] == "x" * 10


def test_a_result_that_is_nested_too_deep_is_refused():
    half = {}
    for _ in range(schema.MAX_DEPTH // 2):
        half = {"a": half}
    path = "/data" + "/a" * (schema.MAX_DEPTH // 2)
    operations = [{"op": "add", "path": "/data", "value": half}, {"op": "add", "path": path + "/a", "value": half}]
    with pytest.raises(errors.BadRequest, match="exceeded max depth"):
        apply(operations)


def test_long_patches_and_those_of_many_operations_are_heavy():
    operation = {"op": "test", "path": "/data/k", "value": "v"}
    assert not patch.is_heavy([operation], 100, 2000)
    assert not patch.is_heavy({"data": {}}, 2000, 2000)
    assert patch.is_heavy([operation] * 10_000, 500_000, 2000)
    assert patch.is_heavy([operation] * 1000, 50_000, 50_000)
    assert patch.is_heavy({"data": {}}, 1_000_000, 2000)


def test_copies_have_a_budget():
    operations = [{"op": "add", "path": "/x", "value": ["y" * 1000]}]
    operations += [{"op": "copy", "from": "/x", "path": "/x/0"}] * 13
    with pytest.raises(errors.Invalid):
        apply(operations)


def test_the_patch_is_not_shared_with_the_result():
    operation = {"op": "add", "path": "/x", "value": {"a": 1}}
    apply([operation])["x"]["a"] = 2
    assert operation["value"] == {"a": 1}


def test_patches_are_held_to_the_limits_of_bodies():
    with pytest.raises(errors.BadRequest, match="exceeded max depth"):
        patch.parse_patch(b'{"a":' * 300 + b"1" + b"}" * 300, patch.MERGE_PATCH)
    assert patch.parse_patch(rb'{"a":"\ud83d"}', patch.MERGE_PATCH)[0] == {"a": "\ufffd"}
