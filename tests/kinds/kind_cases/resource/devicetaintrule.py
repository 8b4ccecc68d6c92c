"""DeviceTaintRule (resource.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import (
    GONE,
    LABEL,
    SUBDOMAIN,
    Cause,
    Invalid,
    KindCases,
    Row,
    Update,
    invalid,
    not_supported,
    required,
)
from kind_texts import LABEL_VALUE, QUALIFIED

_T = "2026-11-21T11:30:00Z"
_MINIMAL = {"taint": {"key": "d.io/broken", "effect": "NoExecute", "timeAdded": _T}}
_FULL = {
    "deviceSelector": {"driver": "d.io", "pool": "n/a", "device": "g-0"},
    "taint": {"key": "d.io/broken", "value": "yes", "effect": "NoSchedule", "timeAdded": _T},
}
_EFFECTS = ("NoExecute", "NoSchedule", "None")


def _conditions(count: int) -> list[dict[str, str]]:
    return [{"type": f"C{i}", "status": "True", "reason": "R", "lastTransitionTime": _T} for i in range(count)]


CASES = KindCases(
    api_version="resource.k8s.io/v1",
    kind="DeviceTaintRule",
    plural="devicetaintrules",
    namespaced=False,
    generation=True,
    minimal={"metadata": {"name": "a"}, "spec": _MINIMAL},
    minimal_stored={"spec": _MINIMAL, "status": {}},
    full={"metadata": {"name": "a"}, "spec": _FULL},
    full_stored={"spec": _FULL, "status": {}},
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
        Invalid(
            "no key",
            {"spec.taint.key": ""},
            [
                invalid("spec.taint.key", '""', "name part must be non-empty"),
                invalid("spec.taint.key", '""', f"name part {QUALIFIED}"),
            ],
        ),
        Invalid(
            "a value with a space", {"spec.taint.value": "a b"}, [invalid("spec.taint.value", '"a b"', LABEL_VALUE)]
        ),
        Invalid("no effect", {"spec.taint.effect": ""}, [required("spec.taint.effect")]),
        Invalid(
            "an unknown effect",
            {"spec.taint.effect": "Maybe"},
            [not_supported("spec.taint.effect", '"Maybe"', *_EFFECTS)],
        ),
        Invalid(
            "a driver with a space",
            {"spec.deviceSelector.driver": "a b"},
            [invalid("spec.deviceSelector.driver", '"a b"', SUBDOMAIN)],
        ),
        Invalid("no pool", {"spec.deviceSelector.pool": ""}, [required("spec.deviceSelector.pool")]),
        Invalid(
            "a device with a dot",
            {"spec.deviceSelector.device": "g.0"},
            [invalid("spec.deviceSelector.device", '"g.0"', "must not contain dots")],
        ),
        Invalid(
            "a device of capitals, tainted by nothing",
            {"spec.deviceSelector.device": "G", "spec.taint.effect": GONE},
            [invalid("spec.deviceSelector.device", '"G"', LABEL), required("spec.taint.effect")],
        ),
    ],
    few_rules="no two fields of a rule depend on each other",
    updates=[
        Update("another effect", {"spec.taint.effect": "None"}, allowed=True),
        Update(
            "an unknown effect",
            {"spec.taint.effect": "Maybe"},
            [not_supported("spec.taint.effect", '"Maybe"', *_EFFECTS)],
        ),
        Update("told how far it is", {"status.conditions": _conditions(8)}, allowed=True, through="status"),
        Update(
            "told too much",
            {"status.conditions": _conditions(9)},
            [Cause("FieldValueTooMany", "status.conditions", "Too many: 9: must have at most 8 items")],
            through="status",
        ),
    ],
    rows=[
        Row("without value", {}, ["a", "d.io/broken", "", "NoExecute", "30m", "60m"]),
        Row("all", {}, ["a", "d.io/broken", "yes", "NoSchedule", "30m", "60m"], on="full"),
        Row("at no time", {"spec.taint.timeAdded": GONE}, ["a", "d.io/broken", "", "NoExecute", "", "60m"]),
    ],
)
