"""What a volume is to be made of: a snapshot or another claim's volume, if they can be used for it. Pure."""

from __future__ import annotations

from typing import Any, Final

from sampan.api import objects
from sampan.api.reading import part, text
from sampan.api.storage import claims, snapshots, volumes
from sampan.api.types import Obj
from sampan.csi.pb import csi_pb2 as csi
from sampan.sidecars.claims import Refused

#: of a claim whose volume is being copied
CLONING: Final = "provisioner.storage.kubernetes.io/cloning-protection"


def of(claim: Obj) -> Obj | None:
    """The reference; None: the volume begins empty."""
    spec = part(claim, "spec")
    return part(spec, "dataSource") or part(spec, "dataSourceRef") or None


def is_snapshot(source: Obj) -> bool:
    return text(source, "kind") == "VolumeSnapshot" and text(source, "apiGroup") == snapshots.GROUP


def is_claim(source: Obj) -> bool:
    return text(source, "kind") == "PersistentVolumeClaim" and not text(source, "apiGroup")


def is_of_a_populator(source: Obj) -> bool:
    """It is of a kind that no provisioner knows, so somebody else makes a volume of it. By the kind alone, as
    upstream."""
    return text(source, "kind") not in ("VolumeSnapshot", "PersistentVolumeClaim")


def check_place(source: Obj, claim: Obj) -> None:
    """Raises Refused: data of another namespace is nobody's to take."""
    if text(source, "namespace") not in ("", objects.namespace(claim)):
        raise Refused(
            f"accessing {text(source, 'namespace')}/{text(source, 'name')} of {text(source, 'kind')} dataSource from "
            f"{objects.namespace(claim)}/{objects.name(claim)} isn't allowed"
        )


def from_snapshot(claim: Obj, snapshot: Obj | None, content: Obj | None, name: str, driver: str) -> Any:
    """A VolumeContentSource. Raises Refused."""
    if snapshot is None:
        missing = f'volumesnapshots.snapshot.storage.k8s.io "{name}" not found'
        raise Refused(f"error getting snapshot {name} from api server: {missing}")
    if objects.is_deleting(snapshot):
        raise Refused(f"snapshot {name} is currently being deleted")
    bound = snapshots.bound_content(snapshot)
    if not bound:
        raise Refused(f"snapshot {name} not bound")
    if content is None:
        raise Refused(f"snapshot {name} not bound: its content {bound} is not there")
    if not snapshots.names(content, snapshot):
        raise Refused(f"snapshotContent {bound} for snapshot {name} is bound to a different snapshot")
    if text(part(content, "spec"), "driver") != driver:
        raise Refused(
            f"snapshot {name} is of driver {text(part(content, 'spec'), 'driver')}, the volume is made by {driver}"
        )
    if not snapshots.is_ready(snapshot):
        raise Refused(f"snapshot {name} is not Ready")
    mode = text(part(content, "spec"), "sourceVolumeMode")
    may_change = claims.annotation(content, snapshots.MODE_MAY_CHANGE) == "true"
    if mode and mode != claims.volume_mode(claim) and not may_change:
        raise Refused(
            f"requested volume {objects.namespace(claim)}/{objects.name(claim)} modifies the mode of the source volume "
            f"but does not have permission to do so. {snapshots.MODE_MAY_CHANGE} annotation is not present on "
            f"snapshotcontent {objects.name(content)}"
        )
    size, asked = claims.bytes_of(part(snapshot, "status").get("restoreSize")), claims.requested_bytes(claim)
    if asked < size:
        raise Refused(f"requested volume size {asked} is less than the size {size} for the source snapshot {name}")
    handle = snapshots.handle(content)
    if not handle:
        raise Refused(f"snapshot handle is not available for snapshot {name}")
    return csi.VolumeContentSource(snapshot=csi.VolumeContentSource.SnapshotSource(snapshot_id=handle))


def from_claim(claim: Obj, source: Obj | None, volume: Obj | None, name: str, driver: str) -> Any:
    """A VolumeContentSource. Raises Refused."""
    where = objects.namespace(claim)
    if source is None:
        missing = f'persistentvolumeclaims "{name}" not found'
        raise Refused(f'error getting PVC {name} (namespace "{where}") from api server: {missing}')
    if objects.is_deleting(source):
        raise Refused(f"the PVC DataSource {name} is currently being deleted")
    if claims.phase(source) != "Bound":
        raise Refused(
            f"the PVC DataSource {name} must have a status of Bound.  Got {claims.phase(source) or 'Pending'}"
        )
    if volume is None:
        raise Refused(f"error getting volume {claims.volume_name(source)} for PVC {where}/{name}: not found")
    made_by = text(part(part(volume, "spec"), "csi"), "driver")
    if made_by != driver:
        raise Refused(f"the source volume {objects.name(volume)} is of driver {made_by or 'none'}, not of {driver}")
    if not volumes.is_for(volume, source):
        raise Refused("claim in dataSource not bound or invalid")
    if claims.volume_mode(source) != claims.volume_mode(claim):
        raise Refused("the source PVC and destination PVCs must have the same volume mode for cloning.")
    size, asked = volumes.capacity_bytes(volume), claims.requested_bytes(claim)
    if asked < size:
        raise Refused(
            "error, new PVC request must be greater than or equal in size to the specified PVC data source, "
            f"requested {asked} but source is {size}"
        )
    handle = text(part(part(volume, "spec"), "csi"), "volumeHandle")
    return csi.VolumeContentSource(volume=csi.VolumeContentSource.VolumeSource(volume_id=handle))
