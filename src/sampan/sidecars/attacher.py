"""Answers VolumeAttachments of a driver (kubernetes-csi/external-attacher): asks it to attach and to detach.

A finalizer is on the attachment and on its volume before the driver is asked, so that whatever became of the question
is undone before either goes. A driver that attaches nothing has its attachments answered at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from sampan.api import objects
from sampan.api.clock import Clock, format_time
from sampan.api.errors import ApiError, NotFound, ServiceUnavailable
from sampan.api.reading import part, parts, text, text_map, texts
from sampan.api.resources import CSI_NODES, PERSISTENT_VOLUMES, VOLUME_ATTACHMENTS
from sampan.api.storage import attachments, claims
from sampan.api.storage.secretrefs import SecretRef
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import InformerFactory
from sampan.csi.errors import DriverError
from sampan.csi.pb import csi_pb2 as csi
from sampan.sidecars import secrets
from sampan.sidecars.claims import Refused, capability
from sampan.sidecars.config import Driver, SidecarConfig

NODE_ID: Final = "csi.alpha.kubernetes.io/node-id"
_BY_VOLUME: Final = "attachment by volume"
_BY_DRIVER: Final = "volume by driver"
_PUBLISHES: Final = "PUBLISH_UNPUBLISH_VOLUME"
_LONGEST_MESSAGE: Final = 1024


def finalizer(driver: str) -> str:
    """Of the driver's attachments and their volumes. Pure."""
    name = re.sub(r"[^a-zA-Z0-9-]", "-", driver)
    return "external-attacher/" + (name + "X" if name.endswith("-") else name)


class Attacher:
    def __init__(
        self, client: Client, informers: InformerFactory, driver: Driver, config: SidecarConfig, clock: Clock
    ) -> None:
        self._client, self._driver, self._config, self._clock = client, driver, config, clock
        self._finalizer = finalizer(driver.name)
        self._attachments = informers.informer(VOLUME_ATTACHMENTS)
        self._volumes = informers.informer(PERSISTENT_VOLUMES)
        self._nodes = informers.informer(CSI_NODES)
        self._attachments.add_index(_BY_VOLUME, lambda each: [attachments.volume_of(each)])
        self._controller: Controller[tuple[str, str]] = Controller(
            "csi-attacher", self.sync, workers=config.workers, informers=(self._nodes,)
        )
        self._controller.watch(self._attachments, self._keys)
        self._controller.watch(self._volumes, self._keys_of_volume)

    async def run(self) -> None:
        await self._controller.run()

    def _keys(self, attachment: Obj) -> Iterable[tuple[str, str]]:
        if text(part(attachment, "spec"), "attacher") == self._driver.name:
            yield "attachment", objects.name(attachment)
            yield "volume", attachments.volume_of(attachment)

    def _keys_of_volume(self, volume: Obj) -> Iterable[tuple[str, str]]:
        if objects.is_deleting(volume) and self._finalizer in objects.finalizers(volume):
            yield "volume", objects.name(volume)

    async def sync(self, key: tuple[str, str]) -> Result:
        kind, name = key
        try:
            if kind == "volume":
                await self._release(name)
                return DONE
            found = self._attachments.get("", name)
            if found is None or text(part(found, "spec"), "attacher") != self._driver.name:
                return DONE
            if objects.is_deleting(found):
                await self._detach(found)
            elif not attachments.is_attached(found):
                await self._attach(found)
        except NotFound:
            pass
        return DONE

    # Attaching

    async def _attach(self, found: Obj) -> None:
        try:
            context = await self._published(found) if _PUBLISHES in self._driver.controller else {}
        except (DriverError, Refused, ValueError) as error:
            await self._answer(found, {"attached": False, "attachError": self._error(error)})
            raise ServiceUnavailable(f"attachment {objects.name(found)}: {error}") from None
        await self._answer(found, {"attached": True, "attachmentMetadata": context or None, "attachError": None})

    async def _published(self, found: Obj) -> dict[str, str]:
        volume = self._volume(found)
        if objects.is_deleting(volume) and self._finalizer not in objects.finalizers(volume):
            raise Refused(f"PersistentVolume {objects.name(volume)} is marked for deletion")
        node_id = self._node_id(attachments.node_of(found))
        await self._hold(PERSISTENT_VOLUMES, self._volumes, volume)
        await self._hold(VOLUME_ATTACHMENTS, self._attachments, found, {NODE_ID: node_id})
        spec = part(volume, "spec")
        source = part(spec, "csi")
        request = csi.ControllerPublishVolumeRequest(
            volume_id=text(source, "volumeHandle"),
            node_id=node_id,
            volume_capability=capability(
                next(texts(spec, "accessModes"), "ReadWriteOnce"),
                claims.volume_mode(volume) == "Block",
                text(source, "fsType"),
                list(texts(spec, "mountOptions")),
                self._driver,
            ),
            readonly=source.get("readOnly") is True and "PUBLISH_READONLY" in self._driver.controller,
            volume_context=text_map(source, "volumeAttributes"),
            secrets=await self._secrets(source),
        )
        answer: Any = await self._ask("ControllerPublishVolume", request)
        return dict(answer.publish_context)

    # Detaching

    async def _detach(self, found: Obj) -> None:
        if self._finalizer not in objects.finalizers(found):
            return
        if _PUBLISHES in self._driver.controller:
            try:
                volume = self._volume(found)
                source = part(part(volume, "spec"), "csi")
                node_id = objects.annotations(found).get(NODE_ID) or self._node_id(attachments.node_of(found))
                request = csi.ControllerUnpublishVolumeRequest(
                    volume_id=text(source, "volumeHandle"), node_id=node_id, secrets=await self._secrets(source)
                )
                await self._ask("ControllerUnpublishVolume", request)
            except (DriverError, Refused, ValueError) as error:
                await self._answer(found, {"detachError": self._error(error)})
                raise ServiceUnavailable(f"attachment {objects.name(found)}: {error}") from None
        if attachments.is_attached(found):
            found = await self._answer(found, {"attached": False, "attachmentMetadata": None, "detachError": None})
        await self._let_go(VOLUME_ATTACHMENTS, self._attachments, found)

    async def _release(self, name: str) -> None:
        """A volume that is being deleted is held until nothing of it is attached."""
        volume = self._volumes.get("", name)
        if volume is None or not objects.is_deleting(volume) or self._finalizer not in objects.finalizers(volume):
            return
        if not self._attachments.by_index(_BY_VOLUME, name):
            await self._let_go(PERSISTENT_VOLUMES, self._volumes, volume)

    # Parts

    def _volume(self, found: Obj) -> Obj:
        """Raises Refused."""
        name = attachments.volume_of(found)
        volume = self._volumes.get("", name) if name else None
        if volume is None:
            raise Refused(f'persistentvolume "{name}" not found')
        return volume

    def _node_id(self, node: str) -> str:
        """Raises Refused."""
        drivers = parts(part(self._nodes.get("", node) or {}, "spec"), "drivers")
        for each in drivers:
            if text(each, "name") == self._driver.name:
                return text(each, "nodeID")
        raise Refused(f"CSINode {node} does not contain driver {self._driver.name}")

    async def _secrets(self, source: Obj) -> dict[str, str]:
        """Raises ApiError, ValueError."""
        reference = part(source, "controllerPublishSecretRef")
        found = SecretRef(text(reference, "namespace"), text(reference, "name")) if reference else None
        try:
            return await secrets.read(self._client, found)
        except secrets.NoSecret as error:
            raise ValueError(f"failed to load secret: {error}") from None

    async def _ask(self, call: str, request: Any) -> Any:
        return await self._driver.client.controller(call, request, self._config.timeout_seconds)

    def _error(self, error: Exception) -> Obj:
        message = str(error).encode()[:_LONGEST_MESSAGE].decode(errors="ignore")
        return {"message": message, "time": format_time(self._clock.now())}

    async def _answer(self, found: Obj, status: Obj) -> Obj:
        name = objects.name(found)
        written = await self._client.patch(VOLUME_ATTACHMENTS, name, {"status": status}, subresource="status")
        await observe(self._attachments, written)
        return written

    async def _hold(self, resource: Any, informer: Any, obj: Obj, annotations: dict[str, str] | None = None) -> None:
        present, has = list(objects.finalizers(obj)), objects.annotations(obj)
        meta: Obj = {}
        if self._finalizer not in present:
            meta["finalizers"] = [*present, self._finalizer]
        if any(has.get(key) != value for key, value in (annotations or {}).items()):
            meta["annotations"] = annotations
        if meta:
            await self._patch_meta(resource, informer, obj, meta)

    async def _let_go(self, resource: Any, informer: Any, obj: Obj) -> None:
        left = [each for each in objects.finalizers(obj) if each != self._finalizer]
        await self._patch_meta(resource, informer, obj, {"finalizers": left or None})

    async def _patch_meta(self, resource: Any, informer: Any, obj: Obj, meta: Obj) -> None:
        """With the resourceVersion seen, so that nobody's finalizer is lost."""
        body = {"metadata": {"resourceVersion": objects.resource_version(obj), **meta}}
        try:
            await observe(informer, await self._client.patch(resource, objects.name(obj), body))
        except ApiError as error:
            if not (isinstance(error, NotFound) and objects.is_deleting(obj)):
                raise
