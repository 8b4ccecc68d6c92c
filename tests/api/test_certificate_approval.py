"""PUT and PATCH of a CertificateSigningRequest's /approval: all conditions, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.registry import registry

KIND = registry().by_resource("certificates.k8s.io", "v1", "certificatesigningrequests")
assert KIND is not None
STRATEGY = KIND.update_strategy("approval")
assert STRATEGY is not None


def condition(kind: str, status: str = "True") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": "Because"}


def request(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "c", "resourceVersion": "1"},
        "spec": {"request": "YQ=="},
        "status": {**status, **({"conditions": list(conditions)} if conditions else {})},
    }


def test_conditions_of_any_type_are_kept() -> None:
    given = request(condition("Approved"), condition("example.com/Seen", "Unknown"))
    merged = STRATEGY.merge(KIND, given, request())
    assert merged["status"]["conditions"] == given["status"]["conditions"]
    assert STRATEGY.validate(KIND, merged, request()) == []


def test_the_certificate_and_the_spec_are_not_the_approvers() -> None:
    given = {**request(condition("Approved"), certificate="Yg=="), "spec": {"request": "other"}}
    merged = STRATEGY.merge(KIND, given, request(certificate="YQ=="))
    assert merged["status"]["certificate"] == "YQ=="
    assert merged["spec"] == {"request": "YQ=="}


@pytest.mark.parametrize(
    ("conditions", "field", "why"),
    [
        ([condition("Approved"), condition("Denied")], "status.conditions", "mutually exclusive"),
        ([condition("Denied"), condition("Denied")], "status.conditions[1].type", "Duplicate value"),
        ([condition("Approved", "False")], "status.conditions[0].status", "Unsupported value"),
        ([condition("Other", "Perhaps")], "status.conditions[0].status", "Unsupported value"),
        ([condition("Other", "")], "status.conditions[0].status", "Required value"),
        ([condition("")], "status.conditions[0].type", "Required value"),
        ([], "status.conditions", 'updates may not remove a condition of type "Approved"'),
    ],
)
def test_conditions_are_checked(conditions: list[dict[str, Any]], field: str, why: str) -> None:
    old = request(condition("Approved")) if not conditions else request()
    (found,) = STRATEGY.validate(KIND, request(*conditions), old)
    assert found.field == field
    assert why in found.message()
