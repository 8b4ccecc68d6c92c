"""The end of a definition: its objects first, then itself (apiextensions ``finalizer`` controller).

One task a definition that is being deleted, a few at work at a time. What cannot be done is told in the condition
``Terminating`` and tried again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sampan.api.clock import Clock
from sampan.api.customresources import naming
from sampan.api.customresources.ending import FINALIZER
from sampan.api.errors import ApiError, NotFound
from sampan.api.reading import part, text, texts
from sampan.api.transport import Call, Transport
from sampan.api.types import Obj
from sampan.server.extensions.held import Held
from sampan.server.extensions.instances import delete_all, wait_empty
from sampan.server.extensions.status import CRDS, status_call
from sampan.server.storage import ResourceStorage
from sampan.server.surface import Surfaces
from sampan.store.protocol import StoreError

log = logging.getLogger(__name__)

_AT_ONCE: Final = 4
#: how long a look for what is left may last before its condition says that something is
_CHECK_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 5.0

_IN_PROGRESS = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
_DONE = ("False", "InstanceDeletionCompleted", "removed all instances")
_NEVER = ("False", "NeverEstablished", "resource was never established")
_BUILT_IN = ("False", "OverlappingBuiltInResource", "instances overlap with built-in resources in storage")
_TIMED_OUT = "could not confirm zero CustomResources remaining: timed out waiting for the condition"


class Finalizing:
    def __init__(self, surfaces: Surfaces, clock: Clock) -> None:
        self._surfaces, self._clock = surfaces, clock
        self._transport: Transport | None = None
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, group: asyncio.TaskGroup, transport: Transport) -> None:
        """Tasks are of this group from now on."""
        self._group, self._transport, self._tasks = group, transport, {}

    def start(self, name: str, definition: Obj, held: Held) -> None:
        """Begins with the end of a definition, unless that is under way."""
        if (
            self._group is None
            or held.uid in self._tasks
            or FINALIZER not in texts(part(definition, "metadata"), "finalizers")
        ):
            return
        task = self._group.create_task(self._finalize(name, held), name=f"end of {name}")
        self._tasks[held.uid] = task
        task.add_done_callback(lambda _: self._tasks.pop(held.uid, None))

    async def _finalize(self, name: str, held: Held) -> None:
        while True:
            try:
                if await self._step(name, held):
                    return
            except NotFound:
                return
            except (ApiError, StoreError) as error:
                log.warning("the end of %s is tried again: %s", name, error)
            except Exception:  # our bug, or a damaged definition: it must not end what looks after the others
                log.exception("the end of %s failed, and is tried again", name)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _step(self, name: str, held: Held) -> bool:
        """True: the definition is gone, or somebody else's to end. Raises ApiError, StoreError."""
        definition = await self._call(Call("GET", CRDS.path(name=name)))
        if definition["metadata"].get("uid") != held.uid:
            return True
        if not naming.is_true(definition, naming.ESTABLISHED):
            return await self._let_go(definition, _NEVER)
        definition = await self._say(definition, _IN_PROGRESS)
        storage = self._storage(definition)
        if storage is None:
            return await self._let_go(definition, _BUILT_IN)
        async with self._gate:
            try:
                await delete_all(storage, self._clock)
            except StoreError as error:
                message = f"could not issue all deletes: {error}"
                await self._say(definition, ("True", "InstanceDeletionFailed", message))
                return False
        if not await wait_empty(storage, _CHECK_SECONDS):
            definition = await self._call(Call("GET", CRDS.path(name=name)))
            await self._say(definition, ("True", "InstanceDeletionCheck", _TIMED_OUT))
            return False
        definition = await self._call(Call("GET", CRDS.path(name=name)))
        return await self._let_go(definition, _DONE)

    async def _call(self, call: Call) -> Obj:
        assert self._transport is not None
        answer: Obj = await self._transport.call(call)
        return answer

    def _storage(self, definition: Obj) -> ResourceStorage | None:
        """Of the custom resource itself; None: it is not served, for a built-in kind has its name."""
        group, names = definition["spec"]["group"], definition["status"]["acceptedNames"]
        for storage in self._surfaces.current.storages():
            kind = storage.kind
            if kind.custom and (kind.group, kind.plural) == (group, text(names, "plural")):
                return storage
        return None

    async def _say(self, definition: Obj, row: tuple[str, str, str], metadata: Obj | None = None) -> Obj:
        """The definition with the condition ``Terminating``. Raises ApiError."""
        status = part(definition, "status")
        conditions = naming.with_condition(status.get("conditions"), naming.TERMINATING, *row, self._clock.now())
        if conditions == status.get("conditions") and metadata is None:
            return definition
        meta = definition["metadata"]
        call = status_call(meta["name"], meta["resourceVersion"], {**status, "conditions": conditions}, metadata)
        return await self._call(call)

    async def _let_go(self, definition: Obj, row: tuple[str, str, str]) -> bool:
        kept = [name for name in definition["metadata"].get("finalizers") or () if name != FINALIZER]
        await self._say(definition, row, {"finalizers": kept or None})
        return True
