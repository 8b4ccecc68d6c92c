"""Warnings about definitions and custom resources."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.customresources import warnings


def definition(schema: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}, {}]}}


@pytest.mark.parametrize("known", ["date-time", "ipv4", "int32", "double", "k8s-short-name", ""])
def test_a_format_that_is_checked_warns_of_nothing(known: str) -> None:
    assert warnings.of_definition(definition({"properties": {"a": {"format": known}}}), None) == []


def test_a_format_that_nobody_checks_is_told_once_and_not_again() -> None:
    odd = {"items": {"anyOf": [{"format": "odd"}, {"additionalProperties": {"format": "odd"}}]}}
    assert warnings.of_definition(definition(odd), None) == ['unrecognized format "odd"']
    assert warnings.of_definition(definition(odd), definition(odd)) == []


def test_a_new_finalizer_without_a_path_is_told() -> None:
    obj = {"metadata": {"finalizers": ["a.example.com", "a.example.com/b", "foregroundDeletion"]}}
    assert warnings.of_object(obj, None) == [
        'metadata.finalizers: "a.example.com": prefer a domain-qualified finalizer name including a path (/) to avoid '
        "accidental conflicts with other finalizer writers"
    ]
    assert warnings.of_object(obj, obj) == []
