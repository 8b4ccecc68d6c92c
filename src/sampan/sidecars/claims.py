"""What a claim asks of a driver, and the volume that is made of its answer. Pure.

(external-provisioner ``pkg/controller/controller.go``.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sampan.api import objects, quantity
from sampan.api.reading import part, text, text_map, texts
from sampan.api.storage import claims, secretrefs, volumes
from sampan.api.storage.secretrefs import PREFIX, SecretRef
from sampan.api.types import Obj
from sampan.csi.pb import csi_pb2 as csi
from sampan.records import dataclass
from sampan.sidecars import topology
from sampan.sidecars.config import Driver, SidecarConfig, with_metadata

FINALIZER: Final = "external-provisioner.volume.kubernetes.io/finalizer"
SECRET_NAME: Final = "volume.kubernetes.io/provisioner-deletion-secret-name"
SECRET_NAMESPACE: Final = "volume.kubernetes.io/provisioner-deletion-secret-namespace"
IDENTITY: Final = "storage.kubernetes.io/csiProvisionerIdentity"
#: fields of a volume's csi source, by the use that a class's parameters name
_REFERENCES: Final = {
    "controller-publish": "controllerPublishSecretRef",
    "node-stage": "nodeStageSecretRef",
    "node-publish": "nodePublishSecretRef",
    "controller-expand": "controllerExpandSecretRef",
    "node-expand": "nodeExpandSecretRef",
}
_MODES: Final = csi.VolumeCapability.AccessMode


class Refused(Exception):
    """The claim cannot be had as it is; the message is for its user."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """``request`` lacks secrets, topology, source and what its class of ``attributes`` says. ``provisioner``: the
    Secret that goes with it."""

    name: str
    request: Any
    filesystem: str
    provisioner: SecretRef | None
    references: Mapping[str, SecretRef]
    attributes: str = ""


def waits(claim: Obj, driver: str) -> bool:
    """Whether the binder has given it to the driver, and it has no volume yet."""
    if claims.volume_name(claim) or objects.is_deleting(claim):
        return False
    asked = claims.annotation(claim, claims.PROVISIONER) or claims.annotation(claim, claims.BETA_PROVISIONER)
    return asked == driver


def is_wanted(claim: Obj, storage_class: Obj | None, driver: str) -> bool:
    """Whether it waits for this provisioner."""
    if storage_class is None or text(storage_class, "provisioner") != driver or not waits(claim, driver):
        return False
    return not claims.is_delayed(storage_class) or bool(claims.annotation(claim, claims.SELECTED_NODE))


def read(claim: Obj, storage_class: Obj, driver: Driver, config: SidecarConfig) -> Wanted:
    """Raises Refused."""
    name = f"{config.volume_prefix}-{objects.uid(claim)}"
    if isinstance(part(claim, "spec").get("selector"), dict):
        raise Refused("claim Selector is not supported")
    attributes = text(part(claim, "spec"), "volumeAttributesClassName")
    if attributes and "MODIFY_VOLUME" not in driver.controller:
        raise Refused(
            "CSI driver does not support VolumeAttributesClass: controller MODIFY_VOLUME capability is not reported"
        )
    parameters = text_map(storage_class, "parameters")
    is_block = claims.volume_mode(claim) == "Block"
    filesystem = parameters.get(f"{PREFIX}fstype", parameters.get("fstype", ""))
    if is_block and f"{PREFIX}fstype" in parameters:
        filesystem = ""
    elif not is_block:
        filesystem = filesystem or config.default_filesystem
    capabilities = [
        capability(mode, is_block, filesystem, list(texts(storage_class, "mountOptions")), driver)
        for mode in texts(part(claim, "spec"), "accessModes")
    ]
    try:
        provisioner = _secret(parameters, "provisioner", name, claim)
        references = {
            field: found
            for use, field in _REFERENCES.items()
            if (found := _secret(parameters, use, name, claim)) is not None
        }
    except ValueError as error:
        raise Refused(str(error)) from None
    told = {
        f"{PREFIX}pvc/name": objects.name(claim),
        f"{PREFIX}pvc/namespace": objects.namespace(claim),
        f"{PREFIX}pv/name": name,
    }
    own = {key: value for key, value in secretrefs.of_driver(parameters).items() if key != "fstype"}
    request = csi.CreateVolumeRequest(
        name=name,
        capacity_range=csi.CapacityRange(required_bytes=claims.requested_bytes(claim)),
        volume_capabilities=capabilities,
        parameters=with_metadata(own, told, wanted=config.extra_metadata),
    )
    return Wanted(name, request, filesystem, provisioner, references, attributes)


def mutable(name: str, found: Obj | None, driver: str) -> dict[str, str]:
    """What the class of attributes says. Raises Refused."""
    if found is None:
        raise Refused(f'volumeattributesclasses.storage.k8s.io "{name}" not found')
    if text(found, "driverName") != driver:
        raise Refused(
            f"VAC {name} referenced in PVC is for driver {text(found, 'driverName')} which does not match driver name "
            f"{driver}"
        )
    return dict(text_map(found, "parameters"))


def capability(mode: str, is_block: bool, filesystem: str, options: list[str], driver: Driver) -> Any:
    """Raises Refused."""
    single = "SINGLE_NODE_MULTI_WRITER" in driver.controller
    modes = {
        "ReadWriteMany": _MODES.MULTI_NODE_MULTI_WRITER,
        "ReadOnlyMany": _MODES.MULTI_NODE_READER_ONLY,
        "ReadWriteOnce": _MODES.SINGLE_NODE_MULTI_WRITER if single else _MODES.SINGLE_NODE_WRITER,
        "ReadWriteOncePod": _MODES.SINGLE_NODE_SINGLE_WRITER if single else _MODES.SINGLE_NODE_WRITER,
    }
    if mode not in modes:
        raise Refused(f"unknown access mode {mode}")
    access = csi.VolumeCapability.AccessMode(mode=modes[mode])
    if is_block:
        return csi.VolumeCapability(block=csi.VolumeCapability.BlockVolume(), access_mode=access)
    mount = csi.VolumeCapability.MountVolume(fs_type=filesystem, mount_flags=options)
    return csi.VolumeCapability(mount=mount, access_mode=access)


def _secret(parameters: Mapping[str, str], use: str, volume: str, claim: Obj) -> SecretRef | None:
    """Of a use, or what the class names for all of them. Raises ValueError."""
    for_namespace = {"pv.name": volume, "pvc.namespace": objects.namespace(claim)}
    annotations = {f"pvc.annotations['{key}']": value for key, value in objects.annotations(claim).items()}
    for_name = {**for_namespace, "pvc.name": objects.name(claim), **annotations}
    found = secretrefs.resolve(parameters, use, for_namespace, for_name)
    if found is not None:
        return found
    general = {
        key.replace(f"{PREFIX}secret-", f"{PREFIX}{use}-secret-"): value
        for key, value in parameters.items()
        if key.startswith(f"{PREFIX}secret-")
    }
    return secretrefs.resolve(general, use, for_namespace, for_name)


def render_volume(claim: Obj, storage_class: Obj, wanted: Wanted, made: Any, driver: str, identity: str) -> Obj:
    """The PersistentVolume of what the driver made."""
    source: Obj = {
        "driver": driver,
        "volumeHandle": made.volume_id,
        "volumeAttributes": {**made.volume_context, IDENTITY: identity},
    }
    if claims.volume_mode(claim) != "Block" and wanted.filesystem:
        source["fsType"] = wanted.filesystem
    for field, reference in wanted.references.items():
        source[field] = {"name": reference.name, "namespace": reference.namespace}
    secret = wanted.provisioner or SecretRef("", "")
    size = made.capacity_bytes or claims.requested_bytes(claim)
    spec: Obj = {
        "capacity": {"storage": quantity.format_quantity(size, "BinarySI")},
        "accessModes": list(texts(part(claim, "spec"), "accessModes")),
        "persistentVolumeReclaimPolicy": text(storage_class, "reclaimPolicy") or "Delete",
        "storageClassName": objects.name(storage_class),
        "volumeMode": claims.volume_mode(claim),
        "claimRef": {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "namespace": objects.namespace(claim),
            "name": objects.name(claim),
            "uid": objects.uid(claim),
            "resourceVersion": objects.resource_version(claim),
        },
        "csi": source,
    }
    options = list(texts(storage_class, "mountOptions"))
    if options:
        spec["mountOptions"] = options
    if (reached := topology.affinity(made.accessible_topology)) is not None:
        spec["nodeAffinity"] = reached
    if attributes := text(part(claim, "spec"), "volumeAttributesClassName"):
        spec["volumeAttributesClassName"] = attributes
    return {
        "kind": "PersistentVolume",
        "apiVersion": "v1",
        "metadata": {
            "name": wanted.name,
            "annotations": {
                volumes.PROVISIONED_BY: driver,
                SECRET_NAME: secret.name,
                SECRET_NAMESPACE: secret.namespace,
            },
            "finalizers": [FINALIZER],
        },
        "spec": spec,
    }


# -- what becomes of volumes


def is_ours(volume: Obj, driver: str) -> bool:
    made_by = claims.annotation(volume, volumes.PROVISIONED_BY) == driver
    return made_by and text(part(part(volume, "spec"), "csi"), "driver") == driver


def loses_data(volume: Obj) -> bool:
    """Its policy is that its data goes too, and its claim is gone; or it is deleted while no claim has it."""
    if text(part(volume, "spec"), "persistentVolumeReclaimPolicy") != "Delete":
        return False
    if objects.is_deleting(volume) and FINALIZER not in objects.finalizers(volume):
        return False
    free = volumes.claim_ref(volume) is None and volumes.phase(volume) == "Available"
    return volumes.phase(volume) in ("Released", "Failed") or (free and objects.is_deleting(volume))


def is_let_go(volume: Obj) -> bool:
    """It is deleted while its policy is to keep the data."""
    return (
        objects.is_deleting(volume)
        and volumes.phase(volume) != "Bound"
        and FINALIZER in objects.finalizers(volume)
        and text(part(volume, "spec"), "persistentVolumeReclaimPolicy") != "Delete"
    )


def deletion_secret(volume: Obj) -> SecretRef | None:
    name, namespace = claims.annotation(volume, SECRET_NAME), claims.annotation(volume, SECRET_NAMESPACE)
    return SecretRef(namespace, name) if name and namespace else None
