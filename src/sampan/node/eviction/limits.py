"""Pods that use more of the node's disk than they said they would. Pure; order and words are the kubelet's."""

from __future__ import annotations

from sampan.api import quantity
from sampan.api.pods.containers import walk
from sampan.api.pods.requests import container_limits, pod_limits
from sampan.api.reading import part, parts
from sampan.api.types import Obj
from sampan.node.eviction.usage import PodUsage

_RESOURCE = "ephemeral-storage"


def has_limits(pod: Obj) -> bool:
    """Whether there is anything that the pod could exceed: only then is its use measured each time."""
    return any(_size_limit(volume) is not None for volume in parts(part(pod, "spec"), "volumes")) or any(
        _RESOURCE in part(part(container, "resources"), "limits") for _, container in walk(pod)
    )


def exceeded(pod: Obj, usage: PodUsage, *, dedicated_image_fs: bool = False) -> str | None:
    """Why the pod has to go; None: it keeps to what it said."""
    return _by_volume(pod, usage) or _by_pod(pod, usage) or _by_container(pod, usage, dedicated_image_fs)


def _by_volume(pod: Obj, usage: PodUsage) -> str | None:
    for volume in parts(part(pod, "spec"), "volumes"):
        limit, used = _size_limit(volume), usage.volumes.get(str(volume.get("name")))
        if limit is not None and used is not None and used.used_bytes > quantity.value(limit):
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{quantity.canonical(limit)}". '
    return None


def _by_pod(pod: Obj, usage: PodUsage) -> str | None:
    limit = pod_limits(pod).get(_RESOURCE)
    if limit is None or (usage.disk() + usage.other).used_bytes <= limit:
        return None
    total = quantity.format_quantity(limit, _notation(pod))
    return f"Pod ephemeral local storage usage exceeds the total limit of containers {total}. "


def _by_container(pod: Obj, usage: PodUsage, dedicated_image_fs: bool) -> str | None:
    for container in parts(part(pod, "spec"), "containers"):
        limit, used = container_limits(container).get(_RESOURCE), usage.containers.get(container["name"])
        if not limit or used is None:
            continue
        amount = used.logs.used_bytes + (0 if dedicated_image_fs else used.rootfs.used_bytes)
        if amount > limit:
            written = quantity.canonical(part(container["resources"], "limits")[_RESOURCE])
            return f'Container {container["name"]} exceeded its local ephemeral storage limit "{written}". '
    return None


def _size_limit(volume: Obj) -> str | None:
    """Of one on the disk; in memory the kernel holds it."""
    source = part(volume, "emptyDir")
    limit = source.get("sizeLimit")
    if limit is None or source.get("medium"):
        return None
    try:
        return str(limit) if quantity.value(limit) > 0 else None
    except ValueError:
        return None


def _notation(pod: Obj) -> quantity.Format:
    """A sum is written as its first part is."""
    for _, container in walk(pod):
        written = part(part(container, "resources"), "limits").get(_RESOURCE)
        if written is not None:
            return quantity.parse_with_format(str(written))[1]
    return "BinarySI"
