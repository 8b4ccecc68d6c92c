"""What VolumeSnapshots, their contents and classes say (snapshot.storage.k8s.io, custom resources). Pure; never raises.

Shared by the snapshot controller, the snapshotter of a driver and whoever restores a volume from a snapshot.
"""

from __future__ import annotations

from typing import Final

from sampan.api import objects, quantity
from sampan.api.reading import flag, part, text, whole
from sampan.api.resources import Resource
from sampan.api.storage import claims
from sampan.api.types import Obj

GROUP: Final = "snapshot.storage.k8s.io"
VOLUME_SNAPSHOTS: Final = Resource(GROUP, "v1", "volumesnapshots", "VolumeSnapshot", True)
VOLUME_SNAPSHOT_CONTENTS: Final = Resource(GROUP, "v1", "volumesnapshotcontents", "VolumeSnapshotContent", False)
VOLUME_SNAPSHOT_CLASSES: Final = Resource(GROUP, "v1", "volumesnapshotclasses", "VolumeSnapshotClass", False)

_PREFIX: Final = "snapshot.storage.kubernetes.io"
#: finalizers: of a claim whose snapshot is being taken, of snapshots that are restored and bound, of contents
CLAIM_IS_SOURCE: Final = f"{_PREFIX}/pvc-as-source-protection"
IS_SOURCE: Final = f"{_PREFIX}/volumesnapshot-as-source-protection"
IS_BOUND: Final = f"{_PREFIX}/volumesnapshot-bound-protection"
CONTENT_IS_BOUND: Final = f"{_PREFIX}/volumesnapshotcontent-bound-protection"
#: annotations of a content: its snapshot is being deleted; the driver may be at work on it
BEING_DELETED: Final = f"{_PREFIX}/volumesnapshot-being-deleted"
BEING_CREATED: Final = f"{_PREFIX}/volumesnapshot-being-created"
SECRET_NAME: Final = f"{_PREFIX}/deletion-secret-name"
SECRET_NAMESPACE: Final = f"{_PREFIX}/deletion-secret-namespace"
#: annotation of a content: volumes of another mode may be made of it
MODE_MAY_CHANGE: Final = f"{_PREFIX}/allow-volume-mode-change"
_DEFAULT: Final = f"{_PREFIX}/is-default-class"


def is_ready(obj: Obj) -> bool:
    """Of a snapshot or a content."""
    return flag(part(obj, "status"), "readyToUse")


def source_claim(snapshot: Obj) -> str:
    return text(part(part(snapshot, "spec"), "source"), "persistentVolumeClaimName")


def source_content(snapshot: Obj) -> str:
    return text(part(part(snapshot, "spec"), "source"), "volumeSnapshotContentName")


def class_of(obj: Obj) -> str:
    """Of a snapshot or a content."""
    return text(part(obj, "spec"), "volumeSnapshotClassName")


def bound_content(snapshot: Obj) -> str:
    return text(part(snapshot, "status"), "boundVolumeSnapshotContentName")


def made_content(snapshot: Obj) -> str:
    """The name of the content that is made for a snapshot of a claim."""
    return f"snapcontent-{objects.uid(snapshot)}"


def content_name(snapshot: Obj) -> str:
    return bound_content(snapshot) or source_content(snapshot) or made_content(snapshot)


def is_default(snapshot_class: Obj) -> bool:
    return claims.annotation(snapshot_class, _DEFAULT) == "true"


def deletes(content: Obj) -> bool:
    """What lies on the storage system goes with it."""
    return text(part(content, "spec"), "deletionPolicy") == "Delete"


def reference(content: Obj) -> Obj:
    return part(part(content, "spec"), "volumeSnapshotRef")


def names(content: Obj, snapshot: Obj, *, unbound: bool = False) -> bool:
    """Whether the content refers to this very snapshot; ``unbound``: one kept for a snapshot of its name counts."""
    found = reference(content)
    if (text(found, "namespace"), text(found, "name")) != (objects.namespace(snapshot), objects.name(snapshot)):
        return False
    return text(found, "uid") == objects.uid(snapshot) or (unbound and not text(found, "uid"))


def volume_handle(content: Obj) -> str:
    """Of the volume that a snapshot is to be taken of."""
    return text(part(part(content, "spec"), "source"), "volumeHandle")


def given_handle(content: Obj) -> str:
    """Of a snapshot that was there before its content."""
    return text(part(part(content, "spec"), "source"), "snapshotHandle")


def handle(content: Obj) -> str:
    return text(part(content, "status"), "snapshotHandle") or given_handle(content)


def restore_bytes(content: Obj) -> int | None:
    return whole(part(content, "status"), "restoreSize")


def size_text(size_bytes: int) -> str:
    """As Go writes a quantity of the binary format."""
    return quantity.format_quantity(size_bytes, "BinarySI")
