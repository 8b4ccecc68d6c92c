"""PodTopologyLabels: a pod gets its node's zone and region as labels when it is bound (KEP-4742)."""

from __future__ import annotations

from typing import Final

from sampan.api.reading import part, text, text_map
from sampan.api.resources import NODES
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin
from sampan.server.attributes import AdmissionAttributes
from sampan.server.reader import ObjectReader

TOPOLOGY: Final = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(Plugin):
    name = "PodTopologyLabels"
    resources = frozenset({("", "pods")})

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def admit(self, attributes: AdmissionAttributes) -> None:
        obj = attributes.obj
        if obj is None or attributes.operation != "CREATE":
            return
        if attributes.subresource == "binding":
            target = part(obj, "target")
            if text(target, "kind") in ("", "Node"):
                self._copy(text(target, "name"), obj)
        elif not attributes.subresource and (node := text(part(obj, "spec"), "nodeName")):
            self._copy(node, obj)

    def _copy(self, node: str, obj: Obj) -> None:
        labels = self._labels_of(node) if node else {}
        if labels and isinstance(obj.get("metadata"), dict):
            obj["metadata"]["labels"] = {**text_map(obj["metadata"], "labels"), **labels}

    def _labels_of(self, node: str) -> dict[str, str]:
        found = text_map(part(self._reader.get(NODES, None, node), "metadata"), "labels")
        return {key: found[key] for key in TOPOLOGY if key in found}
