"""VolumeZone: a volume whose labels name zones or regions is used in them."""

from __future__ import annotations

from typing import Final

import numpy as np

from sampan.api.reading import part, text_map
from sampan.api.storage import claims
from sampan.scheduler.arrays import At, Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import SKIP, SUCCESS, Code, CycleState, Event, Status
from sampan.scheduler.podinfo import PodInfo

_REASON: Final = "node(s) had no available volume zone"
#: a label of a volume -> the labels of nodes that say the same
_LABELS: Final = {
    "topology.kubernetes.io/zone": ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
    "topology.kubernetes.io/region": ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": (
        "failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone",
    ),
    "failure-domain.beta.kubernetes.io/region": (
        "failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region",
    ),
}  # fmt: skip


class VolumeZone:
    name = "VolumeZone"
    local = False
    only_with = "volumes"
    wakes = frozenset((Event.NODE_ADD, Event.NODE_UPDATE))

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        """Claims without a volume are VolumeBinding's to judge."""
        wanted: list[tuple[str, frozenset[str]]] = []
        for each in pod.claims:
            claim = cluster.storage.claim(pod.namespace, each.name)
            volume = None if claim is None else cluster.storage.volume(claims.volume_name(claim))
            if volume is None:
                continue
            labels = text_map(part(volume, "metadata"), "labels")
            # A volume of several zones names them in one value, joined.
            wanted += [(key, frozenset(labels[key].split("__"))) for key in _LABELS if key in labels]
        if not wanted:
            return SKIP
        state.data[self.name] = wanted
        return SUCCESS

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        nodes = cluster.nodes
        zoned = np.zeros(nodes.length(at), np.bool_)
        for key in _LABELS:
            zoned |= nodes.where_label(key, lambda value: value is not None, at)
        ids = np.zeros(len(zoned), np.int32)
        for key, allowed in state.data[self.name]:
            here = np.zeros(len(zoned), np.bool_)
            for label in _LABELS[key]:
                here |= nodes.where_label(label, allowed.__contains__, at)
            # A cluster of one zone has no labels: then nothing speaks against the node.
            ids[zoned & ~here] = cluster.verdicts.id(self.name, Code.UNRESOLVABLE, _REASON)
        return ids
