"""DeviceClass (resource.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import GONE, SUBDOMAIN, Cause, Invalid, KindCases, Row, Update, invalid, required

_SELECTOR = {"cel": {"expression": "device.capacity['d.io'].memory.isGreaterThan(quantity('8Gi'))"}}
_CONFIG = {"opaque": {"driver": "d.io", "parameters": {"apiVersion": "d.io/v1", "kind": "Settings"}}}
_FULL = {"selectors": [_SELECTOR], "config": [_CONFIG], "extendedResourceName": "d.io/gpu"}
_EXTENDED = "must be a valid extended resource name"
_EXPRESSION = "spec.selectors[0].cel.expression"
_UNKNOWN = "compilation failed: ERROR: <input>:1:1: undeclared reference to 'devise' (in container '')\n | devise\n | ^"


def _too_long(path: str) -> Cause:
    return Cause("FieldValueTooLong", path, "Too long: may not be more than 10240 bytes")


def _too_many(path: str, count: int) -> Cause:
    return Cause("FieldValueTooMany", path, f"Too many: {count}: must have at most 32 items")


CASES = KindCases(
    api_version="resource.k8s.io/v1",
    kind="DeviceClass",
    plural="deviceclasses",
    namespaced=False,
    generation=True,
    minimal={"metadata": {"name": "gpu"}, "spec": {}},
    minimal_stored={"spec": {}},
    full={"metadata": {"name": "gpu"}, "spec": _FULL},
    full_stored={"spec": _FULL},
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "G"}, [invalid("metadata.name", '"G"', SUBDOMAIN)]),
        Invalid("a selector of nothing", {"spec.selectors.0": {}}, [required("spec.selectors[0].cel")]),
        Invalid(
            "a selector of an unknown name",
            {"spec.selectors.0.cel.expression": "devise"},
            [invalid(_EXPRESSION, '"devise"', _UNKNOWN)],
        ),
        Invalid(
            "a selector that may take long",
            {
                "spec.selectors.0.cel.expression": "device.attributes.all(a, device.attributes.all(b, "
                "device.attributes.all(c, device.attributes.all(d, device.attributes.all(e, a == b && c == d)))))"
            },
            [Cause("FieldValueForbidden", _EXPRESSION, "Forbidden: too complex, exceeds cost limit")],
        ),
        Invalid("too many selectors", {"spec.selectors": [_SELECTOR] * 33}, [_too_many("spec.selectors", 33)]),
        Invalid("too much configuration", {"spec.config": [_CONFIG] * 40}, [_too_many("spec.config", 40)]),
        Invalid("configuration of nothing", {"spec.config.0": {}}, [required("spec.config[0].opaque")]),
        Invalid(
            "parameters that are too long",
            {"spec.config.0.opaque.parameters": {"a": "x" * 10240}},
            [_too_long("spec.config[0].opaque.parameters")],
        ),
        Invalid(
            "a resource of Kubernetes' own",
            {"spec.extendedResourceName": "kubernetes.io/gpu"},
            [invalid("spec.extendedResourceName", '"kubernetes.io/gpu"', _EXTENDED)],
            together=True,
        ),
        Invalid(
            "a resource of no domain",
            {"spec.extendedResourceName": "gpu"},
            [invalid("spec.extendedResourceName", '"gpu"', _EXTENDED)],
            together=True,
        ),
        Invalid(
            "a resource that could not be asked for, and configuration of no driver",
            {"spec.extendedResourceName": "requests.d.io/gpu", "spec.config.0.opaque.driver": ""},
            [
                required("spec.config[0].opaque.driver"),
                invalid("spec.extendedResourceName", '"requests.d.io/gpu"', _EXTENDED),
            ],
            together=True,
        ),
    ],
    updates=[
        Update("other selectors", {"spec.selectors": GONE}, allowed=True),
        Update("configuration of nothing", {"spec.config.0": {}}, [required("spec.config[0].opaque")]),
    ],
    rows=[Row("a class", {}, ["gpu", "60m"])],
)
