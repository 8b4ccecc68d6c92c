"""Makes volumes for claims and takes them away (kubernetes-csi/external-provisioner).

Safe to repeat at every point: the driver makes one volume for a name, and the name is the claim's UID. A call whose
outcome is not known is repeated until it is, even when the claim has gone meanwhile: else a volume would be left that
nobody knows of.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple, NoReturn

from sampan.api import objects
from sampan.api.clock import Clock, Random
from sampan.api.errors import AlreadyExists, NotFound, ServiceUnavailable
from sampan.api.reading import part, text
from sampan.api.resources import (
    CSI_NODES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    VOLUME_ATTRIBUTES_CLASSES,
)
from sampan.api.storage import attachments, snapshots
from sampan.api.storage import claims as claim_facts
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer, InformerFactory
from sampan.client.keys import key_of
from sampan.csi.errors import DriverError, Infeasible, Uncertain
from sampan.csi.pb import csi_pb2 as csi
from sampan.sidecars import claims, secrets, sources, topology
from sampan.sidecars.claims import Refused, Wanted
from sampan.sidecars.config import Driver, SidecarConfig
from sampan.sidecars.here import Here
from sampan.sidecars.topology import NodeTopology, NoTopology

log = logging.getLogger(__name__)

_WAITS: Final = "claim that waits for this driver, by its class"
_OF_VOLUME: Final = "attachment by its volume"
_CLONE_OF: Final = "claim that waits for the data of another, by that"


class Key(NamedTuple):
    kind: Literal["claim", "volume", "source"]
    namespace: str
    name: str


class _Asked(NamedTuple):
    claim: Obj
    storage_class: Obj
    wanted: Wanted


class Provisioner:
    def __init__(
        self,
        client: Client,
        informers: InformerFactory,
        driver: Driver,
        config: SidecarConfig,
        clock: Clock,
        random: Random,
    ) -> None:
        self._client, self._driver, self._config = client, driver, config
        stamp = int(clock.now().timestamp() * 1000)
        self._identity = f"{stamp}-{random.randrange(10000)}-{driver.name}"
        self._recorder = EventRecorder(client, f"{driver.name}_sidecar", "", clock)
        self._here = Here(informers, config.node)
        self._claims = informers.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = informers.informer(PERSISTENT_VOLUMES)
        self._classes = informers.informer(STORAGE_CLASSES)
        self._claims.add_index(_CLONE_OF, _clone_of)
        self._claims.add_index(_WAITS, self._class_of_waiting)
        waited = [self._classes, *([self._here.informer] if self._here.informer is not None else [])]
        self._topology = driver.topology and config.topology
        if self._topology:
            self._nodes, self._csi_nodes = informers.informer(NODES), informers.informer(CSI_NODES)
            waited += [self._nodes, self._csi_nodes]
        self._attachments: Informer | None = None
        if "PUBLISH_UNPUBLISH_VOLUME" in driver.controller:
            self._attachments = informers.informer(VOLUME_ATTACHMENTS)
            self._attachments.add_index(_OF_VOLUME, lambda each: (attachments.volume_of(each),))
            waited.append(self._attachments)
        self._controller: Controller[Key] = Controller(
            "csi-provisioner", self.sync, workers=config.workers, informers=waited
        )
        #: what was asked for claims of whose volumes it is not known whether they are there
        self._unsure: dict[Key, _Asked] = {}
        self._controller.watch(self._claims, self._keys_of_claim)
        self._controller.watch(self._volumes, self._keys_of_volume)
        self._controller.watch(self._classes, self._keys_of_class)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    def _keys_of_claim(self, claim: Obj) -> Iterable[Key]:
        key = Key("claim", *key_of(claim))
        # Whether it is wanted is asked later: its class may not be known yet.
        if key in self._unsure or claims.waits(claim, self._driver.name):
            yield key
        if (source := sources.of(claim)) is not None and sources.is_claim(source):
            yield Key("source", objects.namespace(claim), text(source, "name"))

    def _keys_of_class(self, storage_class: Obj) -> Iterable[Key]:
        if text(storage_class, "provisioner") == self._driver.name:
            for claim in self._claims.by_index(_WAITS, objects.name(storage_class)):
                yield Key("claim", *key_of(claim))

    def _keys_of_volume(self, volume: Obj) -> Iterable[Key]:
        if claims.is_ours(volume, self._driver.name) and (claims.loses_data(volume) or claims.is_let_go(volume)):
            yield Key("volume", "", objects.name(volume))

    def _class_of_waiting(self, claim: Obj) -> Iterable[str]:
        return (claim_facts.class_of(claim),) if claims.waits(claim, self._driver.name) else ()

    def _is_wanted(self, claim: Obj) -> bool:
        storage_class = self._classes.get("", claim_facts.class_of(claim))
        if not claims.is_wanted(claim, storage_class, self._driver.name):
            return False
        node = claim_facts.annotation(claim, claim_facts.SELECTED_NODE)
        return not self._config.node or node in (None, self._config.node)

    async def sync(self, key: Key) -> Result:
        if key.kind == "volume":
            await self._sync_volume(key.name)
        elif key.kind == "source":
            await self._release_source(key)
        else:
            claim, unsure = self._claims.get(key.namespace, key.name), self._unsure.get(key)
            if unsure is not None and (claim is None or objects.uid(claim) != objects.uid(unsure.claim)):
                await self._provision(key, unsure.claim)
                claim = self._claims.get(key.namespace, key.name)
            if claim is not None and (self._is_wanted(claim) or key in self._unsure):
                await self._provision(key, claim)
        return DONE

    # Making

    async def _provision(self, key: Key, claim: Obj) -> None:
        name = f"{self._config.volume_prefix}-{objects.uid(claim)}"
        storage_class = self._classes.get("", claim_facts.class_of(claim))
        if storage_class is None and key in self._unsure:
            storage_class = self._unsure[key].storage_class  # it has gone, and the volume may be there
        if storage_class is None or self._volumes.get("", name) is not None:
            self._unsure.pop(key, None)
            return
        if (source := sources.of(claim)) is not None and sources.is_of_a_populator(source):
            told = "Assuming an external populator will provision the volume"
            self._recorder.event(claim, "Normal", "Provisioning", told)
            return
        if self._config.node and not claim_facts.annotation(claim, claim_facts.SELECTED_NODE):
            await self._claim_for_here(claim)
            return
        try:
            wanted = claims.read(claim, storage_class, self._driver, self._config)
            await self._complete(claim, storage_class, wanted)
        except (Refused, NoTopology, ValueError) as refused:
            if key not in self._unsure:
                self._fail(claim, storage_class, str(refused))
            wanted = self._unsure[key].wanted  # what it is made of may have gone, and the volume be there
        told = f'External provisioner is provisioning volume for claim "{"/".join(key_of(claim))}"'
        self._recorder.event(claim, "Normal", "Provisioning", told)
        was_unsure = key in self._unsure
        self._unsure[key] = _Asked(claim, storage_class, wanted)
        try:
            made = (await self._ask("CreateVolume", wanted.request)).volume
        except DriverError as error:
            words = f"{error}"
            if error.code == "ResourceExhausted" and claim_facts.annotation(claim, claim_facts.SELECTED_NODE):
                self._unsure.pop(key, None)
                await self._reschedule(claim)
            elif isinstance(error, Infeasible) or not (was_unsure or isinstance(error, Uncertain)):
                # A call before this one may have made it: then only an answer ends the doubt.
                self._unsure.pop(key, None)
            self._fail(claim, storage_class, words)
        problem = self._problem(wanted, made)
        if problem:
            await self._ask("DeleteVolume", csi.DeleteVolumeRequest(volume_id=made.volume_id), wanted.request.secrets)
            self._unsure.pop(key, None)
            self._fail(claim, storage_class, problem)
        volume = claims.render_volume(claim, storage_class, wanted, made, self._driver.name, self._identity)
        try:
            await observe(self._volumes, await self._client.create(PERSISTENT_VOLUMES, volume))
        except AlreadyExists:
            pass
        self._unsure.pop(key, None)
        self._recorder.event(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {wanted.name}")

    @staticmethod
    def _problem(wanted: Wanted, made: Any) -> str:
        """Why what the driver made is not what was asked for."""
        asked = wanted.request.capacity_range.required_bytes
        if made.capacity_bytes and made.capacity_bytes < asked:
            return f"created volume capacity {made.capacity_bytes} less than requested capacity {asked}"
        source = wanted.request.volume_content_source
        if source.WhichOneof("type") and made.content_source != source:
            return "volume content source missing" if not made.HasField("content_source") else "of another source"
        return ""

    async def _complete(self, claim: Obj, storage_class: Obj, wanted: Wanted) -> None:
        """Topology, source and secrets. Raises Refused, NoTopology, ValueError, ApiError."""
        if self._topology and (where := self._where(claim, storage_class, wanted.name)) is not None:
            wanted.request.accessibility_requirements.CopyFrom(where)
        if (source := sources.of(claim)) is not None:
            wanted.request.volume_content_source.CopyFrom(await self._content(claim, source))
        if wanted.attributes:
            found = await self._find(VOLUME_ATTRIBUTES_CLASSES, wanted.attributes)
            wanted.request.mutable_parameters.update(claims.mutable(wanted.attributes, found, self._driver.name))
        wanted.request.secrets.update(await secrets.read(self._client, wanted.provisioner))

    def _where(self, claim: Obj, storage_class: Obj, name: str) -> Any:
        chosen = claim_facts.annotation(claim, claim_facts.SELECTED_NODE)
        selected: NodeTopology | None = None
        if chosen:
            node, csi_node = self._nodes.get("", chosen), self._csi_nodes.get("", chosen)
            selected = None if node is None else topology.of_node(node, csi_node, self._driver.name)
            if selected is None:
                if not topology.keys_of(csi_node, self._driver.name):
                    raise NoTopology(f"no topology key found on CSINode {chosen}")
                raise NoTopology(f"error getting topology labels of selected node {chosen}")
        strict = self._config.strict_topology or bool(self._config.node)
        everywhere = () if strict and selected is not None else self._everywhere()
        return topology.requirement(everywhere, storage_class, selected, name, strict=strict)

    def _everywhere(self) -> Iterable[NodeTopology]:
        for csi_node in self._csi_nodes.list():
            node = self._nodes.get("", objects.name(csi_node))
            if node is not None and (found := topology.of_node(node, csi_node, self._driver.name)) is not None:
                yield found

    async def _content(self, claim: Obj, source: Obj) -> Any:
        """Raises Refused, ApiError."""
        name, namespace = text(source, "name"), objects.namespace(claim)
        sources.check_place(source, claim)
        if sources.is_snapshot(source):
            snapshot, content = await self._find(snapshots.VOLUME_SNAPSHOTS, name, namespace), None
            if snapshot is not None and (bound := snapshots.bound_content(snapshot)):
                content = await self._find(snapshots.VOLUME_SNAPSHOT_CONTENTS, bound)
            return sources.from_snapshot(claim, snapshot, content, name, self._driver.name)
        if not sources.is_claim(source):
            raise Refused(f"the PVC source does not belong to the right APIGroup: {text(source, 'apiGroup') or 'core'}")
        origin = self._claims.get(namespace, name)
        volume = None if origin is None else self._volumes.get("", claim_facts.volume_name(origin))
        found = sources.from_claim(claim, origin, volume, name, self._driver.name)
        assert origin is not None, "it has been looked at"
        if sources.CLONING not in objects.finalizers(origin):
            await self._set_finalizers(origin, [*objects.finalizers(origin), sources.CLONING])
        return found

    async def _find(self, resource: Any, name: str, namespace: str | None = None) -> Obj | None:
        try:
            return await self._client.get(resource, name, namespace)
        except NotFound:
            return None

    async def _claim_for_here(self, claim: Obj) -> None:
        """Of a class that binds at once: the first sidecar to write its node's name has it."""
        new: Obj = objects.copy_of(claim)
        annotations: Obj = new["metadata"].setdefault("annotations", {})
        annotations[claim_facts.SELECTED_NODE] = self._config.node
        await observe(self._claims, await self._client.update(PERSISTENT_VOLUME_CLAIMS, new))

    async def _reschedule(self, claim: Obj) -> None:
        """The scheduler chooses another node."""
        new: Obj = objects.copy_of(claim)
        del new["metadata"]["annotations"][claim_facts.SELECTED_NODE]
        await observe(self._claims, await self._client.update(PERSISTENT_VOLUME_CLAIMS, new))

    def _fail(self, claim: Obj, storage_class: Obj, why: str) -> NoReturn:
        words = f'failed to provision volume with StorageClass "{objects.name(storage_class)}": {why}'
        self._recorder.event(claim, "Warning", "ProvisioningFailed", words)
        raise ServiceUnavailable(words)

    async def _ask(self, call: str, request: Any, with_secrets: Mapping[str, str] | None = None) -> Any:
        if with_secrets:
            request.secrets.update(with_secrets)
        return await self._driver.client.controller(call, request, self._config.timeout_seconds)

    # Letting sources go

    async def _release_source(self, key: Key) -> None:
        source = self._claims.get(key.namespace, key.name)
        if source is None or sources.CLONING not in objects.finalizers(source):
            return
        if not self._claims.count(_CLONE_OF, f"{key.namespace}/{key.name}"):
            left = [each for each in objects.finalizers(source) if each != sources.CLONING]
            await self._set_finalizers(source, left)

    async def _set_finalizers(self, claim: Obj, finalizers: list[str]) -> None:
        new: Obj = objects.copy_of(claim)
        new["metadata"]["finalizers"] = finalizers
        await observe(self._claims, await self._client.update(PERSISTENT_VOLUME_CLAIMS, new))

    # Taking away

    async def _sync_volume(self, name: str) -> None:
        known = self._volumes.get("", name)
        if known is None or not claims.is_ours(known, self._driver.name) or not self._here.reaches(known):
            return
        # What the informer shows may be old, and somebody may have kept the volume since.
        volume = await self._find(PERSISTENT_VOLUMES, name)
        if volume is None or objects.uid(volume) != objects.uid(known):
            return
        if claims.loses_data(volume):
            await self._delete(volume)
        elif claims.is_let_go(volume):
            await self._let_go(volume)

    async def _delete(self, volume: Obj) -> None:
        name = objects.name(volume)
        handle = text(part(part(volume, "spec"), "csi"), "volumeHandle")
        if self._attachments is not None and (left := self._attachments.by_index(_OF_VOLUME, name)):
            where = text(part(left[0], "spec"), "nodeName")
            words = f"persistentvolume {name} is still attached to node {where}"
            self._recorder.event(volume, "Warning", "VolumeFailedDelete", words)
            raise ServiceUnavailable(words)
        try:
            found = await secrets.read(self._client, claims.deletion_secret(volume))
            await self._ask("DeleteVolume", csi.DeleteVolumeRequest(volume_id=handle), found)
        except (DriverError, ValueError) as error:
            words = str(error)
            self._recorder.event(volume, "Warning", "VolumeFailedDelete", words)
            raise ServiceUnavailable(f"volume {name} is not deleted: {words}") from None
        if not objects.is_deleting(volume):
            try:
                await self._client.delete(PERSISTENT_VOLUMES, name, uid=objects.uid(volume))
            except NotFound:
                return
        await self._let_go(volume)

    async def _let_go(self, volume: Obj) -> None:
        current = await self._find(PERSISTENT_VOLUMES, objects.name(volume))
        if current is None or objects.uid(current) != objects.uid(volume):
            return
        left = [each for each in objects.finalizers(current) if each != claims.FINALIZER]
        if len(left) == len(objects.finalizers(current)):
            return
        meta = {"resourceVersion": objects.resource_version(current), "finalizers": left or None}
        try:
            await self._client.patch(PERSISTENT_VOLUMES, objects.name(volume), {"metadata": meta})
        except NotFound:
            pass


def _clone_of(claim: Obj) -> Iterable[str]:
    source = sources.of(claim)
    if source is None or not sources.is_claim(source) or claim_facts.volume_name(claim) or objects.is_deleting(claim):
        return ()
    return (f"{objects.namespace(claim)}/{text(source, 'name')}",)
