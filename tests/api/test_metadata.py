"""Metadata: what the server fills in, what it refuses, what it keeps."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api import metadata
from sampan.api.kind import Kind
from sampan.api.registry import registry

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def kind_of(group: str, plural: str) -> Kind:
    kind = registry().by_resource(group, "v1", plural)
    assert kind is not None
    return kind


CONFIG_MAP = kind_of("", "configmaps")


def faults(meta: dict[str, Any], kind: Kind = CONFIG_MAP) -> list[tuple[str, str]]:
    found = metadata.validate_create({"metadata": {"namespace": "n", "name": "a", **meta}}, kind)
    return [(fault.field, fault.reason) for fault in found]


@pytest.mark.parametrize(
    ("meta", "field", "reason"),
    [
        ({"name": ""}, "metadata.name", "FieldValueRequired"),
        ({"name": "ABC"}, "metadata.name", "FieldValueInvalid"),
        ({"name": "a/b"}, "metadata.name", "FieldValueInvalid"),
        ({"name": ".."}, "metadata.name", "FieldValueInvalid"),
        ({"name": "a" * 254}, "metadata.name", "FieldValueInvalid"),
        ({"namespace": ""}, "metadata.namespace", "FieldValueRequired"),
        ({"labels": {"a": "x" * 64}}, "metadata.labels", "FieldValueInvalid"),
        ({"labels": {"a b": "x"}}, "metadata.labels", "FieldValueInvalid"),
        ({"annotations": {"a": "x" * 262145}}, "metadata.annotations", "FieldValueTooLong"),
        ({"finalizers": ["a b"]}, "metadata.finalizers", "FieldValueInvalid"),
        ({"finalizers": ["mine"]}, "metadata.finalizers[0]", "FieldValueInvalid"),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": ""}]},
            "metadata.ownerReferences.uid",
            "FieldValueInvalid",
        ),
        (
            {
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Pod", "name": n, "uid": n, "controller": True} for n in "ab"
                ]
            },
            "metadata.ownerReferences",
            "FieldValueInvalid",
        ),
    ],
)
def test_bad_metadata_is_refused(meta: dict[str, Any], field: str, reason: str) -> None:
    assert (field, reason) in faults(meta)


def test_the_missing_name_and_the_regular_expression_are_spelled_out() -> None:
    missing = metadata.validate_create({"metadata": {"namespace": "n"}}, CONFIG_MAP)
    assert missing[0].detail == "Required value: name or generateName is required"
    wrong = metadata.validate_create({"metadata": {"namespace": "n", "name": "ABC"}}, CONFIG_MAP)
    assert "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?" in wrong[0].detail


def test_roles_may_have_names_with_colons() -> None:
    assert faults({"name": "system:x"}, kind_of("rbac.authorization.k8s.io", "roles")) == []
    assert faults({"name": "system:x"}) != []


def test_a_generated_name_is_cut_to_58_characters_and_has_five_more() -> None:
    name = metadata.generate_name("a" * 70, random.Random(1))
    assert len(name) == 63
    assert set(name[58:]) <= set(metadata.SAFE_CHARACTERS)


def test_create_fills_and_wipes() -> None:
    obj = {
        "metadata": {
            "generateName": "web-", "deletionTimestamp": "x", "generation": 7, "labels": {},
        }
    }  # fmt: skip
    metadata.prepare_metadata_create(obj, kind_of("apps", "deployments"), now=NOW, uid="u", random=random.Random(1))
    meta = obj["metadata"]
    assert meta["uid"] == "u"
    assert meta["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert meta["generation"] == 1
    assert str(meta["name"]).startswith("web-")
    assert not {"deletionTimestamp", "labels"} & meta.keys()


def _update(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    before, after = {"metadata": {"name": "a", "uid": "1", **old}}, {"metadata": {"name": "a", **new}}
    metadata.prepare_metadata_update(after, before)
    return [fault.message() for fault in metadata.validate_update(after, before, CONFIG_MAP)]


def test_an_update_may_leave_out_what_it_may_not_change() -> None:
    assert _update({"creationTimestamp": "t"}, {}) == []
    assert _update({}, {"uid": "2"}) == ['metadata.uid: Invalid value: "2": field is immutable']


def test_no_finalizer_is_added_while_an_object_is_deleted() -> None:
    old = {"deletionTimestamp": "t", "finalizers": ["x/a"]}
    assert _update(old, {"finalizers": []}) == []
    (message,) = _update(old, {"finalizers": ["x/a", "x/b"]})
    assert message == (
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
        'found new finalizers []string{"x/b"}'
    )


def test_the_same_owner_twice_is_dropped_with_a_warning() -> None:
    owner = {"uid": "u"}
    obj = {"metadata": {"ownerReferences": [owner, dict(owner)]}}
    assert "duplicate UID(s) observed: u" in (metadata.drop_duplicate_owners(obj) or "")
    assert obj["metadata"]["ownerReferences"] == [owner]


def test_generation_counts_changes_of_anything_but_metadata_and_status() -> None:
    old = {"metadata": {"generation": 3}, "spec": {"a": 1}, "status": {}}
    assert metadata.next_generation({**old, "status": {"b": 1}}, old) == 3
    assert metadata.next_generation({**old, "spec": {"a": 2}}, old) == 4
