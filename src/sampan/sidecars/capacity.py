"""Publishes how much room a driver has: a CSIStorageCapacity for each of its classes and topologies (KEP-1472).

Asked of the driver every minute, and soon after volumes came or went. Objects that nobody wants any more are deleted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from typing import Any, Final

from sampan.api import objects, quantity
from sampan.api.errors import AlreadyExists, ApiError, NotFound
from sampan.api.reading import part, text, text_map
from sampan.api.resources import CSI_NODES, CSI_STORAGE_CAPACITIES, NODES, PERSISTENT_VOLUMES, STORAGE_CLASSES
from sampan.api.storage import secretrefs
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.csi.errors import DriverError
from sampan.csi.pb import csi_pb2 as csi
from sampan.sidecars import topology
from sampan.sidecars.config import Driver, SidecarConfig
from sampan.sidecars.topology import Segments

log = logging.getLogger(__name__)

DRIVER_LABEL: Final = "csi.storage.k8s.io/drivername"
MANAGER_LABEL: Final = "csi.storage.k8s.io/managed-by"
#: after a change, more of them may come
_SETTLE_SECONDS: Final = 1.0


def render(driver: str, manager: str, config: SidecarConfig, storage_class: str, where: Segments, told: Any) -> Obj:
    """Pure."""
    words = "/".join((driver, manager, storage_class, *(f"{key}={value}" for key, value in where)))
    meta: Obj = {
        "name": f"csisc-{hashlib.sha256(words.encode()).hexdigest()[:10]}",
        "namespace": config.namespace,
        "labels": {DRIVER_LABEL: driver, MANAGER_LABEL: manager},
    }
    if config.owner:
        meta["ownerReferences"] = [config.owner]
    found: Obj = {
        "kind": "CSIStorageCapacity",
        "apiVersion": CSI_STORAGE_CAPACITIES.api_version,
        "metadata": meta,
        "storageClassName": storage_class,
        "nodeTopology": {"matchLabels": dict(where)},
        "capacity": quantity.format_quantity(told.available_capacity, "BinarySI"),
    }
    if told.HasField("maximum_volume_size"):
        found["maximumVolumeSize"] = quantity.format_quantity(told.maximum_volume_size.value, "BinarySI")
    return found


class CapacityPublisher:
    def __init__(self, client: Client, informers: InformerFactory, driver: Driver, config: SidecarConfig) -> None:
        self._client, self._driver, self._config = client, driver, config
        self._manager = f"external-provisioner-{config.node}" if config.node else "external-provisioner"
        self._nodes, self._csi_nodes = informers.informer(NODES), informers.informer(CSI_NODES)
        self._classes, self._volumes = informers.informer(STORAGE_CLASSES), informers.informer(PERSISTENT_VOLUMES)
        self._changed = asyncio.Event()
        for informer in (self._classes, self._volumes, self._csi_nodes):
            informer.add_handler(lambda *change: self._changed.set())

    async def run(self) -> None:
        for informer in (self._nodes, self._csi_nodes, self._classes, self._volumes):
            await informer.synced()
        while True:
            self._changed.clear()
            try:
                await self.publish()
            except (ApiError, DriverError) as error:
                words = error.message if isinstance(error, ApiError) else str(error)
                log.warning("the capacity of %s is not published: %s", self._driver.name, words)
            try:
                async with asyncio.timeout(self._config.capacity_seconds):
                    await self._changed.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(_SETTLE_SECONDS)

    async def publish(self) -> None:
        """Raises ApiError, DriverError."""
        wanted = {objects.name(each): each async for each in self._wanted()}
        selector = f"{DRIVER_LABEL}={self._driver.name},{MANAGER_LABEL}={self._manager}"
        listed = await self._client.list(CSI_STORAGE_CAPACITIES, self._config.namespace, label_selector=selector)
        present = {objects.name(each): each for each in listed.get("items") or ()}
        for name in present.keys() - wanted.keys():
            try:
                await self._client.delete(CSI_STORAGE_CAPACITIES, name, self._config.namespace)
            except NotFound:
                pass
        for name, each in wanted.items():
            if name not in present:
                try:
                    await self._client.create(CSI_STORAGE_CAPACITIES, each)
                except AlreadyExists:
                    pass
            elif any(present[name].get(key) != each.get(key) for key in ("capacity", "maximumVolumeSize")):
                version = {"resourceVersion": objects.resource_version(present[name])}
                body = {**each, "metadata": {**each["metadata"], **version}}
                await self._client.update(CSI_STORAGE_CAPACITIES, body)

    async def _wanted(self) -> Any:
        places = sorted(set(self._places()))
        for storage_class in self._classes.list():
            if text(storage_class, "provisioner") != self._driver.name:
                continue
            parameters = secretrefs.of_driver(text_map(storage_class, "parameters"))
            parameters.pop("fstype", None)
            for where in places:
                request = csi.GetCapacityRequest(
                    parameters=parameters, accessible_topology=csi.Topology(segments=dict(where))
                )
                told = await self._driver.client.controller("GetCapacity", request, self._config.timeout_seconds)
                name = objects.name(storage_class)
                yield render(self._driver.name, self._manager, self._config, name, where, told)

    def _places(self) -> Iterator[Segments]:
        names = [self._config.node] if self._config.node else [objects.name(each) for each in self._csi_nodes.list()]
        for name in names:
            node = self._nodes.get("", name)
            found = None if node is None else topology.of_node(node, self._csi_nodes.get("", name), self._driver.name)
            if found is not None:
                yield found.segments


def owner_of(pod: Obj) -> Obj:
    """A reference to a pod, so that what it publishes goes with it. Pure."""
    meta = part(pod, "metadata")
    return {"apiVersion": "v1", "kind": "Pod", "name": text(meta, "name"), "uid": text(meta, "uid")}
