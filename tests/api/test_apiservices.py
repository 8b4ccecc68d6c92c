"""APIService: what upstream's validation says of it (kube-aggregator apiregistration/validation), to the message."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api.registry import registry

KIND = registry().by_gvk("apiregistration.k8s.io", "v1", "APIService")
SERVICE = {"namespace": "n", "name": "s", "port": 443}
BUNDLE = base64.b64encode(b"pem").decode()


def found(name: str = "v1.g.io", **spec: Any) -> list[tuple[str, str]]:
    assert KIND is not None
    base = {"group": "g.io", "version": "v1", "groupPriorityMinimum": 10, "versionPriority": 10}
    obj = {"metadata": {"name": name}, "spec": {**base, **spec}}
    return [(error.field, error.detail) for error in KIND.validate(obj)]


def test_good_ones_pass() -> None:
    assert found() == []
    assert found("v1.", group="") == []
    assert found(service=SERVICE, caBundle=BUNDLE) == []
    assert found(service=SERVICE, insecureSkipTLSVerify=True) == []
    assert found(groupPriorityMinimum=20000, versionPriority=1000) == []


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        (
            {"name": "a"},
            "metadata.name",
            'Invalid value: "a": must be `spec.version+"."+spec.group`: "v1.g.io"',
        ),
        (
            {"name": "v2.", "group": "", "version": "v2"},
            "spec.group",
            "Required value: only v1 may have an empty group and it better be legacy kube",
        ),
        (
            {"groupPriorityMinimum": 0},
            "spec.groupPriorityMinimum",
            "Invalid value: 0: must be positive and less than 20000",
        ),
        (
            {"groupPriorityMinimum": 20001},
            "spec.groupPriorityMinimum",
            "Invalid value: 20001: must be positive and less than 20000",
        ),
        ({"versionPriority": 1001}, "spec.versionPriority", "Invalid value: 1001: must be positive and less than 1000"),
        ({"caBundle": BUNDLE}, "spec.caBundle", 'Invalid value: "3 bytes": local APIServices may not have a caBundle'),
        (
            {"insecureSkipTLSVerify": True},
            "spec.insecureSkipTLSVerify",
            "Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
        ),
        ({"service": {"name": "s"}}, "spec.service.namespace", "Required value"),
        ({"service": {"namespace": "n"}}, "spec.service.name", "Required value"),
        (
            {"service": SERVICE, "insecureSkipTLSVerify": True, "caBundle": BUNDLE},
            "spec.insecureSkipTLSVerify",
            "Invalid value: true: may not be true if caBundle is present",
        ),
    ],
)
def test_a_fault_is_named_as_upstream_names_it(change: dict[str, Any], field: str, message: str) -> None:
    assert found(**change) == [(field, message)]


def test_names_are_checked_as_dns() -> None:
    assert [field for field, _ in found("v1.G_", group="G_")] == ["spec.group"]
    assert [field for field, _ in found("1.g.io", version="1")] == ["spec.version"]


def test_a_conditions_status_is_one_of_three() -> None:
    assert KIND is not None
    new = {"status": {"conditions": [{"type": "Available", "status": "Perhaps"}]}}
    (error,) = KIND.validate_status(new, {})
    assert error.field == "status.conditions[0].status"
    assert error.detail == 'Unsupported value: "Perhaps": supported values: "True", "False", "Unknown"'


@pytest.mark.parametrize(
    ("spec", "conditions", "cells"),
    [
        ({}, [{"type": "Available", "status": "True", "reason": "Local"}], ("Local", "True")),
        (
            {"service": SERVICE},
            [{"type": "Available", "status": "False", "reason": "MissingEndpoints"}],
            ("n/s", "False (MissingEndpoints)"),
        ),
        ({"service": SERVICE}, [], ("n/s", "Unknown")),
    ],
)
def test_columns_say_where_and_whether(spec: Any, conditions: Any, cells: tuple[str, str]) -> None:
    assert KIND is not None
    assert KIND.row is not None
    row = KIND.row(
        {"metadata": {"name": "x"}, "spec": spec, "status": {"conditions": conditions}},
        datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert tuple(row[1:3]) == cells
