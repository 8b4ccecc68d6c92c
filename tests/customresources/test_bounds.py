"""What is told of an object, and what its definition's patterns take, is bounded whatever schema and object say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.customresources.judging import definition, told

from sampan.api.customresources import bounds, compile_version, patterns, reviews


def _faults(spec: dict[str, Any], value: Any) -> list[Any]:
    found = compile_version(definition({"type": "object", "properties": {"spec": spec}}), "v1")
    obj = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "a"}, "spec": value}
    return found.validate(obj)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}}, list(range(5000)) * 2),
        ({"type": "array", "items": {"type": "object", "x-kubernetes-embedded-resource": True}}, [{}] * 5000),
        ({"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "false"}]}}, [1] * 5000),
    ],
    ids=["a set", "embedded resources", "rules"],
)
def test_an_object_with_thousands_of_faults_is_told_the_first_of_them(spec: dict[str, Any], value: Any) -> None:
    assert len(_faults(spec, value)) == bounds.MOST_FAULTS


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({"type": "string", "allOf": [{"pattern": f"^x{n}$"} for n in range(200)]}, "a" * 1_000_000),
        ({"additionalProperties": {"type": "array", "items": {"type": "string"}}}, {"k" * 500_000: [1] * 900}),
        (
            {"additionalProperties": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}}},
            {"k" * 500_000: list(range(450)) * 2},
        ),
    ],
    ids=["a long value", "a long key", "a long key of sets"],
)
def test_a_schema_cannot_repeat_a_long_value_in_faults_without_end(spec: dict[str, Any], value: Any) -> None:
    kind = {"type": "object", "x-kubernetes-preserve-unknown-fields": True} if "type" not in spec else {}
    found = _faults(kind | spec, value)
    assert found
    assert sum(map(bounds.length, found)) <= 5 * bounds.MOST_CHARACTERS


def test_patterns_that_take_long_to_compile_end_the_judging_of_their_definition() -> None:
    heavy = {f"a{n}": {"type": "string", "pattern": rf"\pL{{{n},100}}"} for n in range(8)}
    assert told(definition({"type": "object", "properties": heavy})) == [
        "spec.versions: Forbidden: the patterns of all schemas are too large together"
    ]


def test_a_pattern_of_any_letters_and_many_small_ones_are_fine() -> None:
    usual = [r"^[\p{L}\p{N}_-]{1,63}$", r"^.{1,1000}$", *(rf"^[a-z]{{0,{n}}}$" for n in range(1, 64))]
    assert not patterns.are_too_many(orjson.dumps([{"pattern": text} for text in usual]))


@pytest.mark.parametrize("kind", [{"a": [None, True]}, 7, "x" * 10_000])
def test_a_webhook_that_answers_nonsense_is_told_in_json_and_not_at_length(kind: Any) -> None:
    original = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {}}
    with pytest.raises(reviews.BadAnswer) as wrong:
        reviews.accept(original, {"apiVersion": "example.com/v2", "kind": kind, "metadata": {}}, "example.com/v2")
    assert len(str(wrong.value)) < 2200
    assert "None" not in str(wrong.value)


def test_a_webhook_cannot_bring_an_object_that_nobody_can_write() -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    original = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {}}
    converted = {"apiVersion": "example.com/v2", "kind": "Boat", "metadata": {}, "spec": deep}
    with pytest.raises(reviews.BadAnswer):
        reviews.accept(original, converted, "example.com/v2")
