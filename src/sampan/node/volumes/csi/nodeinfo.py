"""What the API knows of this node's drivers: its CSINode, and on its Node an annotation and labels of topology.

Used by ``handler``. Changes are made one after the other; what is as it should be is not written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson

from sampan.api import objects
from sampan.api.errors import AlreadyExists, NotFound
from sampan.api.reading import part, parts, text, text_map
from sampan.api.resources import CSI_NODES, NODES
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.records import dataclass

NODE_IDS: Final = "csi.volume.kubernetes.io/nodeid"
_MOST_VOLUMES: Final = (1 << 31) - 1


class InfoRefused(Exception):
    """What the driver says of the node cannot be told of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverInfo:
    """A driver's answer to NodeGetInfo. ``most_volumes`` 0: no limit."""

    name: str
    node_id: str
    most_volumes: int
    topology: Mapping[str, str]

    def entry(self) -> Obj:
        """In the CSINode. Pure."""
        found: Obj = {"name": self.name, "nodeID": self.node_id, "topologyKeys": sorted(self.topology) or None}
        if self.most_volumes > 0:
            found["allocatable"] = {"count": min(self.most_volumes, _MOST_VOLUMES)}
        return found


def plan_node_patch(node: Obj, info: DriverInfo) -> Obj:
    """Pure. {}: the Node says it already. Raises InfoRefused."""
    labels = text_map(part(node, "metadata"), "labels")
    for key, value in info.topology.items():
        if labels.get(key, value) != value:
            raise InfoRefused(
                f'detected topology value collision: driver reported "{key}":"{value}"'
                f' but existing label is "{key}":"{labels[key]}"'
            )
    patch: Obj = {}
    ids = node_ids(node)
    if ids.get(info.name) != info.node_id:
        patch["annotations"] = {NODE_IDS: _encoded({**ids, info.name: info.node_id})}
    if missing := {key: value for key, value in info.topology.items() if key not in labels}:
        patch["labels"] = missing
    return {"metadata": patch} if patch else {}


def node_ids(node: Obj) -> dict[str, str]:
    """By driver, as the Node says. Pure."""
    try:
        found: Any = orjson.loads(text(part(part(node, "metadata"), "annotations"), NODE_IDS) or "{}")
    except orjson.JSONDecodeError:
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def _encoded(ids: Mapping[str, str]) -> str:
    return orjson.dumps(ids, option=orjson.OPT_SORT_KEYS).decode()


class NodeInfo:
    def __init__(self, client: Client, node_name: str) -> None:
        self._client = client
        self._node = node_name
        self._turn = asyncio.Lock()

    async def ensure(self) -> None:
        """There is a CSINode. Raises ApiError; NotFound when there is no Node."""
        async with self._turn:
            await self._csi_node()

    async def install(self, info: DriverInfo) -> None:
        """Raises InfoRefused, ApiError."""
        if not info.node_id:
            raise InfoRefused("error adding CSI driver node info: driverNodeID must not be empty")
        async with self._turn:
            node = await self._client.get(NODES, self._node)
            if patch := plan_node_patch(node, info):
                await self._client.patch(NODES, self._node, patch)
            await self._enter(info)

    async def uninstall(self, driver: str) -> None:
        """Topology labels stay, as upstream's. Raises ApiError."""
        async with self._turn:
            try:
                found = await self._client.get(CSI_NODES, self._node)
                drivers = list(parts(part(found, "spec"), "drivers"))
                if any(each.get("name") == driver for each in drivers):
                    await self._write(found, [each for each in drivers if each.get("name") != driver])
                node = await self._client.get(NODES, self._node)
            except NotFound:
                return
            ids = node_ids(node)
            if ids.pop(driver, None) is not None:
                annotations = {NODE_IDS: _encoded(ids) if ids else None}
                await self._client.patch(NODES, self._node, {"metadata": {"annotations": annotations}})

    async def _enter(self, info: DriverInfo) -> None:
        found = await self._csi_node()
        drivers = list(parts(part(found, "spec"), "drivers"))
        present = next((each for each in drivers if each.get("name") == info.name), None)
        entry = info.entry()
        if present is not None and _same(present, entry):
            return
        others = [each for each in drivers if each.get("name") != info.name]
        if present is not None and not _same({**present, "allocatable": None}, {**entry, "allocatable": None}):
            found = await self._write(found, others)  # who a driver is does not change: it goes, and comes anew
        await self._write(found, [*others, entry])

    async def _csi_node(self) -> Obj:
        try:
            return await self._client.get(CSI_NODES, self._node)
        except NotFound:
            pass
        node = await self._client.get(NODES, self._node)
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": objects.uid(node)}
        made: Obj = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSINode",
            "metadata": {"name": self._node, "ownerReferences": [owner]},
            "spec": {"drivers": []},
        }
        try:
            return await self._client.create(CSI_NODES, made)
        except AlreadyExists:
            return await self._client.get(CSI_NODES, self._node)

    async def _write(self, found: Obj, drivers: list[Obj]) -> Obj:
        return await self._client.update(CSI_NODES, {**found, "spec": {**part(found, "spec"), "drivers": drivers}})


def _same(one: Obj, other: Obj) -> bool:
    keys = {*one, *other}
    return all((one.get(key) or None) == (other.get(key) or None) for key in keys)
