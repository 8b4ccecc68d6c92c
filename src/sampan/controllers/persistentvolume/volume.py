"""What a volume needs next: its phase, its claim, and what becomes of it when the claim is gone. Pure (upstream
``syncVolume``)."""

from __future__ import annotations

import re
from datetime import datetime

from sampan.api import objects
from sampan.api.storage import claims, volumes
from sampan.api.types import Obj
from sampan.controllers.persistentvolume import recycling, step
from sampan.controllers.persistentvolume.step import NOTHING, Plan, warn
from sampan.records import dataclass

#: what upstream's deleter of hostPath volumes takes: directories of a test's machine
_DELETABLE = re.compile(r"^/tmp/.+")


@dataclass(frozen=True, slots=True)
class Observed:
    """``claim``: of the name that the volume's claimRef has. ``recycler``: the pod that empties the volume. ``users``:
    "namespace/name" of pods that still use a volume of a claim that is gone. ``image``: for pods that recycle."""

    volume: Obj
    now: datetime
    claim: Obj | None = None
    recycler: Obj | None = None
    users: tuple[str, ...] = ()
    image: str = ""


def plan_volume(seen: Observed) -> Plan:
    volume = seen.volume
    reference = volumes.claim_ref(volume)
    if reference is None or not reference.get("uid"):
        if seen.recycler is not None and not objects.is_deleting(seen.recycler):
            return step.delete_pod(seen.recycler)  # it has done its work
        # Free; or kept for a claim that is not there yet, or has not been looked at. Upstream calls both Available.
        plan = step.volume_phase(volume, "Available")
        waiting = seen.claim is not None and not claims.volume_name(seen.claim)
        return Plan(plan.write, plan.tells, _key(seen.claim)) if waiting else plan
    claim = seen.claim if seen.claim is not None and objects.uid(seen.claim) == reference["uid"] else None
    if claim is None:
        return _plan_released(seen)
    if not claims.volume_name(claim):
        return _plan_unfinished(volume, claim)
    if claims.volume_name(claim) == objects.name(volume):
        return step.volume_phase(volume, "Bound")
    return _plan_passed_over(seen)


def _plan_unfinished(volume: Obj, claim: Obj) -> Plan:
    """The volume names the claim, and the claim does not name it yet: the claim's turn."""
    if claims.volume_mode(volume) != claims.volume_mode(claim):
        of_volume = (
            "Cannot bind PersistentVolume to requested PersistentVolumeClaim "
            f'"{objects.name(claim)}" due to incompatible volumeMode.'
        )
        of_claim = (
            f'Cannot bind PersistentVolume "{objects.name(volume)}" to requested PersistentVolumeClaim due to '
            "incompatible volumeMode."
        )
        return Plan(tells=(warn(volume, "VolumeMismatch", of_volume), warn(claim, "VolumeMismatch", of_claim)))
    return Plan(claim=_key(claim))


def _plan_passed_over(seen: Observed) -> Plan:
    """The claim has another volume. One made for it goes; others are free again."""
    volume = seen.volume
    made = claims.has_annotation(volume, volumes.PROVISIONED_BY)
    if made and _policy(volume) == "Delete":
        return _plan_released(seen)
    return unbind(volume)


def unbind(volume: Obj, *tells: step.Tell) -> Plan:
    """Back to what it was before the binder came: free, or kept for the claim of a name."""
    new: Obj = objects.copy_of(volume)
    if claims.has_annotation(volume, claims.BOUND_BY_CONTROLLER):
        del new["spec"]["claimRef"]
        del new["metadata"]["annotations"][claims.BOUND_BY_CONTROLLER]
    else:
        new["spec"]["claimRef"] = {
            key: value for key, value in new["spec"]["claimRef"].items() if key not in ("uid", "resourceVersion")
        }
    return step.update_volume(new, *tells)


def _plan_released(seen: Observed) -> Plan:
    """Nobody has it any more."""
    volume = seen.volume
    if volumes.phase(volume) not in ("Released", "Failed"):
        return step.volume_phase(volume, "Released")
    if objects.is_deleting(volume):
        return NOTHING
    policy = _policy(volume)
    if policy == "Retain":
        return NOTHING
    if policy == "Delete":
        return _plan_delete(volume)
    if policy == "Recycle":
        return recycling.plan(volume, seen.recycler, seen.users, seen.image, seen.now, unbind)
    text = "Volume has unrecognized PersistentVolumeReclaimPolicy"
    return _failed(volume, "VolumeUnknownReclaimPolicy", text)


def _plan_delete(volume: Obj) -> Plan:
    """What a provisioner made is the provisioner's to delete. This controller reaches no disk: upstream's can delete
    below /tmp of the machine that it runs on, and the volumes of some clouds."""
    if claims.has_annotation(volume, volumes.PROVISIONED_BY):
        return NOTHING
    host_path = (volume.get("spec") or {}).get("hostPath")
    path = str(host_path.get("path") or "") if isinstance(host_path, dict) else ""
    if path and not _DELETABLE.match(path):
        return _failed(
            volume, "VolumeFailedDelete", f"host_path deleter only supports /tmp/.+ but received provided {path}"
        )
    name = objects.name(volume)
    text = f'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
    return _failed(volume, "VolumeFailedDelete", text)


def _failed(volume: Obj, reason: str, message: str) -> Plan:
    return step.volume_phase(volume, "Failed", message, warn(volume, reason, message))


def _policy(volume: Obj) -> str:
    return str((volume.get("spec") or {}).get("persistentVolumeReclaimPolicy") or "")


def _key(claim: Obj | None) -> tuple[str, str] | None:
    return None if claim is None else (objects.namespace(claim), objects.name(claim))
