"""ResourceSlice (resource.k8s.io/v1)."""

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
from kind_texts import IMMUTABLE

_D = "spec.devices"
_ONE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_APART = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true "
    "in the ResourceSlice spec"
)
_VALUE = "exactly one value must be specified"
_ID = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters "
    "or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')"
)
_POOL = {"name": "n", "generation": 1, "resourceSliceCount": 1}
_MINIMAL: dict[str, Any] = {"driver": "d.io", "nodeName": "n", "pool": _POOL, "devices": [{"name": "g-0"}]}
_FULL: dict[str, Any] = {
    "driver": "d.io",
    "perDeviceNodeSelection": True,
    "pool": _POOL,
    "devices": [
        {
            "name": "g-0",
            "nodeName": "n",
            "attributes": {
                "model": {"string": "x"},
                "other.io/numa": {"int": 1},
                "fast": {"bool": True},
                "firmware": {"version": "1.2.3-rc.1+b"},
            },
            "capacity": {
                "memory": {
                    "value": "8Gi",
                    "requestPolicy": {"default": "1Gi", "validRange": {"min": "1Gi", "max": "8Gi", "step": "1Gi"}},
                }
            },
            "allowMultipleAllocations": True,
            "taints": [{"key": "d.io/old", "effect": "NoSchedule", "timeAdded": "2026-11-21T11:30:00Z"}],
            "consumesCounters": [{"counterSet": "board", "counters": {"slots": {"value": "1"}}}],
            "bindsToNode": True,
            "bindingConditions": ["d.io/ready"],
            "bindingFailureConditions": ["d.io/failed"],
        },
        {"name": "g-1", "allNodes": True},
    ],
}


def _too_many(path: str, count: int, most: int) -> Cause:
    return Cause("FieldValueTooMany", path, f"Too many: {count}: must have at most {most} items")


def _too_long(path: str, most: int) -> Cause:
    return Cause("FieldValueTooLong", path, f"Too long: may not be more than {most} bytes")


def _policy(**policy: Any) -> dict[str, Any]:
    return {f"{_D}.0.capacity.memory.requestPolicy": policy}


_M = f"{_D}[0].capacity[memory].requestPolicy"

CASES = KindCases(
    api_version="resource.k8s.io/v1",
    kind="ResourceSlice",
    plural="resourceslices",
    namespaced=False,
    generation=True,
    minimal={"metadata": {"name": "a"}, "spec": _MINIMAL},
    minimal_stored={"spec": _MINIMAL},
    full={"metadata": {"name": "a"}, "spec": _FULL},
    full_stored={"spec": _FULL},
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
        Invalid("no driver", {"spec.driver": ""}, [required("spec.driver")]),
        Invalid(
            "a pool that is none",
            {"spec.pool": {"name": "A/b", "resourceSliceCount": 0, "generation": -1}},
            [
                invalid("spec.pool.name", '"A"', SUBDOMAIN),
                invalid("spec.pool.resourceSliceCount", "0", "must be greater than zero"),
                invalid("spec.pool.generation", "-1", "must be greater than or equal to zero"),
            ],
        ),
        Invalid("nowhere", {"spec.nodeName": GONE}, [required("spec", _ONE)], together=True, on="minimal"),
        Invalid(
            "in two places",
            {"spec.allNodes": True},
            [invalid("spec", '"{`nodeName`, `allNodes`}"', f"{_ONE}, but multiple fields are set")],
            together=True,
            on="minimal",
        ),
        Invalid(
            "not on all nodes, and on a node without name",
            {"spec.allNodes": False, "spec.nodeName": ""},
            [
                invalid("spec.nodeName", '""', "must be either unset or set to a non-empty string"),
                invalid("spec.allNodes", "false", "must be either unset or set to true"),
                required("spec", _ONE),
            ],
            together=True,
            on="minimal",
        ),
        Invalid(
            "devices beside counters",
            {"spec.sharedCounters": [{"name": "board", "counters": {"slots": {"value": "1"}}}]},
            [invalid("spec", '""', "only one of `sharedCounters` or `devices` is allowed")],
            together=True,
            on="minimal",
        ),
        Invalid(
            "a device of a node in a slice of a node",
            {f"{_D}.0.nodeName": "n"},
            [
                invalid(
                    f"{_D}[0]",
                    "null",
                    "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to "
                    "true in the ResourceSlice spec",
                )
            ],
            together=True,
            on="minimal",
        ),
        Invalid("a device of no node", {f"{_D}.1.allNodes": GONE}, [required(f"{_D}[1]", _APART)], together=True),
        Invalid("a device twice", {f"{_D}.1.name": "g-0"}, [duplicate(f"{_D}[1]", '"g-0"')], together=True),
        Invalid("a device with capitals", {f"{_D}.0.name": "G"}, [invalid(f"{_D}[0].name", '"G"', LABEL)]),
        Invalid(
            "too many devices",
            {_D: [{"name": f"g-{i}"} for i in range(129)]},
            [_too_many(_D, 129, 128)],
            on="minimal",
        ),
        Invalid(
            "too many devices of which one is tainted",
            {_D: [{"name": "g", "taints": _FULL["devices"][0]["taints"]}, *({"name": f"g-{i}"} for i in range(64))]},
            [_too_many(_D, 65, 64)],
            together=True,
            on="minimal",
        ),
        Invalid(
            "attributes that are none",
            {
                f"{_D}.0.attributes": {
                    "my model": {"string": "x" * 65},
                    "/b": {"version": "1.2"},
                    "c": {},
                    "d": {"int": 1, "bool": True},
                }
            },
            [
                invalid(f"{_D}[0].attributes[my model]", '"my model"', _ID),
                _too_long(f"{_D}[0].attributes[my model].string", 64),
                invalid(f"{_D}[0].attributes[/b]", '""', "the domain must not be empty"),
                invalid(
                    f"{_D}[0].attributes[/b].version", '"1.2"', "must be a string compatible with semver.org spec 2.0.0"
                ),
                invalid(f"{_D}[0].attributes[c]", '""', _VALUE),
                invalid(
                    f"{_D}[0].attributes[d]",
                    '{"IntValue":1,"BoolValue":true,"StringValue":null,"VersionValue":null}',
                    _VALUE,
                ),
            ],
        ),
        Invalid(
            "too many attributes and capacities together",
            {
                f"{_D}.0": {
                    "name": "g",
                    "attributes": {f"a{i}": {"int": i} for i in range(20)},
                    "capacity": {f"c{i}": {"value": "1"} for i in range(13)},
                }
            },
            [invalid(f"{_D}[0]", "33", "the total number of attributes and capacities must not exceed 32")],
            together=True,
            on="minimal",
        ),
        Invalid(
            "shares of a device that nobody shares",
            {f"{_D}.0.allowMultipleAllocations": False},
            [forbidden(f"{_D}[0].capacity[memory].requestPolicy", "allowMultipleAllocations must be true")],
            together=True,
        ),
        Invalid(
            "shares of some sizes and of a range",
            _policy(default="1Gi", validValues=["1Gi"], validRange={"min": "1Gi"}),
            [
                forbidden(
                    _M,
                    'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same '
                    "time",
                )
            ],
            together=True,
        ),
        Invalid(
            "shares of sizes without a default",
            _policy(validValues=["1Gi"]),
            [required(f"{_M}.default", "required when validValues is defined")],
            together=True,
        ),
        Invalid(
            "sizes out of order, too large, and the default none of them",
            _policy(default="3Gi", validValues=["2Gi", "1Gi", "9Gi"]),
            [
                invalid(f"{_M}.validValues[1]", '"1Gi"', "values must be sorted in ascending order"),
                invalid(f"{_M}.validValues[2]", '"9Gi"', "option is larger than capacity value: 8Gi"),
                invalid(f"{_M}.validValues", '"3Gi"', "default value is not valid according to the requestPolicy"),
            ],
            together=True,
        ),
        Invalid(
            "a default below the range, off its steps",
            _policy(default="1Gi", validRange={"min": "2Gi", "max": "9Gi", "step": "2Gi"}),
            [
                invalid(f"{_M}.validRange.min", '"1Gi"', "default is less than min: 2Gi"),
                invalid(f"{_M}.validRange.max", '"9Gi"', "max is larger than capacity value: 8Gi"),
                invalid(f"{_M}.validRange.step", '"1Gi"', "value is not a multiple of a given step (2Gi) from (2Gi)"),
                invalid(f"{_M}.validRange.step", '"9Gi"', "value is not a multiple of a given step (2Gi) from (2Gi)"),
            ],
            together=True,
        ),
        Invalid(
            "a taint of no known effect",
            {f"{_D}.0.taints.0.effect": "Maybe"},
            [not_supported(f"{_D}[0].taints[0].effect", '"Maybe"', "NoExecute", "NoSchedule", "None")],
        ),
        Invalid(
            "consumes counters of no set, and none",
            {f"{_D}.0.consumesCounters": [{"counterSet": "", "counters": {}}]},
            [
                required(f"{_D}[0].consumesCounters[0].counterSet"),
                required(f"{_D}[0].consumesCounters[0].counters"),
            ],
        ),
        Invalid(
            "conditions to bind, and none by which it fails",
            {f"{_D}.0.bindingFailureConditions": GONE},
            [
                invalid(
                    f"{_D}[0].bindingFailureConditions",
                    "null",
                    "bindingFailureConditions are required to use bindingConditions",
                )
            ],
            together=True,
        ),
    ],
    updates=[
        Update("another driver", {"spec.driver": "e.io"}, [invalid("spec.driver", '"e.io"', IMMUTABLE)]),
        Update(
            "another pool and node",
            {"spec.pool.name": "m", "spec.nodeName": "m"},
            [invalid("spec.pool.name", '"m"', IMMUTABLE), invalid("spec.nodeName", '"m"', IMMUTABLE)],
            on="minimal",
        ),
        Update("a device less", {_D: [{"name": "g-1", "allNodes": True}]}, allowed=True),
        Update("the next generation", {"spec.pool.generation": 2}, allowed=True),
    ],
    rows=[
        Row("of a node", {}, ["a", "n", "d.io", "n", "60m"]),
        Row("of several", {}, ["a", "", "d.io", "n", "60m"], on="full"),
    ],
)
