"""The attachdetach-controller: VolumeAttachments for what pods want, and ``volumesAttached`` of Node status.

One key is one PersistentVolume. Before an attachment is deleted the Node is told that the volume is not attached any
more, and then asked anew whether it uses it; a node agent does both the other way round, so that one of them sees the
other. Whoever serves the driver (an external-attacher) answers VolumeAttachments.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from sampan.api import objects
from sampan.api.errors import AlreadyExists, NotFound
from sampan.api.nodes.status import is_ready
from sampan.api.pods.status import node_name
from sampan.api.reading import part, text
from sampan.api.resources import (
    CSI_DRIVERS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    VOLUME_ATTACHMENTS,
)
from sampan.api.storage import attachments, claims, volumes
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.controllers.attachdetach.plan import Attached, Observed, is_out_of_service, plan, wants_volumes
from sampan.controllers.attachdetach.telling import Outcomes
from sampan.controllers.context import Context
from sampan.controllers.workload.podclaims import index_by_claim, users_of_claim

NAME: Final = "attachdetach-controller"
_BY_VOLUME: Final = "attachment by volume"
_BY_NODE: Final = "attachment by node"
_BY_DRIVER: Final = "volume by driver"


class AttachDetachController:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        make = context.informers.informer
        self._pods, self._nodes = make(PODS), make(NODES)
        self._claims, self._volumes = make(PERSISTENT_VOLUME_CLAIMS), make(PERSISTENT_VOLUMES)
        self._drivers, self._attachments = make(CSI_DRIVERS), make(VOLUME_ATTACHMENTS)
        index_by_claim(self._pods)
        self._attachments.add_index(_BY_VOLUME, lambda each: [attachments.volume_of(each)])
        self._attachments.add_index(_BY_NODE, lambda each: [attachments.node_of(each)])
        self._volumes.add_index(_BY_DRIVER, lambda each: [_driver_of(each)] if _driver_of(each) else [])
        self._outcomes = Outcomes(self._recorder)
        #: by volume, then by UID of an attachment: since when no pod wants it
        self._unwanted: dict[str, dict[str, float]] = {}
        #: by volume, the nodes that are not said to have it although they do: it is being taken off them
        self._hidden: dict[str, set[str]] = {}
        self._reporting = asyncio.Lock()
        self._controller: Controller[str] = Controller(
            NAME, self.sync, workers=10, informers=(self._nodes, self._drivers)
        )
        self._controller.watch(self._pods, self._volumes_of_pod)
        self._controller.watch(self._claims, lambda each: self._if_ours(claims.volume_name(each)))
        self._controller.watch(self._volumes, lambda each: self._if_ours(objects.name(each)))
        self._controller.watch(self._attachments, lambda each: filter(None, [attachments.volume_of(each)]))
        self._nodes.add_handler(self._node_changed)
        self._drivers.add_handler(self._driver_changed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    # Keys

    def _if_ours(self, name: str) -> Iterable[str]:
        volume = self._volumes.get("", name) if name else None
        return (name,) if volume is not None and _driver_of(volume) else ()

    def _volumes_of_pod(self, pod: Obj) -> Iterable[str]:
        if node_name(pod):
            for each in claims.claims_of_pod(pod):
                claim = self._claims.get(objects.namespace(pod), each.name)
                if claim is not None:
                    yield from self._if_ours(claims.volume_name(claim))

    def _node_changed(self, kind: ChangeType, node: Obj, previous: Obj | None) -> None:
        """Most changes of a Node are heartbeats, which mean nothing here."""
        found = list(self._attachments.by_index(_BY_NODE, objects.name(node)))
        if kind == "MODIFIED" and previous is not None and _health_of(node) == _health_of(previous):
            moved = set(attachments.in_use(node)) ^ set(attachments.in_use(previous))
            reported = attachments.attached_to(node) != attachments.attached_to(previous)
            # The report is of the whole node: any of its volumes looks whether it is as it should be.
            found = [each for each in found if moved and self._is_among(each, moved)] or (found[:1] if reported else [])
        for each in found:
            self._controller.enqueue(attachments.volume_of(each))

    def _is_among(self, attachment: Obj, names: set[str]) -> bool:
        volume = self._volumes.get("", attachments.volume_of(attachment))
        return volume is None or _unique(volume, attachment) in names

    def _driver_changed(self, kind: ChangeType, driver: Obj, previous: Obj | None) -> None:
        for each in self._volumes.by_index(_BY_DRIVER, objects.name(driver)):
            self._controller.enqueue(objects.name(each))

    # One volume

    async def sync(self, name: str) -> Result:
        volume = self._volumes.get("", name)
        present = self._attachments.by_index(_BY_VOLUME, name)
        wanted = {} if volume is None else self._wanted(volume)
        now = asyncio.get_running_loop().time()
        more = self._outcomes.tell(name, volume, present, wanted, now)
        observed = self._observe(name, volume, present, wanted, now)
        decided = plan(observed)
        for attached, forced in decided.detach:
            await self._detach(volume, attached, forced)
        for node in decided.attach:
            await self._attach(volume or {}, node)
        self._outcomes.refuse(name, wanted, decided.refused)
        for node in sorted({each.node for each in observed.attached}):
            await self._report(node)
        return Result(min([each for each in (more, decided.look_seconds) if each is not None], default=None))

    def _wanted(self, volume: Obj) -> dict[str, list[Obj]]:
        """By node, the pods that want it attached there."""
        driver, reference = _driver_of(volume), volumes.claim_ref(volume)
        if not driver or reference is None or not self._attaches(driver):
            return {}
        claim = self._claims.get(text(reference, "namespace"), text(reference, "name"))
        if claim is None or claims.volume_name(claim) != objects.name(volume) or not volumes.is_for(volume, claim):
            return {}
        found: dict[str, list[Obj]] = {}
        for pod in users_of_claim(self._pods, objects.namespace(claim), objects.name(claim)):
            if wants_volumes(pod, self._nodes.get("", node_name(pod))):
                found.setdefault(node_name(pod), []).append(pod)
        return found

    def _attaches(self, driver: str) -> bool:
        known = self._drivers.get("", driver)
        return known is None or part(known, "spec").get("attachRequired") is not False

    def _observe(
        self, name: str, volume: Obj | None, present: Iterable[Obj], wanted: Mapping[str, list[Obj]], now: float
    ) -> Observed:
        before, unwanted = self._unwanted.pop(name, {}), dict[str, float]()
        attached, using, ill, gone = [], set(), set(), set()
        for each in present:
            node, uid = attachments.node_of(each), objects.uid(each)
            if node in wanted:
                since = now
                self._show(name, node)
            else:
                since = unwanted[uid] = before.get(uid, now)
            attached.append(Attached(objects.name(each), uid, node, objects.is_deleting(each), now - since))
            found = self._nodes.get("", node)
            if found is None or not is_ready(found):
                ill.add(node)
            if found is not None and _uses(found, volume, each):
                using.add(node)
            if found is not None and is_out_of_service(found):
                gone.add(node)
        if unwanted:
            self._unwanted[name] = unwanted
        for node in self._hidden.get(name, set()) - {each.node for each in attached}:
            self._show(name, node)
        shared = volume is not None and attachments.is_shared(volume)
        return Observed(wanted, attached, shared, frozenset(using), frozenset(ill), frozenset(gone))

    async def _attach(self, volume: Obj, node: str) -> None:
        source = part(part(volume, "spec"), "csi")
        driver, handle = text(source, "driver"), text(source, "volumeHandle")
        body: Obj = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttachment",
            "metadata": {"name": attachments.attachment_name(handle, driver, node)},
            "spec": {
                "attacher": driver,
                "nodeName": node,
                "source": {"persistentVolumeName": objects.name(volume)},
            },
        }
        try:
            made = await self._client.create(VOLUME_ATTACHMENTS, body)
            self._outcomes.begun(objects.name(volume), made, asyncio.get_running_loop().time())
            await observe(self._attachments, made)
        except AlreadyExists:
            pass  # its news come

    async def _detach(self, volume: Obj | None, attached: Attached, forced: bool) -> None:
        found = self._attachments.get("", attached.name)
        if found is None:
            return
        name = attachments.volume_of(found)
        self._hidden.setdefault(name, set()).add(attached.node)
        await self._report(attached.node)
        if not forced:
            try:
                node = await self._client.get(NODES, attached.node)
            except NotFound:
                node = None
            if node is not None and _uses(node, volume, found):
                self._show(name, attached.node)
                await self._report(attached.node)
                return
        try:
            answer = await self._client.delete(VOLUME_ATTACHMENTS, attached.name, uid=attached.uid)
            await observe(self._attachments, answer)
        except NotFound:
            pass

    def _show(self, name: str, node: str) -> None:
        hidden = self._hidden.get(name, set())
        hidden.discard(node)
        if not hidden:
            self._hidden.pop(name, None)

    async def _report(self, name: str) -> None:
        """The Node says what is attached to it, and what stays. Raises ApiError."""
        async with self._reporting:
            node = self._nodes.get("", name)
            if node is None:
                return
            found = set()
            for each in self._attachments.by_index(_BY_NODE, name):
                volume = attachments.volume_of(each)
                hidden = objects.is_deleting(each) or name in self._hidden.get(volume, ())
                if attachments.is_attached(each) and not hidden:
                    found.add(_unique(self._volumes.get("", volume), each))
            wanted = [{"name": each, "devicePath": ""} for each in sorted(found)]
            if [each.get("name") for each in attachments.attached_to(node)] == [each["name"] for each in wanted]:
                return
            patch = {"status": {"volumesAttached": wanted or None}}
            try:
                await observe(self._nodes, await self._client.patch(NODES, name, patch, subresource="status"))
            except NotFound:
                pass


def _driver_of(volume: Obj) -> str:
    return text(part(part(volume, "spec"), "csi"), "driver")


def _unique(volume: Obj | None, attachment: Obj) -> str:
    """Of a volume that is gone nothing but the driver is known."""
    handle = "" if volume is None else text(part(part(volume, "spec"), "csi"), "volumeHandle")
    return attachments.unique_name(text(part(attachment, "spec"), "attacher"), handle)


def _uses(node: Obj, volume: Obj | None, attachment: Obj) -> bool:
    unique = _unique(volume, attachment)
    if volume is None:
        return any(each.startswith(unique) for each in attachments.in_use(node))
    return unique in attachments.in_use(node)


def _health_of(node: Obj) -> tuple[bool, bool]:
    return is_ready(node), is_out_of_service(node)
