"""StorageClass (storage.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import (
    GONE,
    SUBDOMAIN,
    Cause,
    Invalid,
    KindCases,
    Row,
    Update,
    Warned,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)  # fmt: skip
from kind_texts import IMMUTABLE, QUALIFIED

_TERMS = "allowedTopologies[0].matchLabelExpressions"
_ZONE = "topology.kubernetes.io/zone"


def _topologies(*expressions: tuple[str, list[str]]) -> list[object]:
    return [{"matchLabelExpressions": [{"key": key, "values": values} for key, values in expressions]}]


CASES = KindCases(
    api_version="storage.k8s.io/v1",
    kind="StorageClass",
    plural="storageclasses",
    namespaced=False,
    minimal={"metadata": {"name": "fast"}, "provisioner": "ex.io/disk"},
    minimal_stored={"provisioner": "ex.io/disk", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    full={
        "metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "Ex.io/Disk",
        "parameters": {"type": "ssd"},
        "reclaimPolicy": "Retain",
        "mountOptions": ["ro"],
        "allowVolumeExpansion": True,
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowedTopologies": _topologies((_ZONE, ["a", "b"])),
    },
    full_stored={
        "provisioner": "Ex.io/Disk",
        "parameters": {"type": "ssd"},
        "reclaimPolicy": "Retain",
        "mountOptions": ["ro"],
        "allowVolumeExpansion": True,
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowedTopologies": _topologies((_ZONE, ["a", "b"])),
    },
    invalid=[
        Invalid("no provisioner", {"provisioner": GONE}, [required("provisioner")]),
        Invalid(
            "a provisioner with a space",
            {"provisioner": "Ex.io/my disk"},
            [invalid("provisioner", '"ex.io/my disk"', f"name part {QUALIFIED}")],
        ),
        Invalid("a name with capitals", {"metadata.name": "Fast"}, [invalid("metadata.name", '"Fast"', SUBDOMAIN)]),
        Invalid(
            "a parameter without a name",
            {"parameters": {"": "x"}},
            [invalid("parameters", '""', "field can not be empty.")],
        ),
        Invalid(
            "parameters that are too long together",
            {"parameters": {"a": "x" * 200_000, "b": "y" * 70_000}},
            [Cause("FieldValueTooLong", "parameters", "Too long: may not be more than 262144 bytes")],
            together=True,
        ),
        Invalid(
            "too many parameters",
            {"parameters": {f"p{i}": "" for i in range(513)}},
            [Cause("FieldValueTooLong", "parameters", "Too long: may not be more than 512 bytes")],
        ),
        Invalid(
            "a policy of volumes of old",
            {"reclaimPolicy": "Recycle"},
            [not_supported("reclaimPolicy", '"Recycle"', "Delete", "Retain")],
        ),
        Invalid(
            "an unknown time to bind",
            {"volumeBindingMode": "Later"},
            [not_supported("volumeBindingMode", '"Later"', "Immediate", "WaitForFirstConsumer")],
        ),
        Invalid(
            "a topology without values",
            {"allowedTopologies": _topologies((_ZONE, []))},
            [required(f"{_TERMS}[0].values")],
        ),
        Invalid(
            "a zone twice",
            {"allowedTopologies": _topologies((_ZONE, ["a", "a"]))},
            [duplicate(f"{_TERMS}[0].values[1]", '"a"')],
            together=True,
        ),
        Invalid(
            "a label twice in a term",
            {"allowedTopologies": _topologies((_ZONE, ["a"]), (_ZONE, ["b"]))},
            [duplicate(f"{_TERMS}[1].key", f'"{_ZONE}"')],
            together=True,
        ),
        Invalid(
            "a term twice",
            {"allowedTopologies": _topologies((_ZONE, ["a", "b"])) + _topologies((_ZONE, ["b", "a"]))},
            [duplicate("allowedTopologies[1].matchLabelExpressions", '""')],
            together=True,
        ),
        Invalid(
            "a topology of no label",
            {"allowedTopologies": _topologies(("a b", ["x"]))},
            [invalid(f"{_TERMS}[0].key", '"a b"', f"name part {QUALIFIED}")],
        ),
    ],
    updates=[
        Update(
            "parameters", {"parameters.type": "hdd"}, [forbidden("parameters", "updates to parameters are forbidden.")]
        ),
        Update(
            "another provisioner",
            {"provisioner": "ex.io/other"},
            [forbidden("provisioner", "updates to provisioner are forbidden.")],
        ),
        Update(
            "another policy",
            {"reclaimPolicy": "Delete"},
            [forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden.")],
        ),
        Update(
            "another time to bind",
            {"volumeBindingMode": "Immediate"},
            [invalid("volumeBindingMode", '"Immediate"', IMMUTABLE)],
        ),
        Update(
            "all of it",
            {"parameters": {}, "provisioner": "ex.io/other", "reclaimPolicy": "Delete"},
            [
                forbidden("parameters", "updates to parameters are forbidden."),
                forbidden("provisioner", "updates to provisioner are forbidden."),
                forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden."),
            ],
        ),
        Update("mount options", {"mountOptions": ["noatime"]}, allowed=True),
        Update("topologies", {"allowedTopologies": GONE}, allowed=True),
        Update("whether volumes grow", {"allowVolumeExpansion": False}, allowed=True),
    ],
    rows=[
        Row("defaults", {}, ["fast", "ex.io/disk", "Delete", "Immediate", False, "60m"]),
        Row(
            "the default class",
            {"metadata.annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            ["fast (default)", "ex.io/disk", "Delete", "Immediate", False, "60m"],
        ),
        Row(
            "the default class of old",
            {"metadata.annotations": {"storageclass.beta.kubernetes.io/is-default-class": "true"}},
            ["fast (default)", "ex.io/disk", "Delete", "Immediate", False, "60m"],
        ),
        Row(
            "not the default",
            {"metadata.annotations": {"storageclass.kubernetes.io/is-default-class": "false"}},
            ["fast", "ex.io/disk", "Delete", "Immediate", False, "60m"],
        ),
        Row("all set", {}, ["fast (default)", "Ex.io/Disk", "Retain", "WaitForFirstConsumer", True, "60m"], on="full"),
    ],
    warned=[
        Warned(
            "labels of old",
            {"allowedTopologies": _topologies(("failure-domain.beta.kubernetes.io/zone", ["a"]))},
            [f'{_TERMS}[0].key: deprecated since v1.17; use "topology.kubernetes.io/zone" instead'],
        ),
        Warned("labels of today", {}, []),
    ],
)
