"""What a volume asks of its driver: access modes, capabilities, contexts, whose fsGroup it is. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import orjson

from sampan.api.clock import format_time
from sampan.api.reading import part, text, texts
from sampan.api.types import Obj
from sampan.csi.pb import csi_pb2 as csi
from sampan.node.volumes.tokens import Token
from sampan.node.volumes.usage import VolumeUsage

TOKENS: Final = "csi.storage.k8s.io/serviceAccount.tokens"
_MOUNT_OPTIONS: Final = "volume.beta.kubernetes.io/mount-options"
_MODES: Final = csi.VolumeCapability.AccessMode
_LONGEST_MESSAGE: Final = 512
_SINGLE_NODE: Final = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


def inline_handle(uid: str, volume: str) -> str:
    return "csi-" + hashlib.sha256(f"{uid}{volume}".encode()).hexdigest()


def access_mode(modes: Sequence[str], tells_writers: bool) -> int:
    """``tells_writers``: the driver has SINGLE_NODE_MULTI_WRITER. The first mode of the volume is what counts."""
    first = modes[0] if modes else "ReadWriteOnce"
    single = _MODES.SINGLE_NODE_MULTI_WRITER if tells_writers else _MODES.SINGLE_NODE_WRITER
    alone = _MODES.SINGLE_NODE_SINGLE_WRITER if tells_writers else _MODES.SINGLE_NODE_WRITER
    found: Mapping[str, int] = {
        "ReadWriteOnce": single,
        "ReadWriteOncePod": alone,
        "ReadOnlyMany": _MODES.MULTI_NODE_READER_ONLY,
        "ReadWriteMany": _MODES.MULTI_NODE_MULTI_WRITER,
    }
    return found.get(first, _MODES.UNKNOWN)


def capability(
    *, mode: int, block: bool, fs_type: str = "", mount_flags: Collection[str] = (), mount_group: str = ""
) -> csi.VolumeCapability:
    made = csi.VolumeCapability(access_mode=_MODES(mode=mode))  # type: ignore[arg-type]  # its stubs want the enumeration's own type
    if block:
        made.block.SetInParent()
    else:
        made.mount.SetInParent()
        made.mount.fs_type = fs_type
        made.mount.mount_flags.extend(mount_flags)
        made.mount.volume_mount_group = mount_group
    return made


def mount_options(volume: Obj) -> list[str]:
    """Of a PersistentVolume; the old annotation goes before the field, as upstream has it."""
    old = text(part(part(volume, "metadata"), "annotations"), _MOUNT_OPTIONS)
    return [each for each in old.split(",") if each] if old else texts_of(part(volume, "spec"), "mountOptions")


def texts_of(holder: Obj, field: str) -> list[str]:
    return list(texts(holder, field))


def usage(answer: csi.NodeGetVolumeStatsResponse, *, tells_health: bool) -> VolumeUsage:
    """Of an answer about a volume; what makes no sense in it counts as not known."""
    bytes_ = inodes = csi.VolumeUsage()
    for each in answer.usage:
        if each.unit == csi.VolumeUsage.BYTES:
            bytes_ = each
        elif each.unit == csi.VolumeUsage.INODES:
            inodes = each
    said = tells_health and answer.HasField("volume_condition")
    return VolumeUsage(
        capacity_bytes=max(bytes_.total, 0),
        available_bytes=max(bytes_.available, 0),
        used_bytes=max(bytes_.used, 0),
        inodes=max(inodes.total, 0),
        inodes_free=max(inodes.available, 0),
        inodes_used=max(inodes.used, 0),
        abnormal=answer.volume_condition.abnormal if said else None,
        message=answer.volume_condition.message[:_LONGEST_MESSAGE] if said else "",
    )


def pod_information(pod: Obj, *, ephemeral: bool) -> dict[str, str]:
    meta = part(pod, "metadata")
    return {
        "csi.storage.k8s.io/pod.name": text(meta, "name"),
        "csi.storage.k8s.io/pod.namespace": text(meta, "namespace"),
        "csi.storage.k8s.io/pod.uid": text(meta, "uid"),
        "csi.storage.k8s.io/serviceAccount.name": text(part(pod, "spec"), "serviceAccountName"),
        "csi.storage.k8s.io/ephemeral": "true" if ephemeral else "false",
    }


def tokens_text(tokens: Mapping[str, Token]) -> str:
    """By audience, as a driver finds them."""
    found = {}
    for audience, token in tokens.items():
        stamp = None if token.expires_at is None else format_time(token.expires_at)
        found[audience] = {"token": token.value, "expirationTimestamp": stamp}
    return orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode()


def mode_refused(driver: str, driver_object: Obj | None, mode: str) -> str:
    """Why the driver has no such volumes (``Persistent``, ``Ephemeral``); "": it has."""
    if driver_object is None:
        if mode == "Persistent":
            return ""
        return f'volume mode "{mode}" not supported by driver {driver} (no CSIDriver object)'
    modes = texts_of(part(driver_object, "spec"), "volumeLifecycleModes") or ["Persistent"]
    if mode in modes:
        return ""
    listed = " ".join(f'"{each}"' for each in modes)
    return f'volume mode "{mode}" not supported by driver {driver} (only supports [{listed}])'


def applies_group(policy: str, *, fs_type: str, modes: Sequence[str] | None) -> bool:
    """Whether the node gives the volume's files to the pod's group. ``modes`` None: an inline volume."""
    if policy == "None":
        return False
    if policy == "File":
        return True
    return bool(fs_type) and (modes is None or bool(_SINGLE_NODE.intersection(modes)))
