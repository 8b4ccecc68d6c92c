"""The reclaim policy Recycle: a pod empties the volume, and then it is free again. Pure.

The pod's name is made of the volume's, so there is one at most, whoever asks. It is deleted when it has ended, and its
outcome is told first: a crash in between empties the volume once more, which does no harm.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Protocol

from sampan.api import objects
from sampan.api.reading import moment
from sampan.api.resources import PODS
from sampan.api.storage import claims, volumes
from sampan.api.types import Obj
from sampan.controllers.persistentvolume import step
from sampan.controllers.persistentvolume.step import NOTHING, Plan, note, warn

NAMESPACE: Final = "default"
_PREFIX: Final = "recycler-for-"
#: on the pod: the uid of the claim whose data it takes away
CLAIM: Final = "storage.sampan.io/claim"
#: one that failed is looked at by people, and another one follows this long after it was made
RETRY_SECONDS: Final = 60.0
#: the sources that can be emptied by a pod -> seconds that it may take at least, and more for each GiB
_SECONDS: Final = {"hostPath": (60, 30), "nfs": (300, 30)}
_EMPTY: Final = 'test -e /scrub && find /scrub -mindepth 1 -delete && test -z "$(ls -A /scrub)" || exit 1'


class Unbind(Protocol):
    def __call__(self, volume: Obj, /, *tells: step.Tell) -> Plan: ...


def pod_name(volume_name: str) -> str:
    return f"{_PREFIX}{volume_name}"


def volume_of(pod: Obj) -> str:
    """The volume that a pod empties; "": it is another pod."""
    name = objects.name(pod)
    if objects.namespace(pod) != NAMESPACE or not name.startswith(_PREFIX):
        return ""
    return name.removeprefix(_PREFIX)


def plan(volume: Obj, pod: Obj | None, users: tuple[str, ...], image: str, now: datetime, unbind: Unbind) -> Plan:
    """``volume`` is Released or Failed."""
    if volumes.source_of(volume.get("spec") or {}) not in _SECONDS:
        text = "No recycler plugin found for the volume!"
        return step.volume_phase(volume, "Failed", text, warn(volume, "VolumeFailedRecycle", text))
    if users and pod is None:
        return Plan(tells=(note(volume, "VolumeFailedRecycle", f"Volume is used by pods: {','.join(users)}"),))
    if pod is None:
        return Plan(step.Write("create", PODS, render_pod(volume, image)))
    if objects.is_deleting(pod):
        return NOTHING  # another follows it
    if claims.annotation(pod, CLAIM) != _claim_uid(volume):
        return step.delete_pod(pod)  # of an earlier claim
    phase = (pod.get("status") or {}).get("phase")
    if phase == "Succeeded":
        return unbind(volume, note(volume, "VolumeRecycled", "Volume recycled"))
    if phase != "Failed":
        return NOTHING
    said = (pod.get("status") or {}).get("message") or "pod failed, pod.Status.Message unknown."
    failed = step.volume_phase(
        volume, "Failed", f"Recycle failed: {said}", warn(volume, "VolumeFailedRecycle", f"Recycle failed: {said}")
    )
    if failed is not NOTHING:
        return failed
    made = moment(pod.get("metadata"), "creationTimestamp")
    left = RETRY_SECONDS - (now - made).total_seconds() if made is not None else 0.0
    return Plan(after_seconds=left) if left > 0 else step.delete_pod(pod)


def _claim_uid(volume: Obj) -> str:
    return str((volumes.claim_ref(volume) or {}).get("uid") or "")


def render_pod(volume: Obj, image: str) -> Obj:
    spec = volume["spec"]
    source = volumes.source_of(spec)
    at_least, each = _SECONDS[source]
    gibibytes = volumes.capacity_bytes(volume) >> 30
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": pod_name(objects.name(volume)),
            "namespace": NAMESPACE,
            "annotations": {CLAIM: _claim_uid(volume)},
        },
        "spec": {
            "activeDeadlineSeconds": at_least + each * gibibytes,
            "restartPolicy": "Never",
            "volumes": [{"name": "vol", source: dict(spec[source])}],
            "containers": [
                {
                    "name": "pv-recycler",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["/bin/sh"],
                    "args": ["-c", _EMPTY],
                    "volumeMounts": [{"name": "vol", "mountPath": "/scrub"}],
                }
            ],
        },
    }
