"""ImageLocality: nodes that hold the pod's images already, weighted by their size and how widely they are spread."""

from __future__ import annotations

import numpy as np

from sampan.scheduler.arrays import At, Floats
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import MAX_NODE_SCORE, CycleState
from sampan.scheduler.plugins.base import LocalScore
from sampan.scheduler.podinfo import PodInfo

MIN_BYTES = 23 * 1024 * 1024
MAX_BYTES_PER_CONTAINER = 1000 * 1024 * 1024


class ImageLocality(LocalScore):
    name = "ImageLocality"
    usage = False

    def pre_score(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> bool:
        return any(image in cluster.nodes.images for image in pod.images)

    def score(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Floats:
        nodes = cluster.nodes
        total = np.zeros(nodes.size)
        for image in pod.images:
            size, slots = nodes.images.get(image, (0, set()))
            if slots:
                # A scarce image counts less, or all pods of it would go where it happens to be.
                total[list(slots)] += int(size * (len(slots) / nodes.count))
        highest = MAX_BYTES_PER_CONTAINER * max(len(pod.images), 1)
        bounded = np.clip(total[at], MIN_BYTES, highest)
        return np.floor(MAX_NODE_SCORE * (bounded - MIN_BYTES) / (highest - MIN_BYTES))
