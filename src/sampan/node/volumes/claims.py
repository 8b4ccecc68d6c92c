"""persistentVolumeClaim and generic ephemeral volumes, bound to a PersistentVolume of type hostPath or local."""

from __future__ import annotations

from pathlib import Path

from sampan.api.errors import ApiError
from sampan.api.types import Obj
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.setup import Context, HostSetup, Setup

#: everything in a PersistentVolume's spec that is not its source
_NOT_A_SOURCE = frozenset(
    {"accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
     "storageClassName", "volumeAttributesClassName", "volumeMode"}
)  # fmt: skip


async def prepare(volume: Obj, context: Context) -> Setup:
    """Raises SetupError in the words of upstream's desired-state populator."""
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
    if ephemeral and not _is_owned_by(claim, context.pod):
        raise SetupError(f"error processing PVC {label}: PVC was not created for the pod")
    if meta.get("deletionTimestamp"):
        raise SetupError(f"error processing PVC {label}: PVC is being deleted")
    pv_name = claim["spec"].get("volumeName")
    if status.get("phase") != "Bound" or not pv_name:
        raise SetupError(f"error processing PVC {label}: PVC is not bound")
    return await _from_volume(pv_name, label, claim, bool(source.get("readOnly")), context)


async def _from_volume(pv_name: str, label: str, claim: Obj, read_only: bool, context: Context) -> Setup:
    try:
        spec = (await context.source.get_persistent_volume(pv_name))["spec"]
    except ApiError as error:
        raise SetupError(f"error processing PVC {label}: failed to fetch PV {pv_name}: {error.message}") from error
    if (spec.get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
        raise SetupError(f"error processing PVC {label}: PV {pv_name} is not bound to it")
    if spec.get("volumeMode") == "Block":
        raise SetupError(f"error processing PVC {label}: volumeMode Block is not supported by this node")
    if host := spec.get("hostPath"):
        return HostSetup(Path(host["path"]), host.get("type") or "", read_only)
    if local := spec.get("local"):
        return HostSetup(Path(local["path"]), "Directory", read_only, owned=True)
    kinds = sorted(set(spec) - _NOT_A_SOURCE)
    raise SetupError(f'volume type "{kinds[0] if kinds else "unknown"}" is not supported by this node')


def _is_owned_by(claim: Obj, pod: Obj) -> bool:
    references = claim["metadata"].get("ownerReferences") or ()
    return any(each.get("controller") and each.get("uid") == pod["metadata"]["uid"] for each in references)
