"""What a snapshot and a content need, in upstream's order, reasons and words. Pure.

Binding goes both ways: the snapshot's status names the content, the content's reference names the snapshot by its UID.
Nothing is trusted that only one of them says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import Final

from sampan.api import objects
from sampan.api.clock import format_time
from sampan.api.reading import part, text, text_map, whole
from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS
from sampan.api.storage import claims, snapshots, volumes
from sampan.api.storage.snapshots import VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS
from sampan.api.types import Obj
from sampan.controllers.snapshot import secrets
from sampan.controllers.snapshot.step import NOTHING, Plan, Tell, Write, failed, with_annotation, with_finalizers
from sampan.records import dataclass

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TO_UPDATE: Final = "snapshot controller failed to update"


@dataclass(frozen=True, slots=True)
class OfSnapshot:
    """What there is around one snapshot. ``claim`` is its source, ``volume`` the one that the claim is bound to,
    ``content`` the one that has the name of its content, whomever it refers to."""

    snapshot: Obj
    now: datetime
    claim: Obj | None = None
    volume: Obj | None = None
    content: Obj | None = None
    classes: Sequence[Obj] = field(default=())
    #: another snapshot is being taken of the claim
    claim_is_used: bool = False
    #: a claim waits for a volume that is made of this snapshot
    is_restored: bool = False


class _Problem(Exception):
    """``reason``, and what a user reads."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def plan_snapshot(seen: OfSnapshot) -> Plan:
    snapshot = seen.snapshot
    if _frees_claim(seen):
        assert seen.claim is not None
        return with_finalizers(PERSISTENT_VOLUME_CLAIMS, seen.claim, drop=(snapshots.CLAIM_IS_SOURCE,))
    try:
        if objects.is_deleting(snapshot):
            return _delete(seen)
        if bool(snapshots.source_claim(snapshot)) == bool(snapshots.source_content(snapshot)):
            words = "Exactly one of PersistentVolumeClaimName and VolumeSnapshotContentName should be specified"
            raise _Problem("SnapshotValidationError", words)
        if snapshots.is_ready(snapshot) and snapshots.bound_content(snapshot):
            return _still_bound(seen)
        content = _content(seen)
        finalizers = [snapshots.IS_SOURCE]
        if content is not None and snapshots.deletes(content):
            finalizers.append(snapshots.IS_BOUND)
        if (plan := with_finalizers(VOLUME_SNAPSHOTS, snapshot, add=tuple(finalizers))) != NOTHING:
            return plan
        if content is None:
            return _make(seen)
        if not text(snapshots.reference(content), "uid"):
            return _bind(content, snapshot)
        return _follow(snapshot, content)
    except _Problem as problem:
        return failed(snapshot, problem.reason, str(problem), seen.now)


def _takes(snapshot: Obj, content: Obj | None) -> bool:
    """Whether its claim has to stay: the driver may be reading the volume."""
    return not snapshots.is_ready(snapshot) and not (objects.is_deleting(snapshot) and content is None)


def _frees_claim(seen: OfSnapshot) -> bool:
    if seen.claim is None or snapshots.CLAIM_IS_SOURCE not in objects.finalizers(seen.claim):
        return False
    return not seen.claim_is_used and not _takes(seen.snapshot, seen.content)


def is_using_claim(snapshot: Obj) -> bool:
    """A look from another snapshot of the same claim: this one is still to be taken."""
    return _takes(snapshot, None)


# -- deletion


def _delete(seen: OfSnapshot) -> Plan:
    snapshot = seen.snapshot
    if {snapshots.IS_SOURCE, snapshots.IS_BOUND}.isdisjoint(objects.finalizers(snapshot)):
        return NOTHING
    content = seen.content
    if content is not None and not snapshots.names(content, snapshot):
        content = None
    if content is not None and seen.is_restored:
        words = "Snapshot is being used to restore a PVC"
        return Plan(None, (Tell(snapshot, "Warning", "SnapshotDeletePending", words),))
    if content is not None:
        if (plan := with_annotation(VOLUME_SNAPSHOT_CONTENTS, content, snapshots.BEING_DELETED)) != NOTHING:
            return plan
        if snapshots.deletes(content) and not objects.is_deleting(content):
            return Plan(Write("delete", VOLUME_SNAPSHOT_CONTENTS, content))
    waits = content is not None and snapshots.deletes(content)
    dropped = (snapshots.IS_SOURCE,) if waits else (snapshots.IS_SOURCE, snapshots.IS_BOUND)
    return with_finalizers(VOLUME_SNAPSHOTS, snapshot, drop=dropped)


# -- binding


def _still_bound(seen: OfSnapshot) -> Plan:
    if seen.content is None:
        raise _Problem("SnapshotContentMissing", "VolumeSnapshotContent is missing")
    if not snapshots.names(seen.content, seen.snapshot):
        raise _Problem("SnapshotMisbound", "VolumeSnapshotContent is not bound to the VolumeSnapshot correctly")
    return NOTHING


def _content(seen: OfSnapshot) -> Obj | None:
    """The snapshot's content; None: it is to be made. Raises _Problem."""
    snapshot, content = seen.snapshot, seen.content
    was_there = bool(snapshots.source_content(snapshot))
    if content is None:
        if was_there or snapshots.bound_content(snapshot):
            raise _Problem("SnapshotContentMissing", "VolumeSnapshotContent is missing")
        return None
    name = objects.name(content)
    if was_there and not snapshots.given_handle(content):
        words = "VolumeSnapshotContent is dynamically provisioned while expecting a pre-provisioned one"
        raise _Problem("SnapshotContentMismatch", words)
    if not was_there and not snapshots.volume_handle(content):
        words = f"VolumeSnapshotContent {name} is pre-provisioned while expecting a dynamically provisioned one"
        raise _Problem("SnapshotContentMismatch", words)
    if not snapshots.names(content, snapshot, unbound=was_there):
        raise _Problem("SnapshotContentMisbound", f"VolumeSnapshotContent [{name}] is bound to a different snapshot")
    return content


def _bind(content: Obj, snapshot: Obj) -> Plan:
    """A content that was kept for the snapshot is its own from now on."""
    new: Obj = objects.copy_of(content)
    new["spec"]["volumeSnapshotRef"]["uid"] = objects.uid(snapshot)
    if name := snapshots.class_of(snapshot):
        new["spec"]["volumeSnapshotClassName"] = name
    return Plan(Write("update", VOLUME_SNAPSHOT_CONTENTS, new))


def _follow(snapshot: Obj, content: Obj) -> Plan:
    """The snapshot's status says what the driver has made of the content."""
    before, told = part(snapshot, "status"), part(content, "status")
    ready = snapshots.is_ready(content)
    status = {**before, "readyToUse": ready}
    status.setdefault("boundVolumeSnapshotContentName", objects.name(content))
    if (taken := whole(told, "creationTime")) is not None:
        status.setdefault("creationTime", _moment(taken))
    size = snapshots.restore_bytes(content)
    if size is not None and claims.bytes_of(before.get("restoreSize")) == 0:
        status["restoreSize"] = snapshots.size_text(size)
    error = part(told, "error")
    if error and not ready:
        status["error"] = error
    else:
        status.pop("error", None)
    if status == before:
        return NOTHING
    tells = []
    key = f"{objects.namespace(snapshot)}/{objects.name(snapshot)}"
    if "creationTime" in status and "creationTime" not in before:
        words = f"Snapshot {key} was successfully created by the CSI driver."
        tells.append(Tell(snapshot, "Normal", "SnapshotCreated", words))
    if ready and not snapshots.is_ready(snapshot):
        tells.append(Tell(snapshot, "Normal", "SnapshotReady", f"Snapshot {key} is ready to use."))
    new: Obj = objects.copy_of(snapshot)
    new["status"] = status
    return Plan(Write("status", VOLUME_SNAPSHOTS, new), tuple(tells))


def _moment(nanoseconds: int) -> str:
    try:
        return format_time(_EPOCH + timedelta(seconds=nanoseconds // 1_000_000_000))
    except OverflowError:
        return format_time(_EPOCH)


# -- making


def _make(seen: OfSnapshot) -> Plan:
    snapshot = seen.snapshot
    if not snapshots.class_of(snapshot):
        return _choose_class(seen)
    claim = seen.claim
    if claim is None:
        raise _not_made(f"{_TO_UPDATE} {objects.name(snapshot)} on API server: cannot get claim from snapshot")
    if objects.is_deleting(claim):
        words = "cannot add finalizer on claim because it is being deleted"
        raise _not_made(f"{_TO_UPDATE} {objects.name(claim)} on API server: {words}")
    if (plan := with_finalizers(PERSISTENT_VOLUME_CLAIMS, claim, add=(snapshots.CLAIM_IS_SOURCE,))) != NOTHING:
        return plan
    try:
        volume = _volume(seen)
        snapshot_class = _class(seen)
        secret = secrets.of_snapshotter(text_map(snapshot_class, "parameters"), snapshot)
    except ValueError as error:
        # Upstream shows the cause as Go quotes it.
        quoted = str(error).replace("\\", "\\\\").replace('"', '\\"')
        raise _not_made(
            f'failed to get input parameters to create snapshot {objects.name(snapshot)}: "{quoted}"'
        ) from None
    source = part(part(volume, "spec"), "csi")
    if not source:
        raise _not_made(f"cannot find CSI PersistentVolumeSource for volume {objects.name(volume)}")
    content: Obj = {
        "kind": "VolumeSnapshotContent",
        "apiVersion": VOLUME_SNAPSHOT_CONTENTS.api_version,
        "metadata": {"name": snapshots.made_content(snapshot), "finalizers": [snapshots.CONTENT_IS_BOUND]},
        "spec": {
            "deletionPolicy": text(snapshot_class, "deletionPolicy"),
            "driver": text(snapshot_class, "driver"),
            "source": {"volumeHandle": text(source, "volumeHandle")},
            "sourceVolumeMode": claims.volume_mode(volume),
            "volumeSnapshotClassName": objects.name(snapshot_class),
            "volumeSnapshotRef": {
                "kind": "VolumeSnapshot",
                "apiVersion": VOLUME_SNAPSHOTS.api_version,
                "namespace": objects.namespace(snapshot),
                "name": objects.name(snapshot),
                "uid": objects.uid(snapshot),
                "resourceVersion": objects.resource_version(snapshot),
            },
        },
    }
    if secret is not None:
        content["metadata"]["annotations"] = {
            snapshots.SECRET_NAME: secret.name,
            snapshots.SECRET_NAMESPACE: secret.namespace,
        }
    key = f"{objects.namespace(snapshot)}/{objects.name(snapshot)}"
    told = f"Waiting for a snapshot {key} to be created by the CSI driver."
    return Plan(
        Write("create", VOLUME_SNAPSHOT_CONTENTS, content), (Tell(snapshot, "Normal", "CreatingSnapshot", told),)
    )


def _not_made(why: str) -> _Problem:
    return _Problem("SnapshotContentCreationFailed", f"Failed to create snapshot content with error {why}")


def _volume(seen: OfSnapshot) -> Obj:
    """Raises ValueError."""
    assert seen.claim is not None
    name = objects.name(seen.claim)
    if claims.phase(seen.claim) != "Bound":
        raise ValueError(f"the PVC {name} is not yet bound to a PV, will not attempt to take a snapshot")
    if seen.volume is None:
        volume = claims.volume_name(seen.claim)
        missing = f'persistentvolumes "{volume}" not found'
        raise ValueError(f'failed to retrieve PV {volume} from the API server: "{missing}"')
    if not volumes.is_for(seen.volume, seen.claim):
        raise ValueError("claim in dataSource not bound or invalid")
    return seen.volume


def _class(seen: OfSnapshot) -> Obj:
    """Raises ValueError."""
    wanted = snapshots.class_of(seen.snapshot)
    found = next((each for each in seen.classes if objects.name(each) == wanted), None)
    if found is None:
        raise ValueError(f'volumesnapshotclass.snapshot.storage.k8s.io "{wanted}" not found')
    return found


def _choose_class(seen: OfSnapshot) -> Plan:
    """The default class of the driver that the claim's volume has."""
    try:
        if seen.claim is None:
            name = snapshots.source_claim(seen.snapshot)
            missing = f'persistentvolumeclaim "{name}" not found'
            raise ValueError(f'failed to retrieve PVC {name} from the lister: "{missing}"')
        volume = _volume(seen)
        driver = text(part(part(volume, "spec"), "csi"), "driver")
        if not driver:
            raise ValueError(f"snapshotting non-CSI volumes is not supported, snapshot:{_key(seen.snapshot)}")
        found = [each for each in seen.classes if snapshots.is_default(each) and text(each, "driver") == driver]
        if len(found) > 1:
            raise ValueError(f"{len(found)} default snapshot classes were found")
        if not found:
            raise ValueError("cannot find default snapshot class")
    except ValueError as error:
        words = f"Failed to set default snapshot class with error {error}"
        raise _Problem("SetDefaultSnapshotClassFailed", words) from None
    new: Obj = objects.copy_of(seen.snapshot)
    new["spec"]["volumeSnapshotClassName"] = objects.name(found[0])
    return Plan(Write("update", VOLUME_SNAPSHOTS, new))


def _key(obj: Obj) -> str:
    return f"{objects.namespace(obj)}/{objects.name(obj)}"


# -- contents


def plan_content(content: Obj, snapshot: Obj | None) -> Plan:
    """``snapshot``: the one of the name that the content refers to. A snapshot that is not there ends no content: who
    copies manifests of contents into another cluster must not lose data by it."""
    if bool(snapshots.volume_handle(content)) == bool(snapshots.given_handle(content)):
        words = "Exactly one of VolumeHandle and SnapshotHandle should be specified"
        return Plan(None, (Tell(content, "Warning", "ContentValidationError", words),))
    if not text(snapshots.reference(content), "uid"):
        return NOTHING
    if not objects.is_deleting(content):
        plan = with_finalizers(VOLUME_SNAPSHOT_CONTENTS, content, add=(snapshots.CONTENT_IS_BOUND,))
        if plan != NOTHING:
            return plan
    if snapshot is None or not objects.is_deleting(snapshot) or not snapshots.names(content, snapshot):
        return NOTHING
    if {snapshots.IS_SOURCE, snapshots.IS_BOUND}.isdisjoint(objects.finalizers(snapshot)):
        return NOTHING
    return with_annotation(VOLUME_SNAPSHOT_CONTENTS, content, snapshots.BEING_DELETED)
