"""ResourceClaim (resource.k8s.io/v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import (
    GONE,
    LABEL,
    SUBDOMAIN,
    Cause,
    Invalid,
    KindCases,
    Row,
    Update,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from kind_texts import IMMUTABLE, LABEL_VALUE

_R = "spec.devices.requests"
_NAMED = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
_ONE = "exactly one of `exactly` or `firstAvailable` is required"
_EXACTLY: dict[str, Any] = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}
_MINIMAL = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}
_SELECTOR = {"cel": {"expression": "device.driver == 'd.io' && device.attributes['d.io'].model == 'x'"}}
_FULL: dict[str, Any] = {
    "devices": {
        "requests": [
            {
                "name": "all",
                "exactly": {
                    "deviceClassName": "gpu",
                    "allocationMode": "All",
                    "selectors": [_SELECTOR],
                    "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}],
                },
            },
            {
                "name": "either",
                "firstAvailable": [
                    {"name": "big", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2},
                    {"name": "small", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1},
                ],
            },
        ],
        "constraints": [{"requests": ["all", "either"], "matchAttribute": "d.io/numa"}],
        "config": [{"requests": ["either/big"], "opaque": {"driver": "d.io", "parameters": {"a": 1}}}],
    }
}
_RESULT = {"request": "r", "driver": "d.io", "pool": "p", "device": "g-0"}
_ALLOCATED = {"devices": {"results": [_RESULT]}}


def _allocated(**result: Any) -> dict[str, Any]:
    changed = {key: value for key, value in {**_RESULT, **result}.items() if value is not None}
    return {"status.allocation": {"devices": {"results": [changed]}}}


def _too_many(path: str, count: int, most: int) -> Cause:
    return Cause("FieldValueTooMany", path, f"Too many: {count}: must have at most {most} items")


CASES = KindCases(
    api_version="resource.k8s.io/v1",
    kind="ResourceClaim",
    plural="resourceclaims",
    minimal={"metadata": {"name": "a"}, "spec": _MINIMAL},
    minimal_stored={"spec": {"devices": {"requests": [{"name": "r", "exactly": _EXACTLY}]}}, "status": {}},
    full={"metadata": {"name": "a"}, "spec": _FULL, "status": {"reservedFor": []}},
    full_stored={"spec": _FULL, "status": {}},
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
        Invalid(
            "a request with capitals",
            {f"{_R}.0.name": "R"},
            [invalid(f"{_R}[0].name", '"R"', LABEL)],
            on="minimal",
        ),
        Invalid("a request for nothing", {f"{_R}.0.exactly": GONE}, [required(f"{_R}[0]", _ONE)], on="minimal"),
        Invalid(
            "a request for two things",
            {f"{_R}.0.firstAvailable": [{"name": "s", "deviceClassName": "gpu"}]},
            [invalid(f"{_R}[0]", "null", f"{_ONE}, but multiple fields are set")],
            together=True,
            on="minimal",
        ),
        Invalid(
            "a request twice",
            {f"{_R}.+": {"name": "r", "exactly": {"deviceClassName": "gpu"}}},
            [duplicate(f"{_R}[1]", '"r"')],
            together=True,
            on="minimal",
        ),
        Invalid(
            "no class",
            {f"{_R}.0.exactly.deviceClassName": ""},
            [required(f"{_R}[0].exactly.deviceClassName")],
            on="minimal",
        ),
        Invalid(
            "all, and a number of them",
            {f"{_R}.0.exactly.count": 2},
            [invalid(f"{_R}[0].exactly.count", "2", "must not be specified when allocationMode is 'All'")],
            together=True,
        ),
        Invalid(
            "fewer than none",
            {f"{_R}.0.exactly.count": -1},
            [invalid(f"{_R}[0].exactly.count", "-1", "must be greater than zero")],
            together=True,
            on="minimal",
        ),
        Invalid(
            "an unknown mode",
            {f"{_R}.0.exactly.allocationMode": "Some"},
            [not_supported(f"{_R}[0].exactly.allocationMode", '"Some"', "All", "ExactCount")],
            on="minimal",
        ),
        Invalid(
            "a selector of nothing",
            {f"{_R}.0.exactly.selectors.0.cel": GONE},
            [required(f"{_R}[0].exactly.selectors[0].cel")],
        ),
        Invalid(
            "a selector that is a number",
            {f"{_R}.0.exactly.selectors.0.cel.expression": "1"},
            [
                invalid(
                    f"{_R}[0].exactly.selectors[0].cel.expression",
                    '"1"',
                    "must evaluate to bool or the unknown type, not int",
                )
            ],
        ),
        Invalid(
            "a selector that is too long",
            {f"{_R}.0.exactly.selectors.0.cel.expression": "x" * 10241},
            [
                Cause(
                    "FieldValueTooLong",
                    f"{_R}[0].exactly.selectors[0].cel.expression",
                    "Too long: may not be more than 10240 bytes",
                )
            ],
        ),
        Invalid(
            "too many selectors",
            {f"{_R}.0.exactly.selectors": [_SELECTOR] * 33},
            [_too_many(f"{_R}[0].exactly.selectors", 33, 32)],
        ),
        Invalid(
            "tolerations that are none",
            {
                f"{_R}.0.exactly.tolerations": [
                    {"key": "k", "operator": "Exists", "value": "v"},
                    {"operator": "Like", "effect": "Sometimes"},
                    {"value": "a b"},
                ]
            },
            [
                invalid(f"{_R}[0].exactly.tolerations[0].value", '"v"', "must be empty for operator `Exists`"),
                not_supported(f"{_R}[0].exactly.tolerations[1].operator", '"Like"', "Equal", "Exists"),
                not_supported(
                    f"{_R}[0].exactly.tolerations[1].effect", '"Sometimes"', "NoExecute", "NoSchedule", "None"
                ),
                invalid(f"{_R}[0].exactly.tolerations[2].value", '"a b"', LABEL_VALUE),
            ],
            together=True,
        ),
        Invalid(
            "a constraint on requests that are not there",
            {"spec.devices.constraints.0.requests": ["none", "all/big", "either/small", "a/b/c"]},
            [
                invalid("spec.devices.constraints[0].requests[0]", '"none"', _NAMED),
                invalid("spec.devices.constraints[0].requests[1]", '"all/big"', _NAMED),
                invalid("spec.devices.constraints[0].requests[3]", '"a/b/c"', _NAMED),
            ],
            together=True,
        ),
        Invalid(
            "a constraint on an attribute of no domain",
            {"spec.devices.constraints.0.matchAttribute": "numa"},
            [
                invalid(
                    "spec.devices.constraints[0].matchAttribute",
                    '"numa"',
                    "a fully qualified name must be a domain and a name separated by a slash",
                )
            ],
        ),
        Invalid(
            "configuration of nothing",
            {"spec.devices.config.0.opaque": GONE},
            [required("spec.devices.config[0].opaque")],
        ),
        Invalid(
            "configuration that is no object, of no driver",
            {"spec.devices.config.0.opaque": {"driver": "My Driver", "parameters": None}},
            [
                invalid("spec.devices.config[0].opaque.driver", '"My Driver"', SUBDOMAIN),
                required("spec.devices.config[0].opaque.parameters"),
            ],
        ),
    ],
    updates=[
        Update(
            "another class",
            {f"{_R}.0.exactly.deviceClassName": "fpga"},
            [
                invalid(
                    "spec",
                    '{"Devices":{"Requests":[{"Name":"r","Exactly":{"DeviceClassName":"fpga","Selectors":null,'
                    '"AllocationMode":"ExactCount","Count":1,"AdminAccess":null,"Tolerations":null,"Capacity":null},'
                    '"FirstAvailable":null}],"Constraints":null,"Config":null}}',
                    IMMUTABLE,
                )
            ],
            on="minimal",
        ),
        Update("labels", {"metadata.labels": {"a": "b"}}, allowed=True),
        Update("allocated", _allocated(), allowed=True, through="status", on="minimal"),
        Update(
            "allocated for another request",
            _allocated(request="x", device="G", pool=""),
            [
                invalid("status.allocation.devices.results[0].request", '"x"', _NAMED),
                required("status.allocation.devices.results[0].pool"),
                invalid("status.allocation.devices.results[0].device", '"G"', LABEL),
            ],
            through="status",
            on="minimal",
        ),
        Update(
            "reserved before it is allocated",
            {"status.reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]},
            [forbidden("status.reservedFor", "may not be specified when `allocated` is not set")],
            through="status",
            on="minimal",
        ),
        Update(
            "reserved for nobody, twice",
            {
                **_allocated(),
                "status.reservedFor": [
                    {"resource": "pods", "name": "p", "uid": "u"},
                    {"resource": "pods", "name": "", "uid": "u"},
                ],
            },
            [required("status.reservedFor[1].name"), duplicate("status.reservedFor[1]", '"u"')],
            through="status",
            on="minimal",
        ),
        Update(
            "said of a device that is not its",
            {
                **_allocated(),
                "status.devices": [{"driver": "d.io", "pool": "p", "device": "g-1"}],
            },
            [invalid("status.devices[0]", '"d.io/p/g-1"', "must be an allocated device in the claim")],
            through="status",
            on="minimal",
        ),
        Update(
            "conditions to bind that contradict those that fail",
            _allocated(bindingConditions=["a"], bindingFailureConditions=["a"]),
            [
                invalid(
                    "status.allocation.devices.results[0].bindingFailureConditions[0]",
                    '"a"',
                    "bindingFailureConditions must not overlap with bindingConditions",
                )
            ],
            through="status",
            on="minimal",
        ),
    ],
    rows=[
        Row("asked", {}, ["a", "pending", "60m"]),
        Row("allocated", {"status.allocation": _ALLOCATED}, ["a", "allocated", "60m"]),
        Row(
            "in use",
            {"status": {"allocation": _ALLOCATED, "reservedFor": [{"name": "p"}]}},
            ["a", "allocated,reserved", "60m"],
        ),
        Row(
            "going",
            {"metadata.deletionTimestamp": "2026-11-21T11:30:00Z", "status.allocation": _ALLOCATED},
            ["a", "deleted,allocated", "60m"],
        ),
        Row(
            "going, and never allocated",
            {"metadata.deletionTimestamp": "2026-11-21T11:30:00Z"},
            ["a", "deleted", "60m"],
        ),
    ],
)
