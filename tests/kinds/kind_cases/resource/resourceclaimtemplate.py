"""ResourceClaimTemplate (resource.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import (
    GONE,
    LABEL,
    SUBDOMAIN,
    Invalid,
    KindCases,
    Row,
    Update,
    duplicate,
    invalid,
    not_supported,
    required,
)
from kind_texts import IMMUTABLE, LABEL_VALUE, QUALIFIED

_R = "spec.spec.devices.requests"
_EXACTLY = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}
_ONE = "exactly one of `exactly` or `firstAvailable` is required"
_FULL = {
    "metadata": {"labels": {"a": "b"}, "annotations": {"ex.io/c": "d"}},
    "spec": {"devices": {"requests": [{"name": "r", "exactly": {**_EXACTLY, "count": 3}}]}},
}

CASES = KindCases(
    api_version="resource.k8s.io/v1",
    kind="ResourceClaimTemplate",
    plural="resourceclaimtemplates",
    minimal={
        "metadata": {"name": "a"},
        "spec": {"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}},
    },
    minimal_stored={"spec": {"metadata": {}, "spec": {"devices": {"requests": [{"name": "r", "exactly": _EXACTLY}]}}}},
    full={"metadata": {"name": "a"}, "spec": _FULL},
    full_stored={"spec": _FULL},
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
        Invalid(
            "labels that are none",
            {"spec.metadata.labels": {"a b": "c d"}},
            [
                invalid("spec.metadata.labels", '"a b"', f"name part {QUALIFIED}"),
                invalid("spec.metadata.labels", '"c d"', LABEL_VALUE),
            ],
        ),
        Invalid(
            "annotations that are none",
            {"spec.metadata.annotations": {"a b": ""}},
            [invalid("spec.metadata.annotations", '"a b"', f"name part {QUALIFIED}")],
        ),
        Invalid("a request with capitals", {f"{_R}.0.name": "R"}, [invalid(f"{_R}[0].name", '"R"', LABEL)]),
        Invalid("no class", {f"{_R}.0.exactly.deviceClassName": GONE}, [required(f"{_R}[0].exactly.deviceClassName")]),
        Invalid("a request for nothing", {f"{_R}.0.exactly": GONE}, [required(f"{_R}[0]", _ONE)]),
        Invalid(
            "a request for two things",
            {f"{_R}.0.firstAvailable": [{"name": "s", "deviceClassName": "gpu"}]},
            [invalid(f"{_R}[0]", "null", f"{_ONE}, but multiple fields are set")],
            together=True,
        ),
        Invalid(
            "an alternative twice, of which one is all of a number",
            {
                f"{_R}.0": {
                    "name": "r",
                    "firstAvailable": [
                        {"name": "s", "deviceClassName": "gpu"},
                        {"name": "s", "deviceClassName": "gpu", "allocationMode": "All", "count": 1},
                    ],
                }
            },
            [
                invalid(f"{_R}[0].firstAvailable[1].count", "1", "must not be specified when allocationMode is 'All'"),
                duplicate(f"{_R}[0].firstAvailable[1]", '"s"'),
            ],
            together=True,
        ),
        Invalid(
            "an unknown mode",
            {f"{_R}.0.exactly.allocationMode": "Some"},
            [not_supported(f"{_R}[0].exactly.allocationMode", '"Some"', "All", "ExactCount")],
        ),
        Invalid(
            "a constraint of nothing",
            {"spec.spec.devices.constraints": [{"requests": ["r"]}]},
            [
                required(
                    "spec.spec.devices.constraints[0]",
                    'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set',
                )
            ],
            together=True,
        ),
    ],
    updates=[
        Update(
            "another number",
            {f"{_R}.0.exactly.count": 4},
            [
                invalid(
                    "spec",
                    '{"labels":{"a":"b"},"annotations":{"ex.io/c":"d"},"Spec":{"Devices":{"Requests":[{"Name":"r",'
                    '"Exactly":{"DeviceClassName":"gpu","Selectors":null,"AllocationMode":"ExactCount","Count":4,'
                    '"AdminAccess":null,"Tolerations":null,"Capacity":null},"FirstAvailable":null}],'
                    '"Constraints":null,"Config":null}}}',
                    IMMUTABLE,
                )
            ],
        ),
        Update("labels", {"metadata.labels": {"a": "b"}}, allowed=True),
    ],
    rows=[Row("a template", {}, ["a", "60m"])],
)
