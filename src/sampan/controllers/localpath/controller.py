"""The shell of the provisioner: makes volumes for claims, and has the nodes take away what nobody needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple
from urllib.parse import quote

from sampan.api import objects
from sampan.api.errors import AlreadyExists, ApiError, NotFound, ServiceUnavailable
from sampan.api.reading import part
from sampan.api.resources import NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from sampan.api.storage import claims
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.client.keys import key_of
from sampan.controllers.context import Context
from sampan.controllers.localpath import plan

NAME: Final = "local-path-provisioner"
_COMPONENT: Final = "sampan.io/local-path"
_BY_HOST: Final = "local volume by its host"
_NODE_BY_HOST: Final = "node by its host name"


class Key(NamedTuple):
    kind: Literal["claim", "volume"]
    namespace: str
    name: str


class LocalPathProvisioner:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, _COMPONENT)
        self._claims = context.informers.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = context.informers.informer(PERSISTENT_VOLUMES)
        self._classes = context.informers.informer(STORAGE_CLASSES)
        self._nodes = context.informers.informer(NODES)
        self._volumes.add_index(_BY_HOST, lambda volume: [plan.host_of(volume)] if plan.is_ours(volume) else [])
        self._nodes.add_index(_NODE_BY_HOST, lambda node: [plan.host_name(node)])
        self._controller: Controller[Key] = Controller(
            NAME, self.sync, workers=10, informers=(self._classes, self._nodes)
        )
        self._controller.watch(self._claims, self._keys_of_claim)
        self._controller.watch(self._volumes, self._keys_of_volume)
        self._nodes.add_handler(self._node_changed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    def _keys_of_claim(self, claim: Obj) -> Iterable[Key]:
        if plan.is_wanted(claim, self._classes.get("", claims.class_of(claim))) or plan.asks_in_vain(claim):
            yield Key("claim", *key_of(claim))

    def _keys_of_volume(self, volume: Obj) -> Iterable[Key]:
        if plan.loses_data(volume) or plan.is_let_go(volume):
            yield Key("volume", "", objects.name(volume))

    def _node_changed(self, kind: ChangeType, node: Obj, previous: Obj | None) -> None:
        """A node that is back may have volumes that wait for it."""
        if kind == "ADDED":
            for volume in self._volumes.by_index(_BY_HOST, plan.host_name(node)):
                for key in self._keys_of_volume(volume):
                    self._controller.enqueue(key)

    async def sync(self, key: Key) -> Result:
        if key.kind == "claim":
            claim = self._claims.get(key.namespace, key.name)
            storage_class = None if claim is None else self._classes.get("", claims.class_of(claim))
            if claim is not None and storage_class is not None and plan.is_wanted(claim, storage_class):
                await self._provision(claim, storage_class)
            elif claim is not None and (why := plan.asks_in_vain(claim)):
                self._recorder.event(claim, "Warning", "VolumeModifyFailed", why)
            return DONE
        volume = self._volumes.get("", key.name)
        if volume is not None and plan.is_let_go(volume):
            await self._release(volume)
        elif volume is not None and plan.loses_data(volume):
            await self._delete(volume)
        return DONE

    # Making

    async def _provision(self, claim: Obj, storage_class: Obj) -> None:
        if self._volumes.get("", plan.volume_name(claim)) is not None:
            return
        if plan.awaits_populator(claim):
            told = "Assuming an external populator will provision the volume"
            self._recorder.event(claim, "Normal", "Provisioning", told)
            return
        chosen = claims.annotation(claim, claims.SELECTED_NODE) or ""
        node = self._nodes.get("", chosen)
        try:
            if not chosen:
                raise plan.Refused("no node is selected: the class needs volumeBindingMode WaitForFirstConsumer")
            if node is None:
                await self._reschedule(claim, f'node "{chosen}" not found')
                return
            volume = plan.render_volume(claim, storage_class, node)
        except plan.Refused as refused:
            text = f'failed to provision volume with StorageClass "{objects.name(storage_class)}": {refused}'
            self._recorder.event(claim, "Warning", "ProvisioningFailed", text)
            return
        told = f'External provisioner is provisioning volume for claim "{key_of(claim)}"'
        self._recorder.event(claim, "Normal", "Provisioning", told)
        try:
            await observe(self._volumes, await self._client.create(PERSISTENT_VOLUMES, volume))
        except AlreadyExists:
            return
        text = f"Successfully provisioned volume {objects.name(volume)}"
        self._recorder.event(claim, "Normal", "ProvisioningSucceeded", text)

    async def _reschedule(self, claim: Obj, why: str) -> None:
        """The scheduler chooses anew."""
        new: Obj = objects.copy_of(claim)
        del new["metadata"]["annotations"][claims.SELECTED_NODE]
        await observe(self._claims, await self._client.update(PERSISTENT_VOLUME_CLAIMS, new))
        name = claims.class_of(claim)
        text = f'failed to provision volume with StorageClass "{name}": {why}'
        self._recorder.event(claim, "Warning", "ProvisioningFailed", text)

    # Taking away

    async def _delete(self, volume: Obj) -> None:
        """Data first. Raises ApiError when the node does not do it: then it is tried again. What the informer shows may
        be old, and somebody may have kept the volume since: the server is asked before data goes."""
        name, uid = objects.name(volume), objects.uid(volume)
        try:
            volume = await self._client.get(PERSISTENT_VOLUMES, name)
        except NotFound:
            return
        if objects.uid(volume) != uid or not plan.loses_data(volume):
            return  # its news come
        try:
            await self._remove_directory(volume)
        except ApiError as error:
            self._recorder.event(volume, "Warning", "VolumeFailedDelete", error.message)
            raise
        if not objects.is_deleting(volume):
            try:
                await self._client.delete(PERSISTENT_VOLUMES, name, uid=uid)
                volume = await self._client.get(PERSISTENT_VOLUMES, name)
            except NotFound:
                return
        await self._release(volume)

    async def _release(self, volume: Obj) -> None:
        new = plan.without_finalizer(volume)
        if new is not None:
            try:
                await observe(self._volumes, await self._client.update(PERSISTENT_VOLUMES, new))
            except NotFound:
                pass

    async def _remove_directory(self, volume: Obj) -> None:
        """Raises ApiError, NotFound not among them."""
        host = plan.host_of(volume)
        node = next(iter(self._nodes.by_index(_NODE_BY_HOST, host)), None)
        if node is None:
            path = part(part(volume, "spec"), "local").get("path")
            raise ServiceUnavailable(f'node "{host}" is not there: the data of the volume stays in {path} until it is')
        if not plan.root_of(node):
            return
        where = f"/api/v1/nodes/{quote(objects.name(node), safe='')}/proxy/localvolumes/{objects.name(volume)}"
        await self._client.raw("DELETE", where)
