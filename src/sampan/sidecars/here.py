"""Whose volumes and snapshots this sidecar works on: all of its driver's, or those that its own node reaches."""

from __future__ import annotations

from sampan.api.reading import text_map
from sampan.api.resources import NODES
from sampan.api.storage import volumes
from sampan.api.types import Obj
from sampan.client.informer import Informer, InformerFactory


class Here:
    """``node`` "": everything."""

    def __init__(self, informers: InformerFactory, node: str) -> None:
        self.node = node
        self.informer: Informer | None = (
            informers.informer(NODES, field_selector=f"metadata.name={node}") if node else None
        )

    def reaches(self, volume: Obj) -> bool:
        if self.informer is None:
            return True
        own = self.informer.get("", self.node)
        return own is not None and volumes.is_reachable(volume, text_map(own.get("metadata"), "labels"), self.node)
