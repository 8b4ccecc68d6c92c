"""Volumes of a pod: one source each, with what that source must say. Order and texts are upstream's.

What files a volume is made of is in ``projected``, what a claim must say in ``claims``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from sampan.api import errors, names, quantity
from sampan.api.errors import quoted
from sampan.api.types import Obj
from sampan.api.validation import claims, common, projected
from sampan.api.validation.common import Errors
from sampan.api.validation.options import TEMPLATE, Options

HOST_PATH_TYPES: Final = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")

_IQN: Final = re.compile(r"iqn\.\d{4}-\d{2}\.[A-Za-z0-9\-.]", re.ASCII)
_NOT_IN_AUTHORITIES: Final = re.compile(r"[^A-Za-z0-9\-.]", re.ASCII)
_NOT_IN_IQN: Final = re.compile(r"[,;*&$|\s]", re.ASCII)
_EUI: Final = re.compile(r"eui.[A-Za-z0-9]{16}", re.ASCII)
_NAA: Final = re.compile(r"naa.[A-Za-z0-9]{32}", re.ASCII)
_BYTE: Final = "must be between 0 and 255, inclusive"
#: of partitions, which zero is too
_PARTITION: Final = "must be between 1 and 255, inclusive"


def _missing(source: Obj, path: str, *keys: str) -> Errors:
    return [errors.required(f"{path}.{key}") for key in keys if not source.get(key)]


def _needs(*keys: str) -> Callable[[Obj, str], Errors]:
    """A source with nothing to say of it but that these are there."""
    return lambda source, path: _missing(source, path, *keys)


def _empty_dir(source: Obj, path: str) -> Errors:
    limit = source.get("sizeLimit")
    if limit is not None and quantity.parse(limit) < 0:
        return [errors.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return []


def _host_path(source: Obj, path: str) -> Errors:
    if not source.get("path"):
        return [errors.required(f"{path}.path")]
    found = common.no_backsteps(source["path"], f"{path}.path")
    if (kind := source.get("type")) is not None and kind not in HOST_PATH_TYPES:
        found.append(errors.not_supported(f"{path}.type", kind, HOST_PATH_TYPES))
    return found


def _git_repo(source: Obj, path: str) -> Errors:
    return _missing(source, path, "repository") + common.non_absolute_descending(
        source.get("directory", ""), f"{path}.directory"
    )


def _disk(key: str) -> Callable[[Obj, str], Errors]:
    def check(source: Obj, path: str) -> Errors:
        found = _missing(source, path, key)
        if not 0 <= source.get("partition", 0) <= 255:
            found.append(errors.invalid(f"{path}.partition", source["partition"], _PARTITION))
        return found

    return check


def _keyed(key: str) -> Callable[[Obj, str], Errors]:
    """configMap and secret."""

    def check(source: Obj, path: str) -> Errors:
        found = _missing(source, path, key)
        found += projected.mode(source.get("defaultMode"), f"{path}.defaultMode")
        return found + projected.items(source, path)

    return check


def _nfs(source: Obj, path: str) -> Errors:
    found = _missing(source, path, "server", "path")
    if not source.get("path", "").startswith("/"):
        found.append(errors.invalid(f"{path}.path", source.get("path", ""), "must be an absolute path"))
    return found


def _iscsi_name(name: str, path: str) -> Errors:
    if not name.startswith(("iqn", "eui", "naa")):
        return [errors.invalid(path, name, "must be valid format starting with iqn, eui, or naa")]
    right = _ends_in_iqn(name) if name[:3] == "iqn" else bool((_EUI if name[:3] == "eui" else _NAA).fullmatch(name))
    return [] if right else [errors.invalid(path, name, "must be valid format")]


def _ends_in_iqn(text: str) -> bool:
    """Upstream's expression for them, found anywhere: a date, an authority, a colon, and anything that does not end it.
    Each character is looked at a few times, where the expression would begin anew at each ``iqn.``."""
    *authorities, last = _NOT_IN_IQN.split(text)[-1].split(":")
    if authorities and not last:
        authorities.pop()  # nothing behind its colon; that of the others has one
    return any(_IQN.search(_NOT_IN_AUTHORITIES.split(each)[-1]) for each in authorities)


def iscsi(source: Obj, path: str) -> Errors:
    found = _missing(source, path, "targetPortal", "iqn")
    if source.get("iqn"):
        found += _iscsi_name(source["iqn"], f"{path}.iqn")
    if not 0 <= source.get("lun", 0) <= 255:
        found.append(errors.invalid(f"{path}.lun", source["lun"], _BYTE))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        found.append(errors.required(f"{path}.secretRef"))
    if source.get("initiatorName") is not None:
        found += _iscsi_name(source["initiatorName"], f"{path}.initiatorname")
    return found


def _flocker(source: Obj, path: str) -> Errors:
    name, uuid = source.get("datasetName", ""), source.get("datasetUUID", "")
    found: Errors = []
    if not name and not uuid:
        found.append(errors.required(path, "one of datasetName and datasetUUID is required"))
    if name and uuid:
        text = "datasetName and datasetUUID can not be specified simultaneously"
        found.append(errors.invalid(path, "resource", text))
    if "/" in name:
        found.append(errors.invalid(f"{path}.datasetName", name, "must not contain '/'"))
    return found


def _secret_name(source: Obj, path: str, key: str = "secretRef") -> Errors:
    reference = source.get(key)
    return [errors.required(f"{path}.{key}.name")] if reference is not None and not reference.get("name") else []


def _cinder(source: Obj, path: str) -> Errors:
    return _missing(source, path, "volumeID") + _secret_name(source, path)


_HOST_PORT: Final = "must be a host:port pair or multiple pairs separated by commas"


def _is_host_port(pair: str) -> bool:
    host, colon, _ = pair.rpartition(":")
    return bool(colon) and (":" not in host or (host.startswith("[") and host.endswith("]")))


def _quobyte(source: Obj, path: str) -> Errors:
    registry = source.get("registry", "")
    found: Errors = []
    if not registry:
        found.append(errors.required(f"{path}.registry", _HOST_PORT))
    elif len(source.get("tenant", "")) >= 65:
        text = "must be a UUID and may not exceed a length of 64 characters"
        found.append(errors.required(f"{path}.tenant", text))
    else:
        bad = sum(not _is_host_port(pair) for pair in registry.split(","))
        if bad:
            found += [errors.invalid(f"{path}.registry", registry, _HOST_PORT)] * min(bad, errors.MOST_CAUSES)
    return found + _missing(source, path, "volume")


def _downward(source: Obj, path: str) -> Errors:
    found = projected.mode(source.get("defaultMode"), f"{path}.defaultMode")
    for item in source.get("items") or ():
        found += projected.downward_item(item, path)
    return found


def _fc(source: Obj, path: str) -> Errors:
    targets, ids, lun = source.get("targetWWNs") or [], source.get("wwids") or [], source.get("lun")
    found: Errors = []
    if not targets and not ids:
        text = "must specify either targetWWNs or wwids, but not both"
        found.append(errors.required(f"{path}.targetWWNs", text))
    if targets and ids:
        text = "targetWWNs and wwids can not be specified simultaneously"
        found.append(errors.invalid(f"{path}.targetWWNs", targets, text))
    if targets and lun is None:
        found.append(errors.required(f"{path}.lun", "lun is required if targetWWNs is specified"))
    elif targets and lun is not None and not 0 <= lun <= 255:
        found.append(errors.invalid(f"{path}.lun", lun, _BYTE))
    return found


def _flex_volume(source: Obj, path: str) -> Errors:
    found = _missing(source, path, "driver")
    for key in source.get("options") or {}:
        domain = f".{key.partition('/')[0].lower()}"
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            text = "kubernetes.io and k8s.io namespaces are reserved"
            found.append(errors.invalid(f"{path}.options[{key}]", key, text))
    return found


_MANAGED: Final = ("/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",)
_BLOB: Final = ("https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",)


def _azure_disk(source: Obj, path: str) -> Errors:
    found = _missing(source, path, "diskName", "diskURI")
    for key, supported in (
        ("cachingMode", ("None", "ReadOnly", "ReadWrite")),
        ("kind", ("Dedicated", "Managed", "Shared")),
    ):
        if source.get(key) is not None and source[key] not in supported:
            found.append(errors.not_supported(f"{path}.{key}", source[key], supported))
    kind, uri = source.get("kind"), source.get("diskURI", "")
    if kind == "Managed" and not uri.startswith("/subscriptions/"):
        found.append(errors.not_supported(f"{path}.diskURI", uri, _MANAGED))
    if kind not in (None, "Managed") and not uri.startswith("https://"):
        found.append(errors.not_supported(f"{path}.diskURI", uri, _BLOB))
    return found


def _storage_os(source: Obj, path: str) -> Errors:
    found = _missing(source, path, "volumeName")
    for key in ("volumeName", "volumeNamespace"):
        if source.get(key):
            found += common.named(names.dns1123_label, source[key], f"{path}.{key}")
    return found + _secret_name(source, path)


def csi_driver(name: str, path: str) -> Errors:
    if not name:
        return [errors.required(path)]
    found = [errors.too_long(path, 63)] if len(name) > 63 else []
    return found + [errors.invalid(path, name, text) for text in names.dns1123_subdomain(name.lower())]


def _csi(source: Obj, path: str) -> Errors:
    found = csi_driver(source.get("driver", ""), f"{path}.driver")
    found += _secret_name(source, path, "nodePublishSecretRef")
    name = (source.get("nodePublishSecretRef") or {}).get("name")
    return found + (common.named(names.dns1123_subdomain, name, f"{path}.name") if name else [])


def _ephemeral(source: Obj, path: str) -> Errors:
    template = source.get("volumeClaimTemplate")
    if template is None:
        return [errors.required(f"{path}.volumeClaimTemplate")]
    return claims.claim_template(template, f"{path}.volumeClaimTemplate")


def _image(source: Obj, path: str, options: Options) -> Errors:
    found: Errors = []
    if options.is_pod and not source.get("reference"):
        found.append(errors.required(f"{path}.reference"))
    return found + common.one_of(source.get("pullPolicy"), PULL_POLICIES, f"{path}.pullPolicy", must=True)


#: Every source, in the order in which upstream looks for them, and its check. Those of None see the options too.
SOURCES: Final[dict[str, Callable[[Obj, str], Errors] | None]] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "gitRepo": _git_repo,
    "gcePersistentDisk": _disk("pdName"),
    "awsElasticBlockStore": _disk("volumeID"),
    "secret": _keyed("secretName"),
    "nfs": _nfs,
    "iscsi": iscsi,
    "glusterfs": _needs("endpoints", "path"),
    "flocker": _flocker,
    "persistentVolumeClaim": _needs("claimName"),
    "rbd": _needs("monitors", "image"),
    "cinder": _cinder,
    "cephfs": _needs("monitors"),
    "quobyte": _quobyte,
    "downwardAPI": _downward,
    "fc": _fc,
    "flexVolume": _flex_volume,
    "configMap": _keyed("name"),
    "azureFile": _needs("secretName", "shareName"),
    "vsphereVolume": _needs("volumePath"),
    "photonPersistentDisk": _needs("pdID"),
    "portworxVolume": _needs("volumeID"),
    "azureDisk": _azure_disk,
    "storageos": _storage_os,
    "projected": None,
    "scaleIO": _needs("gateway", "system", "volumeName"),
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": None,
}
#: where messages call a source otherwise than its field
_CALLED: Final = {"gcePersistentDisk": "persistentDisk"}
_CALLED_TWICE: Final = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}


def volume_source(holder: Obj, path: str, options: Options = TEMPLATE) -> Errors:
    """The source of a volume (``holder`` is the volume, or a PersistentVolume's spec)."""
    given = [kind for kind in holder if kind in SOURCES and holder[kind] is not None]
    if not given:
        return [errors.required(path, "must specify a volume type")]
    if len(given) > 1:
        given = [kind for kind in SOURCES if kind in given]
    first = given[0]
    found = _source(first, holder[first], f"{path}.{_CALLED.get(first, first)}", options)
    for kind in given[1:]:
        where = f"{path}.{_CALLED_TWICE.get(kind, kind)}"
        found.append(errors.forbidden(where, "may not specify more than 1 volume type"))
    return found


def _source(kind: str, source: Obj, path: str, options: Options) -> Errors:
    if check := SOURCES[kind]:
        return check(source, path)
    return (projected.projected if kind == "projected" else _image)(source, path, options)


def volumes(values: list[Obj] | None, path: str, options: Options) -> tuple[Errors, dict[str, Obj]]:
    """The faults, and the volumes without any, by name: only those can be mounted."""
    found: Errors = []
    sound: dict[str, Obj] = {}
    claimed = _claims_made(values, options)
    for index, volume in enumerate(values or ()):
        where, name = f"{path}[{index}]", volume.get("name", "")
        faults = volume_source(volume, where, options)
        if volume.get("iscsi") is not None or volume.get("ephemeral") is not None:
            faults += _names_made(volume, name, where, options)
        if not name:
            faults.append(errors.required(f"{where}.name"))
        else:
            faults += common.named(names.dns1123_label, name, f"{where}.name")
        if name in sound:
            faults.append(errors.duplicate(f"{where}.name", name))
        if faults:
            found += faults
        else:
            sound[name] = volume
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim is not None and claim in claimed:
            text = "must not reference a PVC that gets created for an ephemeral volume"
            found.append(errors.invalid(f"{where}.persistentVolumeClaim.claimName", claim, text))
    return found, sound


def _claims_made(values: list[Obj] | None, options: Options) -> set[str]:
    """Names of the claims that come with the pod: one for each ephemeral volume."""
    if not options.pod_name:
        return set()
    return {
        f"{options.pod_name}-{volume.get('name', '')}" for volume in values or () if volume.get("ephemeral") is not None
    }


def _names_made(volume: Obj, name: str, path: str, options: Options) -> Errors:
    found: Errors = []
    portal = volume.get("iscsi") or {}
    if portal.get("initiatorName") is not None and len(f"{name}:{portal.get('targetPortal', '')}") > 64:
        text = (
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is "
            "specified."
        )
        found.append(errors.invalid(f"{path}.name", name, text))
    if volume.get("ephemeral") is not None and options.pod_name and name:
        claim = f"{options.pod_name}-{name}"
        for text in names.dns1123_subdomain(claim):
            found.append(errors.invalid(f"{path}.name", name, f"PVC name {quoted(claim)}: {text}"))
    return found
