"""What is told of patches that cannot be read, do not apply, or make no object: the reference's words."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api import errors, patch, schema
from sampan.api.patch import restoring

MAP = schema.load().definition("io.k8s.api.core.v1.ConfigMap")
DOCUMENT = {"metadata": {"name": "a"}, "data": {"k": "v"}, "items": [1, 2]}
CHECKED = "error decoding patch: "


@pytest.mark.parametrize(
    ("content_type", "body", "checked", "unchecked"),
    [
        (
            patch.JSON_PATCH,
            b"{}",
            CHECKED + "json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        ),
        (
            patch.JSON_PATCH,
            b"[1]",
            CHECKED + "json: cannot unmarshal number into Go value of type handlers.jsonPatchOp",
            "json: cannot unmarshal number into Go value of type jsonpatch.Operation",
        ),
        (
            patch.MERGE_PATCH,
            b"[]",
            CHECKED + "json: cannot unmarshal array into Go value of type map[string]interface {}",
            "Invalid JSON Patch",
        ),
        (patch.MERGE_PATCH, b'{"a"', CHECKED + "unexpected end of JSON input", "Invalid JSON Patch"),
        (
            patch.STRATEGIC_MERGE_PATCH,
            b"'",
            r"invalid character '\'' looking for beginning of value",
            r"invalid character '\'' looking for beginning of value",
        ),
        (
            patch.STRATEGIC_MERGE_PATCH,
            b"[]",
            "json: cannot unmarshal array into Go value of type map[string]interface {}",
            "json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
    ],
)
def test_what_is_no_patch_is_told_by_the_decoder_that_validates_fields_or_the_other(
    content_type: str, body: bytes, checked: str, unchecked: str
) -> None:
    for told, validates in ((checked, True), (unchecked, False)):
        with pytest.raises(errors.BadRequest) as caught:
            patch.parse_patch(body, content_type, checked=validates)
        assert str(caught.value) == told


def test_a_member_of_an_operation_is_text() -> None:
    with pytest.raises(errors.BadRequest) as caught:
        patch.parse_patch(b'[{"op":"add","path":5}]', patch.JSON_PATCH)
    words = "json: cannot unmarshal number into Go struct field jsonPatchOp.path of type string"
    assert str(caught.value) == CHECKED + words


def test_fields_of_patches_that_mean_nothing_are_told() -> None:
    _, problems = patch.parse_patch(b'[{"op":"add","op":"add","path":"/x","what":1}]', patch.JSON_PATCH)
    assert problems == ['json patch duplicate field "[0].op"', 'json patch unknown field "[0].what"']
    assert patch.parse_patch(b'{"a":{"b":1,"b":2}}', patch.MERGE_PATCH) == (
        {"a": {"b": 2}},
        ['duplicate field "a.b"'],
    )


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ({"op": "add", "path": "/no/x", "value": 1},
         'add operation does not apply: doc is missing path: "/no/x": missing value'),
        ({"op": "add", "value": 1}, "add operation failed to decode path: missing value"),
        ({"op": "add", "path": "/items/7", "value": 1},
         "error in add for path: '/items/7': Unable to access invalid index: 7: invalid index referenced"),
        ({"op": "add", "path": "/items/x", "value": 1},
         "error in add for path: '/items/x': value was not a proper array index: 'x': "
         'strconv.Atoi: parsing "x": invalid syntax'),
        ({"op": "remove", "path": "/data/q"},
         "error in remove for path: '/data/q': Unable to remove nonexistent key: q: missing value"),
        ({"op": "remove", "path": "/items/" + "9" * 30},
         f"error in remove for path: '/items/{'9' * 30}': strconv.Atoi: parsing \"{'9' * 30}\": value out of range"),
        ({"op": "replace", "path": "/items/9", "value": 1},
         "replace operation does not apply: doc is missing key: /items/9: missing value"),
        ({"op": "replace", "path": "/no/x", "value": 1},
         "replace operation does not apply: doc is missing path: /no/x: missing value"),
        ({"op": "replace"}, "replace operation failed to decode path: operation missing path field: missing value"),
        ({"op": "move", "path": "/x"},
         "move operation failed to decode from: operation, missing from field: missing value"),
        ({"op": "move", "from": "/data/q", "path": "/x"},
         "error in move for path: 'q': Unable to remove nonexistent key: q: missing value"),
        ({"op": "copy", "from": "/no/x", "path": "/x"},
         "copy operation does not apply: doc is missing from path: /no/x: missing value"),
        ({"op": "copy", "from": "/items", "path": "/no/x"},
         "copy operation does not apply: doc is missing destination path: /no/x: missing value"),
        ({"op": "copy", "from": "/items", "path": "/items/9"},
         "error while adding value during copy: Unable to access invalid index: 9: invalid index referenced"),
        ({"op": "test", "path": "/data/k", "value": "w"}, "testing value /data/k failed: test failed"),
        ({"op": "test", "path": "/no/x", "value": "w"},
         "test operation does not apply: is missing path: /no/x: missing value"),
        ({"op": "test", "path": "/items/9", "value": 1},
         "error in test for path: '/items/9': Unable to access invalid index: 9: invalid index referenced"),
        ({"op": "fly", "path": "/x"}, "Unexpected kind: fly"),
        ({"path": "/x"}, "Unexpected kind: unknown"),
    ],
)  # fmt: skip
def test_what_does_not_apply_is_known_in_the_words_of_the_library(operation: Any, why: str) -> None:
    with pytest.raises(patch.DoesNotApply) as caught:
        patch.apply_patch(MAP, DOCUMENT, [operation], patch.JSON_PATCH)
    assert caught.value.why == why
    assert caught.value.message == "the server rejected our request due to an error in our request"


def test_copies_beyond_the_limit_are_told_with_their_size() -> None:
    copy = {"op": "copy", "from": "/a", "path": "/b"}
    with pytest.raises(patch.DoesNotApply) as caught:
        patch.apply_patch(MAP, {"a": "x" * 2_000_000}, [copy, copy], patch.JSON_PATCH)
    assert caught.value.why == (
        "Unable to complete the copy, the accumulated size increase of copy is 4000004, exceeding the limit 3145728"
    )


def test_a_path_of_a_megabyte_is_not_repeated_whole() -> None:
    with pytest.raises(patch.DoesNotApply) as caught:
        patch.apply_patch(MAP, DOCUMENT, [{"op": "remove", "path": "/" + "x" * 1_000_000}], patch.JSON_PATCH)
    assert len(caught.value.why) < 5000


@pytest.mark.parametrize(
    ("current", "change", "told"),
    [
        (
            {"spec": {"containers": [{"name": "a"}]}},
            {"spec": {"$setElementOrder/boxes": [{"name": "a"}]}},
            'unable to find api field in struct PodSpec for the json field "boxes"',
        ),
        (
            {"spec": {"containers": [{"name": "a"}]}},
            {"spec": {"$setElementOrder/containers": {"name": "a"}}},
            "expected a []interface {}, but received a map[string]interface {}",
        ),
        (
            {"spec": {"containers": [{"name": "a"}]}},
            {"spec": {"$setElementOrder/containers": None}},
            "expected a []interface {}, but received a %!s(<nil>)",
        ),
        (
            {"spec": {"containers": [{"name": "a"}]}},
            {"spec": {"containers": ["x"]}},
            "list element types are not identical: [[map[name:a]] [x]]",
        ),
    ],
)
def test_a_strategic_merge_that_fits_no_struct_is_told(current: Any, change: Any, told: str) -> None:
    pod = schema.load().definition("io.k8s.api.core.v1.Pod")
    with pytest.raises(errors.BadRequest) as caught:
        patch.apply_patch(pod, current, change, patch.STRATEGIC_MERGE_PATCH)
    assert caught.value.message == told


def test_a_strategic_merge_does_not_look_into_what_has_no_fields() -> None:
    revision = schema.load().definition("io.k8s.api.apps.v1.ControllerRevision")
    with pytest.raises(errors.BadRequest) as caught:
        patch.apply_patch(
            revision, {"data": {"spec": {"a": 1}}}, {"data": {"spec": {"b": 2}}}, patch.STRATEGIC_MERGE_PATCH
        )
    assert caught.value.message == 'unable to find api field in struct RawExtension for the json field "spec"'


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"replicas": "x"}, "unrecognized type: int32"),
        ({"replicas": 1.5}, "cannot convert float64 to int32"),
        ({"paused": "true"}, "unrecognized type: bool"),
        ({"selector": "x"}, "cannot restore struct from: string"),
        ({"selector": {"matchLabels": {"a": 1}}}, "cannot convert int64 to string"),
        ({"selector": {"matchLabels": []}}, "cannot restore map from slice"),
        ({"strategy": {"type": 1}}, "cannot convert int64 to v1.DeploymentStrategyType"),
        ({"template": {"spec": {"containers": {}}}}, "cannot restore slice from map"),
        ({"template": {"spec": {"nodeName": True}}}, "unrecognized type: string"),
        ({"replicas": None, "selector": {"matchLabels": {"a": "b"}}}, None),
    ],
)
def test_what_a_strategic_merge_makes_is_restored_in_the_words_of_the_converter(spec: Any, told: str | None) -> None:
    deployment = schema.load().definition("io.k8s.api.apps.v1.Deployment")
    assert restoring.fault(deployment, {"spec": spec}) == told


def test_types_that_read_json_themselves_tell_their_own_fault() -> None:
    pod = schema.load().definition("io.k8s.api.core.v1.Pod")
    limits = {"spec": {"containers": [{"resources": {"limits": {"cpu": "much"}}}]}}
    assert (restoring.fault(pod, limits) or "").startswith("quantities must match the regular expression")
    secret = schema.load().definition("io.k8s.api.core.v1.Secret")
    assert restoring.fault(secret, {"data": {"a": "%"}}) == (
        "error decoding from json: illegal base64 data at input byte 0"
    )
    assert restoring.fault(secret, {"data": {"a": 1}}) == "cannot restore slice from int64"
