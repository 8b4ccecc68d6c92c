"""The shell of the snapshot controller: it works while the three kinds are served, and rests while they are not.

The kinds are custom resources, which anybody may remove and install again. Each time that they come the controller
proper is made anew on informers of its own; when one goes it ends, and what it had registered is taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from sampan.api import objects
from sampan.api.errors import AlreadyExists, NotFound
from sampan.api.reading import part, text
from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, Resource
from sampan.api.storage import claims, snapshots
from sampan.api.storage.snapshots import VOLUME_SNAPSHOT_CLASSES, VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import Informer
from sampan.client.served import ServedResources
from sampan.controllers.context import Context
from sampan.controllers.snapshot.plan import OfSnapshot, is_using_claim, plan_content, plan_snapshot
from sampan.controllers.snapshot.step import NOTHING, Plan, Write
from sampan.keeping import Keeper

NAME: Final = "snapshot-controller"
_COMPONENT: Final = "snapshot-controller"
_KINDS: Final = frozenset((VOLUME_SNAPSHOTS, VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOT_CLASSES))
_OF_CLAIM: Final = "snapshot by its claim"
_UNBOUND: Final = "snapshot that has no content yet"
_OF_SNAPSHOT: Final = "claim that waits for a snapshot's data, by the snapshot"
#: writes that one look may lead to, one after the other; there are never so many
_MOST_WRITES: Final = 12


class Key(NamedTuple):
    kind: Literal["snapshot", "content"]
    namespace: str
    name: str


class SnapshotController:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client_for(NAME)
        self._present: set[Resource] = set()
        self._changed = asyncio.Event()
        self._served = ServedResources(self._client, self._came, self._went)

    async def run(self) -> None:
        await tasks.run_all(discovery=self._served.run(), snapshots=self._run())

    def _came(self, resource: Resource) -> None:
        if resource in _KINDS:
            self._present.add(resource)
            self._changed.set()

    def _went(self, resource: Resource) -> None:
        if resource in _KINDS:
            self._present.discard(resource)
            self._changed.set()

    async def _run(self) -> None:
        async with Keeper() as keeper:
            working = False
            while True:
                wanted = self._present >= _KINDS
                if wanted and not working:
                    keeper.keep("snapshots", lambda: Snapshots(self._context).run())
                elif working and not wanted:
                    keeper.end("snapshots")
                    self._retire()
                working = wanted
                self._changed.clear()
                await self._changed.wait()

    def _retire(self) -> None:
        """Of what is served no longer; whoever else follows it does the same."""
        for resource in _KINDS - self._present:
            self._context.informers.retire(self._context.informers.informer(resource))


class Snapshots:
    """The controller proper: all three kinds are served while it lives."""

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, _COMPONENT)
        informer = context.informers.informer
        self._snapshots, self._contents = informer(VOLUME_SNAPSHOTS), informer(VOLUME_SNAPSHOT_CONTENTS)
        self._classes = informer(VOLUME_SNAPSHOT_CLASSES)
        self._claims, self._volumes = informer(PERSISTENT_VOLUME_CLAIMS), informer(PERSISTENT_VOLUMES)
        self._snapshots.add_index(_OF_CLAIM, _claim_of)
        self._snapshots.add_index(_UNBOUND, lambda snapshot: () if snapshots.bound_content(snapshot) else ("",))
        self._claims.add_index(_OF_SNAPSHOT, _restored_snapshot)
        self._controller: Controller[Key] = Controller(NAME, self.sync, informers=(self._volumes,))
        self._controller.watch(self._snapshots, lambda snapshot: (Key("snapshot", *_key(snapshot)),))
        self._controller.watch(self._contents, self._keys_of_content)
        self._controller.watch(self._claims, self._keys_of_claim)
        self._controller.watch(self._classes, self._keys_of_class)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    def _keys_of_content(self, content: Obj) -> Iterable[Key]:
        yield Key("content", "", objects.name(content))
        reference = snapshots.reference(content)
        if name := text(reference, "name"):
            yield Key("snapshot", text(reference, "namespace"), name)

    def _keys_of_claim(self, claim: Obj) -> Iterable[Key]:
        for snapshot in self._snapshots.by_index(_OF_CLAIM, "/".join(_key(claim))):
            if not snapshots.is_ready(snapshot) or objects.is_deleting(snapshot):
                yield Key("snapshot", *_key(snapshot))
        for restored in _restored_snapshot(claim, pending=False):
            yield Key("snapshot", *restored.split("/", 1))

    def _keys_of_class(self, snapshot_class: Obj) -> Iterable[Key]:
        for snapshot in self._snapshots.by_index(_UNBOUND, ""):
            yield Key("snapshot", *_key(snapshot))

    async def sync(self, key: Key) -> Result:
        for _ in range(_MOST_WRITES):
            plan = self._plan(key)
            if plan.write is not None and not await self._write(plan.write):
                return DONE
            for tell in plan.tells:
                self._recorder.event(tell.about, tell.kind, tell.reason, tell.message)
            if plan.write is None:
                break
        return DONE

    def _plan(self, key: Key) -> Plan:
        if key.kind == "content":
            content = self._contents.get("", key.name)
            if content is None:
                return NOTHING
            reference = snapshots.reference(content)
            return plan_content(content, self._snapshots.get(text(reference, "namespace"), text(reference, "name")))
        snapshot = self._snapshots.get(key.namespace, key.name)
        if snapshot is None:
            return NOTHING
        claim = self._claims.get(key.namespace, snapshots.source_claim(snapshot))
        volume = None if claim is None else self._volumes.get("", claims.volume_name(claim))
        return plan_snapshot(
            OfSnapshot(
                snapshot,
                self._clock.now(),
                claim,
                volume,
                self._contents.get("", snapshots.content_name(snapshot)),
                self._classes.list(),
                self._is_used(snapshot, claim),
                bool(self._claims.count(_OF_SNAPSHOT, f"{key.namespace}/{key.name}")),
            )
        )

    def _is_used(self, snapshot: Obj, claim: Obj | None) -> bool:
        """Another snapshot of the claim is not ready; asked only where the claim is kept for one."""
        if claim is None or snapshots.CLAIM_IS_SOURCE not in objects.finalizers(claim):
            return False
        others = self._snapshots.by_index(_OF_CLAIM, "/".join(_key(claim)))
        return any(is_using_claim(each) for each in others if objects.uid(each) != objects.uid(snapshot))

    async def _write(self, write: Write) -> bool:
        """False: it was gone or there already, and its news come. Raises ApiError."""
        try:
            answer = await self._send(write)
        except (NotFound, AlreadyExists):
            return False
        await observe(self._informer(write.resource), answer)
        return True

    async def _send(self, write: Write) -> Obj:
        name, version = objects.name(write.obj), objects.resource_version(write.obj)
        if write.verb == "create":
            return await self._client.create(write.resource, write.obj)
        if write.verb == "status":
            return await self._client.update_status(write.resource, write.obj)
        if write.verb == "update":
            return await self._client.update(write.resource, write.obj)
        return await self._client.delete(
            write.resource, name, objects.namespace(write.obj), uid=objects.uid(write.obj), resource_version=version
        )

    def _informer(self, resource: Resource) -> Informer:
        known = (self._snapshots, self._contents, self._claims)
        return next(each for each in known if each.resource == resource)


def _key(obj: Obj) -> tuple[str, str]:
    return objects.namespace(obj), objects.name(obj)


def _claim_of(snapshot: Obj) -> Iterable[str]:
    name = snapshots.source_claim(snapshot)
    return (f"{objects.namespace(snapshot)}/{name}",) if name else ()


def _restored_snapshot(claim: Obj, *, pending: bool = True) -> Iterable[str]:
    """Of a claim that waits for a volume with a snapshot's data."""
    source = part(part(claim, "spec"), "dataSource") or part(part(claim, "spec"), "dataSourceRef")
    if text(source, "kind") != "VolumeSnapshot" or text(source, "apiGroup") != snapshots.GROUP:
        return ()
    if pending and claims.phase(claim) != "Pending":
        return ()
    return (f"{text(source, 'namespace') or objects.namespace(claim)}/{text(source, 'name')}",)
