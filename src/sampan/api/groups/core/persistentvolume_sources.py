"""Where a PersistentVolume's bytes are: exactly one source, with what it must have (upstream: validation.go).

Most sources are a pod's too; those that name a Secret of any namespace, and those that a pod has none of, are here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sampan.api import errors, go_diff, names
from sampan.api.types import Obj
from sampan.api.validation import common, volumes
from sampan.api.validation.common import Errors

Check = Callable[[Obj, str], Errors]


def _missing(source: Obj, path: str, *keys: str) -> Errors:
    return [errors.required(f"{path}.{key}") for key in keys if not source.get(key)]


def _glusterfs(source: Obj, path: str) -> Errors:
    found = _missing(source, path, "endpoints", "path")
    if source.get("endpointsNamespace") == "":
        text = "if the endpointnamespace is set, it must be a valid namespace name"
        found.append(errors.invalid(f"{path}.endpointsNamespace", "", text))
    return found


def _cinder(source: Obj, path: str) -> Errors:
    found = _missing(source, path, "volumeID")
    if (reference := source.get("secretRef")) is not None:
        found += _missing(reference, f"{path}.secretRef", "name", "namespace")
    return found


def _azure_file(source: Obj, path: str) -> Errors:
    found = _missing(source, path, "secretName", "shareName")
    if source.get("secretNamespace") == "":
        found.append(errors.required(f"{path}.secretNamespace"))
    return found


def _local(source: Obj, path: str) -> Errors:
    if not source.get("path"):
        return [errors.required(f"{path}.path")]
    return common.no_backsteps(source["path"], f"{path}.path")


_CSI_SECRETS: Final = (
    "controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef",
)  # fmt: skip


def _csi(source: Obj, path: str) -> Errors:
    found = volumes.csi_driver(source.get("driver", ""), f"{path}.driver") + _missing(source, path, "volumeHandle")
    for key in _CSI_SECRETS:
        if (reference := source.get(key)) is not None:
            for part, check in (("name", names.dns1123_subdomain), ("namespace", names.dns1123_label)):
                where, value = f"{path}.{key}.{part}", reference.get(part, "")
                found += common.named(check, value, where) if value else [errors.required(where)]
    return found


_OWN: Final[dict[str, Check]] = {
    "glusterfs": _glusterfs,
    "cinder": _cinder,
    "azureFile": _azure_file,
    "local": _local,
    "csi": _csi,
}
#: In the order in which upstream looks for them.
SOURCES: Final = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "flocker", "nfs", "rbd", "quobyte", "cephfs",
    "iscsi", "cinder", "fc", "flexVolume", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume",
    "azureDisk", "scaleIO", "local", "storageos", "csi",
)  # fmt: skip
#: where messages call a source otherwise than its field
_CALLED: Final = {"gcePersistentDisk": "persistentDisk"}
_CALLED_TWICE: Final = {"cephfs": "cephFS"}


def source(spec: Obj, name: str) -> Errors:
    """``name``: of the volume."""
    given = [kind for kind in SOURCES if spec.get(kind) is not None]
    if not given:
        return [errors.required("spec", "must specify a volume type")]
    found: Errors = []
    for index, kind in enumerate(given):
        # Upstream does not ask whether a flexVolume is the first.
        if index and kind != "flexVolume":
            where = f"spec.{_CALLED_TWICE.get(kind, kind)}"
            found.append(errors.forbidden(where, "may not specify more than 1 volume type"))
            continue
        if check := _OWN.get(kind) or volumes.SOURCES.get(kind):
            found += check(spec[kind], f"spec.{_CALLED.get(kind, kind)}")
        if kind == "iscsi":
            found += _portal_name(spec[kind], name)
        if kind == "local" and spec.get("nodeAffinity") is None:
            found.append(errors.required("spec.nodeAffinity", "Local volume requires node affinity"))
    return found


def _portal_name(portal: Obj, name: str) -> Errors:
    initiator = portal.get("initiatorName")
    if initiator is None or len(f"{name}:{portal.get('targetPortal', '')}") <= 64:
        return []
    text = (
        "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is "
        "specified."
    )
    return [errors.invalid("spec.iscsi.initiatorname", initiator, text)]


#: Go's names, in the order of its struct
_GO_NAMES: Final = (
    ("gcePersistentDisk", "GCEPersistentDisk"), ("awsElasticBlockStore", "AWSElasticBlockStore"),
    ("hostPath", "HostPath"), ("glusterfs", "Glusterfs"), ("nfs", "NFS"), ("rbd", "RBD"), ("quobyte", "Quobyte"),
    ("iscsi", "ISCSI"), ("flexVolume", "FlexVolume"), ("cinder", "Cinder"), ("cephfs", "CephFS"), ("fc", "FC"),
    ("flocker", "Flocker"), ("azureFile", "AzureFile"), ("vsphereVolume", "VsphereVolume"), ("azureDisk", "AzureDisk"),
    ("photonPersistentDisk", "PhotonPersistentDisk"), ("portworxVolume", "PortworxVolume"), ("scaleIO", "ScaleIO"),
    ("local", "Local"), ("storageos", "StorageOS"), ("csi", "CSI"),
)  # fmt: skip
_GO_FIELDS: Final[dict[str, tuple[tuple[str, str, object], ...]]] = {
    "hostPath": (("path", "Path", ""), ("type", "Type", None)),
    "nfs": (("server", "Server", ""), ("path", "Path", ""), ("readOnly", "ReadOnly", False)),
    "local": (("path", "Path", ""), ("fsType", "FSType", None)),
    "csi": (
        ("driver", "Driver", ""), ("volumeHandle", "VolumeHandle", ""), ("readOnly", "ReadOnly", False),
        ("fsType", "FSType", ""), ("volumeAttributes", "VolumeAttributes", None),
        ("controllerPublishSecretRef", "ControllerPublishSecretRef", None),
        ("nodeStageSecretRef", "NodeStageSecretRef", None), ("nodePublishSecretRef", "NodePublishSecretRef", None),
        ("controllerExpandSecretRef", "ControllerExpandSecretRef", None),
        ("nodeExpandSecretRef", "NodeExpandSecretRef", None),
    ),
}  # fmt: skip


def _go(kind: str, value: Obj | None) -> Obj | None:
    if value is None or kind not in _GO_FIELDS:
        found: Obj | None = go_diff.capitalised(value)
        return found
    shown = {go: value.get(key, zero) for key, go, zero in _GO_FIELDS[kind]}
    return {go: go_diff.capitalised(item) if go.endswith("SecretRef") else item for go, item in shown.items()}


def changes(spec: Obj, before: Obj) -> Errors:
    """The source stays; a CSI volume may get a secret for its growth later."""
    csi, csi_before = spec.get("csi"), before.get("csi")
    if csi is not None and csi_before is not None and csi_before.get("controllerExpandSecretRef") is None:
        spec = {**spec, "csi": {key: value for key, value in csi.items() if key != "controllerExpandSecretRef"}}
    if all(spec.get(kind) == before.get(kind) for kind in SOURCES):
        return []
    old, new = ({go: _go(kind, one.get(kind)) for kind, go in _GO_NAMES} for one in (before, spec))
    text = f"spec.persistentvolumesource is immutable after creation\n{go_diff.diff(old, new)}"
    return [errors.forbidden("spec.persistentvolumesource", text)]
