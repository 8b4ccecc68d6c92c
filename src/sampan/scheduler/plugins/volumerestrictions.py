"""VolumeRestrictions: a claim of one pod is used by one pod, and a disk that cannot be shared by one pod of a node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from sampan.api.reading import flag, part, parts, text, texts
from sampan.api.storage import claims
from sampan.api.types import Obj
from sampan.scheduler.arrays import At, Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import SKIP, SUCCESS, Code, CycleState, Event, Status
from sampan.scheduler.podinfo import PodInfo

_ONE_POD: Final = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
_NO_DISK: Final = "node(s) had no available disk"
#: sources of a pod's own volumes that a node has once; iSCSI and RBD disks, and GCE's, may be read by many
_DISKS: Final = frozenset(("gcePersistentDisk", "awsElasticBlockStore", "rbd", "iscsi"))


class VolumeRestrictions:
    name = "VolumeRestrictions"
    local = False
    only_with = "volumes"
    wakes = frozenset((Event.POD_DELETE, Event.NODE_ADD))

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        disks = _disks(pod) if pod.spec.get("volumes") else ()
        alone: list[str] = []
        for each in pod.claims:
            claim = cluster.storage.claim(pod.namespace, each.name)
            if claim is not None and "ReadWriteOncePod" in claims.access_modes(claim):
                alone.append(each.name)
        if not disks and not alone:
            return SKIP
        state.data[self.name] = (disks, alone)
        return SUCCESS

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        disks, alone = state.data[self.name]
        nodes = cluster.nodes
        ids = np.zeros(nodes.length(at), np.int32)
        if any(cluster.storage.users(pod.namespace, name) for name in alone):
            ids[:] = cluster.verdicts.id(self.name, Code.UNSCHEDULABLE, _ONE_POD)
        elif disks:
            verdict = cluster.verdicts.id(self.name, Code.UNSCHEDULABLE, _NO_DISK)
            for position, slot in enumerate(nodes.slots(at)):
                present = cluster.pods_on.get(nodes.names[slot], {}).values()
                if any(_conflict(mine, other) for mine in disks for each in present for other in _disks(each)):
                    ids[position] = verdict
        return ids

    def hint(self, pod: PodInfo, event: Event, changed: PodInfo | None, cluster: Cluster) -> bool:
        """A pod that used what this one wants has gone."""
        if changed is None:
            return True
        mine = {each.name for each in pod.claims}
        if changed.namespace == pod.namespace and any(each.name in mine for each in changed.claims):
            return True
        return any(_conflict(one, other) for one in _disks(pod) for other in _disks(changed))


def _disks(pod: PodInfo) -> tuple[Obj, ...]:
    """Remembered with the pod."""
    found: tuple[Obj, ...] | None = getattr(pod, "disks", None)
    if found is None:
        found = pod.disks = tuple(v for v in parts(pod.spec, "volumes") if not _DISKS.isdisjoint(v))
    return found


def _conflict(one: Obj, other: Obj) -> bool:
    """Whether both want a disk that only one of them can have."""
    for kind in _DISKS:
        mine, theirs = part(one, kind), part(other, kind)
        if not mine or not theirs:
            continue
        if kind != "awsElasticBlockStore" and flag(mine, "readOnly") and flag(theirs, "readOnly"):
            continue
        if not set(_identities(kind, mine)).isdisjoint(_identities(kind, theirs)):
            return True
    return False


def _identities(kind: str, source: Obj) -> Iterator[tuple[str, ...]]:
    if kind == "gcePersistentDisk":
        yield (text(source, "pdName"),)
    elif kind == "awsElasticBlockStore":
        yield (text(source, "volumeID"),)
    elif kind == "iscsi":
        yield (text(source, "iqn"),)
    else:
        pool, image = text(source, "pool") or "rbd", text(source, "image")
        yield from ((monitor, pool, image) for monitor in texts(source, "monitors"))
