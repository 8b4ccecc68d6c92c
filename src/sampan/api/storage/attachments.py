"""Volumes that are attached to a node before it can use them: names, and what objects say of them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from sampan.api.reading import part, parts, text, texts
from sampan.api.types import Obj

_SHARED_MODES: Final = frozenset({"ReadOnlyMany", "ReadWriteMany"})
_PREFIX: Final = "kubernetes.io/csi/"


def attachment_name(handle: str, driver: str, node: str) -> str:
    """Of the VolumeAttachment."""
    return "csi-" + hashlib.sha256(f"{handle}{driver}{node}".encode()).hexdigest()


def unique_name(driver: str, handle: str) -> str:
    """As Node status names a volume."""
    return f"{_PREFIX}{driver}^{handle}"


def volume_of(attachment: Obj) -> str:
    """The PersistentVolume; "": it is for another sort of volume."""
    return text(part(part(attachment, "spec"), "source"), "persistentVolumeName")


def node_of(attachment: Obj) -> str:
    return text(part(attachment, "spec"), "nodeName")


def is_attached(attachment: Obj) -> bool:
    return part(attachment, "status").get("attached") is True


def attach_error(attachment: Obj) -> str:
    return text(part(part(attachment, "status"), "attachError"), "message")


def is_shared(volume: Obj) -> bool:
    """Whether a PersistentVolume may be at several nodes."""
    return bool(_SHARED_MODES.intersection(texts(part(volume, "spec"), "accessModes")))


def in_use(node: Obj) -> Iterator[str]:
    """What a node says is not to be taken off it."""
    return texts(part(node, "status"), "volumesInUse")


def attached_to(node: Obj) -> list[Obj]:
    """What the controller says is attached to it."""
    return list(parts(part(node, "status"), "volumesAttached"))
