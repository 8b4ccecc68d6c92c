"""The definitions of VolumeSnapshot, VolumeSnapshotContent and VolumeSnapshotClass (snapshot.storage.k8s.io/v1).

Structured as those of kubernetes-csi/external-snapshotter: fields, rules, columns, short names. Who installs upstream's
definitions over these changes nothing but the prose. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sampan.api.types import Obj

_GROUP: Final = "snapshot.storage.k8s.io"
_QUANTITY: Final = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
_TEXT: Final[Obj] = {"type": "string"}


def definitions() -> Iterator[Obj]:
    yield _definition(
        "VolumeSnapshot",
        ["vs"],
        [
            ("ReadyToUse", "boolean", ".status.readyToUse"),
            ("SourcePVC", "string", ".spec.source.persistentVolumeClaimName"),
            ("SourceSnapshotContent", "string", ".spec.source.volumeSnapshotContentName"),
            ("RestoreSize", "string", ".status.restoreSize"),
            ("SnapshotClass", "string", ".spec.volumeSnapshotClassName"),
            ("SnapshotContent", "string", ".status.boundVolumeSnapshotContentName"),
            ("CreationTime", "date", ".status.creationTime"),
        ],
        {"spec": _snapshot_spec(), "status": _snapshot_status()},
        ["spec"],
        "A snapshot of a volume that a user asks for, or a snapshot that is there already.",
        namespaced=True,
    )
    yield _definition(
        "VolumeSnapshotContent",
        ["vsc", "vscs"],
        [
            ("ReadyToUse", "boolean", ".status.readyToUse"),
            ("RestoreSize", "integer", ".status.restoreSize"),
            ("DeletionPolicy", "string", ".spec.deletionPolicy"),
            ("Driver", "string", ".spec.driver"),
            ("VolumeSnapshotClass", "string", ".spec.volumeSnapshotClassName"),
            ("VolumeSnapshot", "string", ".spec.volumeSnapshotRef.name"),
            ("VolumeSnapshotNamespace", "string", ".spec.volumeSnapshotRef.namespace"),
        ],
        {"spec": _content_spec(), "status": _content_status()},
        ["spec"],
        "A snapshot as it lies on a storage system.",
    )
    yield _definition(
        "VolumeSnapshotClass",
        ["vsclass", "vsclasses"],
        [("Driver", "string", ".driver"), ("DeletionPolicy", "string", ".deletionPolicy")],
        {
            "deletionPolicy": _deletion_policy(),
            "driver": {**_TEXT, "description": "The CSI driver that takes the snapshots."},
            "parameters": {
                "type": "object",
                "additionalProperties": _TEXT,
                "description": "What the driver is told when a snapshot is taken.",
            },
        },
        ["deletionPolicy", "driver"],
        "How snapshots are taken, and what becomes of them.",
    )


def _definition(
    kind: str,
    short_names: list[str],
    columns: list[tuple[str, str, str]],
    fields: Obj,
    required: list[str],
    description: str,
    *,
    namespaced: bool = False,
) -> Obj:
    plural = {"VolumeSnapshotClass": "volumesnapshotclasses"}.get(kind, f"{kind.lower()}s")
    schema: Obj = {
        "description": description,
        "properties": {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object"}, **fields},
        "required": required,
        "type": "object",
    }
    shown = [*columns, ("Age", "date", ".metadata.creationTimestamp")]
    version: Obj = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [{"name": name, "type": type_, "jsonPath": path} for name, type_, path in shown],
        "subresources": {"status": {}} if "status" in fields else {},
    }
    return {
        "metadata": {
            "name": f"{plural}.{_GROUP}",
            # the group is protected: the server asks where its kinds were approved
            "annotations": {
                "api-approved.kubernetes.io": "https://github.com/kubernetes-csi/external-snapshotter/pull/955"
            },
        },
        "spec": {
            "group": _GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "shortNames": short_names,
                "singular": kind.lower(),
            },
            "scope": "Namespaced" if namespaced else "Cluster",
            "versions": [version],
        },
    }


def _rules(*rules: tuple[str, str]) -> Obj:
    return {"x-kubernetes-validations": [{"message": message, "rule": rule} for message, rule in rules]}


def _fixed(message: str) -> Obj:
    return {**_TEXT, **_rules((message, "self == oldSelf"))}


def _kept(field: str) -> tuple[str, str]:
    return f"{field} is required once set", f"!has(oldSelf.{field}) || has(self.{field})"


def _one_of(first: str, second: str) -> tuple[str, str]:
    one, other = f"has(self.{first})", f"has(self.{second})"
    return f"exactly one of {first} and {second} must be set", f"({one} && !{other}) || (!{one} && {other})"


def _object(properties: Obj, *required: str, **more: Any) -> Obj:
    found: Obj = {"type": "object", "properties": properties, **more}
    return found | ({"required": list(required)} if required else {})


def _deletion_policy() -> Obj:
    words = "Whether what lies on the storage system goes with the snapshot (Delete) or stays (Retain)."
    return {**_TEXT, "enum": ["Delete", "Retain"], "description": words}


def _error() -> Obj:
    return _object({"message": _TEXT, "time": {**_TEXT, "format": "date-time"}})


def _snapshot_spec() -> Obj:
    source = _object(
        {
            "persistentVolumeClaimName": _fixed("persistentVolumeClaimName is immutable"),
            "volumeSnapshotContentName": _fixed("volumeSnapshotContentName is immutable"),
        },
        **_rules(
            _kept("persistentVolumeClaimName"),
            _kept("volumeSnapshotContentName"),
            _one_of("volumeSnapshotContentName", "persistentVolumeClaimName"),
        ),
    )
    named = _rules(("volumeSnapshotClassName must not be the empty string when set", "size(self) > 0"))
    return _object({"source": source, "volumeSnapshotClassName": {**_TEXT, **named}}, "source")


def _snapshot_status() -> Obj:
    size: Obj = {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": _QUANTITY,
        "x-kubernetes-int-or-string": True,
    }
    return _object(
        {
            "boundVolumeSnapshotContentName": _TEXT,
            "creationTime": {**_TEXT, "format": "date-time"},
            "error": _error(),
            "readyToUse": {"type": "boolean"},
            "restoreSize": size,
            "volumeGroupSnapshotName": _TEXT,
        }
    )


def _content_spec() -> Obj:
    source = _object(
        {
            "snapshotHandle": _fixed("snapshotHandle is immutable"),
            "volumeHandle": _fixed("volumeHandle is immutable"),
        },
        **_rules(_kept("volumeHandle"), _kept("snapshotHandle"), _one_of("volumeHandle", "snapshotHandle")),
    )
    reference = _object(
        dict.fromkeys(("apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid"), _TEXT),
        **{"x-kubernetes-map-type": "atomic"},
        **_rules(
            (
                "both spec.volumeSnapshotRef.name and spec.volumeSnapshotRef.namespace must be set",
                "has(self.name) && has(self.__namespace__)",
            )
        ),
    )
    return _object(
        {
            "deletionPolicy": _deletion_policy(),
            "driver": _TEXT,
            "source": source,
            "sourceVolumeMode": _fixed("sourceVolumeMode is immutable"),
            "volumeSnapshotClassName": _TEXT,
            "volumeSnapshotRef": reference,
        },
        *("deletionPolicy", "driver", "source", "volumeSnapshotRef"),
        **_rules(_kept("sourceVolumeMode")),
    )


def _content_status() -> Obj:
    whole: Obj = {"type": "integer", "format": "int64"}
    return _object(
        {
            "creationTime": whole,
            "error": _error(),
            "readyToUse": {"type": "boolean"},
            "restoreSize": {**whole, "minimum": 0},
            "snapshotHandle": _TEXT,
            "volumeGroupSnapshotHandle": _TEXT,
        }
    )
