"""StorageVersionMigration (storagemigration.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import ANY, GONE, SUBDOMAIN, Cause, Invalid, KindCases, Row, Update, invalid, required
from kind_texts import IMMUTABLE

_SPEC = {"resource": {"group": "apps", "resource": "deployments"}}
_T = "2026-11-21T12:00:00Z"
_C = "status.conditions"


def _said(*kinds: str, status: str = "True") -> dict[str, object]:
    made = [{"type": kind, "status": status, "reason": "R", "lastTransitionTime": _T, "message": ""} for kind in kinds]
    return {_C: made}


def _listed(*kinds: str, status: str = "True") -> str:
    shown = [
        f'{{"type":"{kind}","status":"{status}","lastTransitionTime":"{_T}","reason":"R","message":""}}'
        for kind in kinds
    ]
    return f"[{','.join(shown)}]"


CASES = KindCases(
    api_version="storagemigration.k8s.io/v1",
    kind="StorageVersionMigration",
    plural="storageversionmigrations",
    namespaced=False,
    minimal={"metadata": {"name": "a"}, "spec": {"resource": {"resource": "pods"}}},
    minimal_stored={"spec": {"resource": {"group": "", "resource": "pods"}}, "status": {}},
    full={"metadata": {"name": "a"}, "spec": _SPEC, "status": {"resourceVersion": "1"}},
    full_stored={"spec": _SPEC, "status": {}},
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
        Invalid(
            "no resource", {"spec.resource.resource": ""}, [required("spec.resource.resource", "resource is required")]
        ),
        Invalid("nothing", {"spec": GONE}, [required("spec.resource.resource", "resource is required")]),
    ],
    few_rules="a migration names a resource, and nothing else",
    updates=[
        Update("another group", {"spec.resource.group": "batch"}, [invalid("group", '"batch"', IMMUTABLE)]),
        Update("another resource", {"spec.resource.resource": "jobs"}, [invalid("resource", '"jobs"', IMMUTABLE)]),
        Update("under way", {**_said("Running"), "status.resourceVersion": "12"}, allowed=True, through="status"),
        Update(
            "from a revision that is none",
            {"status.resourceVersion": "x"},
            [
                invalid(
                    "status.resourceVersion",
                    '"x"',
                    'failed to parse resource version "x": strconv.ParseInt: parsing "x": invalid syntax',
                )
            ],
            through="status",
        ),
        Update(
            "from another revision",
            {"status.resourceVersion": "13"},
            [invalid("status.resourceVersion", '"13"', IMMUTABLE)],
            before={"status.resourceVersion": "12"},
            through="status",
        ),
        Update(
            "ended in both ways, and still under way",
            _said("Succeeded", "Failed", "Running"),
            [
                Cause(
                    "FieldValueInvalid",
                    _C,
                    f"Invalid value: {_listed('Succeeded', 'Failed', 'Running')}: {text}",
                )
                for text in (
                    "Both success and failed conditions cannot be true at the same time",
                    "Running condition cannot be true when success condition is true",
                    "Running condition cannot be true when failed condition is true",
                )
            ],
            through="status",
        ),
        Update(
            "succeeded no more",
            _said("Succeeded", status="False"),
            [
                invalid(
                    _C, _listed("Succeeded", status="False"), "Success condition cannot be set to false once it is true"
                )
            ],
            before=_said("Succeeded"),
            through="status",
        ),
        Update(
            "for no reason",
            {_C: [{"type": "Running", "status": "True", "lastTransitionTime": _T, "reason": "", "message": ""}]},
            [required(f"{_C}[0].reason", "must be set")],
            through="status",
        ),
    ],
    rows=[
        Row("asked", {}, ["a", "pods", "Pending"]),
        Row("of a group", {}, ["a", "deployments.apps", "Pending"], on="full"),
        Row("under way", _said("Running"), ["a", "pods", "Running"]),
        Row("done", _said("Succeeded"), ["a", "pods", "Succeeded"]),
        Row("failed", _said("Failed"), ["a", ANY, "Failed"]),
    ],
)
