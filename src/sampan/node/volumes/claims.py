"""persistentVolumeClaim and generic ephemeral volumes: which PersistentVolume stands behind one."""

from __future__ import annotations

from pathlib import Path

from sampan.api.errors import ApiError
from sampan.api.storage.claims import annotation, is_claim_of_pod
from sampan.api.storage.volumes import BACKING_FILE, LOCAL_BACKING, LOCAL_PATH, PROVISIONED_BY
from sampan.api.types import Obj
from sampan.node.volumes import localfile, localpath
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.plugin import Context
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Claimed:
    """``spec``: what the plug-in is given of ``volume``."""

    spec: Obj
    volume: Obj
    claim: Obj
    read_only: bool


async def resolve(volume: Obj, context: Context) -> Claimed:
    """The PersistentVolume that a claim is bound to, and whether the pod may only read it.

    Raises SetupError in the words of upstream's desired-state populator.
    """
    ephemeral = "ephemeral" in volume
    source = volume.get("persistentVolumeClaim") or {}
    name = f"{context.pod['metadata']['name']}-{volume['name']}" if ephemeral else source["claimName"]
    label = f"{context.namespace}/{name}"
    try:
        claim = await context.source.get_persistent_volume_claim(context.namespace, name)
    except ApiError as error:
        raise SetupError(
            f"error processing PVC {label}: failed to fetch PVC from API server: {error.message}"
        ) from error
    meta, status = claim["metadata"], claim.get("status") or {}
    if ephemeral and not is_claim_of_pod(claim, context.pod):
        raise SetupError(f"error processing PVC {label}: PVC was not created for the pod")
    if meta.get("deletionTimestamp"):
        raise SetupError(f"error processing PVC {label}: PVC is being deleted")
    pv_name = claim["spec"].get("volumeName")
    if status.get("phase") != "Bound" or not pv_name:
        raise SetupError(f"error processing PVC {label}: PVC is not bound")
    spec, found = await _volume(pv_name, label, claim, context)
    return Claimed(spec, found, claim, bool(source.get("readOnly")))


async def _volume(pv_name: str, label: str, claim: Obj, context: Context) -> tuple[Obj, Obj]:
    try:
        volume = await context.source.get_persistent_volume(pv_name)
    except ApiError as error:
        raise SetupError(f"error processing PVC {label}: failed to fetch PV {pv_name}: {error.message}") from error
    spec: Obj = volume["spec"]
    if (spec.get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
        raise SetupError(f"error processing PVC {label}: PV {pv_name} is not bound to it")
    ours = annotation(volume, PROVISIONED_BY) == LOCAL_PATH and "local" in spec
    # The provisioner names directories as volumes; any other is somebody's, and is there or not.
    if ours and Path(spec["local"]["path"]).name == pv_name:
        source = localfile.SOURCE if annotation(volume, LOCAL_BACKING) == BACKING_FILE else localpath.SOURCE
        spec = {source: spec["local"], **{key: value for key, value in spec.items() if key != "local"}}
    return spec, volume
