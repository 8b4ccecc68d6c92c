"""NodeVolumeLimits: no more volumes of a driver on a node than the node's CSINode says that it can have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sampan.api.reading import part, parts, text
from sampan.api.storage import claims
from sampan.scheduler.arrays import At, Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import SKIP, SUCCESS, Code, CycleState, Event, Status
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.storage import Storage

_REASON: Final = "node(s) exceed max volume count"


class NodeVolumeLimits:
    name = "NodeVolumeLimits"
    local = False
    only_with = "volumes"
    wakes = frozenset((Event.POD_DELETE, Event.NODE_ADD))

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        if not pod.spec.get("volumes"):
            return SKIP
        wanted = {each for each in _attached(pod, cluster.storage) if cluster.storage.limits(each[0])}
        if not wanted:
            return SKIP
        state.data[self.name] = wanted
        return SUCCESS

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        """Only nodes that have a limit are looked at; and of these the pods, where they could have reached it."""
        wanted: set[tuple[str, str]] = state.data[self.name]
        nodes, storage = cluster.nodes, cluster.storage
        at_most = nodes.followed(self.name, lambda at: _at_most(cluster, at))
        ids = np.zeros(nodes.length(at), np.int32)
        verdict = cluster.verdicts.id(self.name, Code.UNSCHEDULABLE, _REASON)
        for driver in {each[0] for each in wanted}:
            mine = {each for each in wanted if each[0] == driver}
            limits = storage.limits(driver)
            for position, slot in enumerate(nodes.slots(at)):
                limit = limits.get(nodes.names[slot])
                if limit is None or at_most.item(slot) + len(mine) <= limit:
                    continue
                present = cluster.pods_on.get(nodes.names[slot], {}).values()
                held = {each for other in present for each in _attached(other, storage) if each[0] == driver}
                if (new := mine - held) and len(held) + len(new) > limit:
                    ids[position] = verdict
        return ids

    def hint(self, pod: PodInfo, event: Event, changed: PodInfo | None, cluster: Cluster) -> bool:
        """A pod with volumes has gone."""
        return changed is None or bool(changed.spec.get("volumes"))


def _at_most(cluster: Cluster, at: At) -> NDArray[np.int64]:
    """How many volumes the pods of each slot can hold, whatever their claims are."""
    pods_on, names = cluster.pods_on, cluster.nodes.names
    counts = [sum(map(_volumes, pods_on.get(names[slot], {}).values())) for slot in cluster.nodes.slots(at)]
    return np.array(counts, np.int64)


def _volumes(pod: PodInfo) -> int:
    inline = pod.spec.get("volumes")
    return len(pod.claims) + sum("csi" in each for each in inline) if inline else 0


def _attached(pod: PodInfo, storage: Storage) -> Iterator[tuple[str, str]]:
    """(driver, volume) that the pod makes its node hold. A claim without a volume counts as one of its class's."""
    for each in pod.claims:
        claim = storage.claim(pod.namespace, each.name)
        if claim is None:
            continue
        volume = storage.volume(claims.volume_name(claim))
        source = part(part(volume, "spec"), "csi") if volume is not None else {}
        if source:
            yield text(source, "driver"), text(source, "volumeHandle")
        elif volume is None and (kind := storage.storage_class(claims.class_of(claim))) is not None:
            yield text(kind, "provisioner"), f"{pod.namespace}/{each.name}"
    for inline in parts(pod.spec, "volumes"):
        if source := part(inline, "csi"):
            yield text(source, "driver"), f"{pod.uid}/{text(inline, 'name')}"
