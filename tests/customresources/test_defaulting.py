"""Defaults of custom resources."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.customresources import defaulting, parts
from sampan.api.errors import RequestEntityTooLarge

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer", "default": 3},
                "note": {"type": "string", "nullable": True, "default": "n"},
                "tags": {"type": "object", "additionalProperties": {"type": "string", "default": "none"}},
                "nested": {
                    "type": "object",
                    "default": {"b": {}},
                    "properties": {"b": {"type": "object", "properties": {"c": {"type": "integer", "default": 1}}}},
                },
                "items": {
                    "type": "array",
                    "items": {"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 1}}},
                },
                "template": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "properties": {
                        "metadata": {
                            "type": "object",
                            "properties": {"labels": {"type": "object", "default": {"a": "b"}}},
                        }
                    },
                },
            },
        }
    },
}


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({}, {}),
        ({"spec": {}}, {"size": 3, "note": "n", "nested": {"b": {"c": 1}}}),
        ({"spec": {"size": None, "note": None, "nested": {}}}, {"size": 3, "note": None, "nested": {}}),
        (
            {"spec": {"size": 5, "note": "", "nested": {"b": {"c": 2}}}},
            {"size": 5, "note": "", "nested": {"b": {"c": 2}}},
        ),
        (
            {
                "spec": {
                    "size": 1,
                    "note": "x",
                    "nested": {},
                    "items": [{}, None, {"n": 2}],
                    "tags": {"a": None, "b": "c"},
                }
            },
            {
                "size": 1,
                "note": "x",
                "nested": {},
                "items": [{"n": 1}, {"n": 1}, {"n": 2}],
                "tags": {"a": "none", "b": "c"},
            },
        ),
        (
            {"spec": {"size": 1, "note": "x", "nested": {}, "template": {"metadata": {}}}},
            {"size": 1, "note": "x", "nested": {}, "template": {"metadata": {"labels": {"a": "b"}}}},
        ),
    ],
)
def test_defaults_fill_what_is_missing_at_every_level(given: dict[str, Any], made: dict[str, Any]) -> None:
    """Custom Resource Definition, defaulting."""
    root = parts.root_of(SCHEMA)
    defaulting.apply(root, given)
    assert given.get("spec", {}) == made
    defaulting.apply(root, given)
    assert given.get("spec", {}) == made


def test_a_default_is_a_copy() -> None:
    root = parts.root_of(SCHEMA)
    first: dict[str, Any] = {"spec": {}}
    second: dict[str, Any] = {"spec": {}}
    defaulting.apply(root, first)
    first["spec"]["nested"]["b"]["c"] = 9
    defaulting.apply(root, second)
    assert second["spec"]["nested"] == {"b": {"c": 1}}


@pytest.mark.parametrize(
    ("field", "items"),
    [
        ({"type": "string", "default": "x" * 1000}, 100_000),
        ({"type": "object", "properties": {"c": {"type": "string", "default": "x"}}}, 3_000_000),
    ],
)
def test_what_defaults_add_to_one_object_is_bounded(field: dict[str, Any], items: int) -> None:
    schema = {"type": "array", "items": {"type": "object", "properties": {"a": field}}}
    value = [{}] * 2 + [{} for _ in range(min(items, 100_000))] + [{}] * max(0, items - 100_000)
    with pytest.raises(RequestEntityTooLarge):
        defaulting.apply(parts.root_of(schema), value)
