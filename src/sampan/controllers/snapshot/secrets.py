"""The Secret that a snapshot class names for its driver. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sampan.api import objects
from sampan.api.storage import secretrefs, snapshots
from sampan.api.storage.secretrefs import SecretRef
from sampan.api.types import Obj


def of_snapshotter(parameters: Mapping[str, str], snapshot: Obj) -> SecretRef | None:
    """None: the class names none. Raises ValueError."""
    allowed = {
        "volumesnapshotcontent.name": snapshots.made_content(snapshot),
        "volumesnapshot.namespace": objects.namespace(snapshot),
    }
    return secretrefs.resolve(
        parameters, "snapshotter", allowed, {**allowed, "volumesnapshot.name": objects.name(snapshot)}
    )
