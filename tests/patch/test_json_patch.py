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
        {"op": "add", "path": "/data/x"},
        {"op": "copy", "path": "/data/x"},
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


def test_copies_have_a_budget():
    operations = [{"op": "add", "path": "/x", "value": ["y" * 1000]}]
    operations += [{"op": "copy", "from": "/x", "path": "/x/0"}] * 13
    with pytest.raises(errors.Invalid):
        apply(operations)


def test_the_patch_is_not_shared_with_the_result():
    operation = {"op": "add", "path": "/x", "value": {"a": 1}}
    apply([operation])["x"]["a"] = 2
    assert operation["value"] == {"a": 1}
