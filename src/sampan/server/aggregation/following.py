"""Looks after each extension API server: is it there, and what does it serve?

One task an APIService, so that none waits for another; a semaphore bounds how many ask at a time. A round looks at the
Service, asks for the group version, writes the Available condition where it changed, and reads discovery and OpenAPI.
Rounds come every half minute, at once when something changed, and sooner, more and more slowly, after a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final, NoReturn

from sampan.api.clock import Clock, format_time
from sampan.api.errors import ApiError, Conflict, NotFound
from sampan.api.reading import part, text
from sampan.api.resources import API_SERVICES, ENDPOINT_SLICES, SERVICES
from sampan.api.transport import Call, EventType, Transport
from sampan.api.types import Obj
from sampan.server.aggregation import conditions
from sampan.server.aggregation.backends import Backends, Unanswered
from sampan.server.aggregation.conditions import Verdict
from sampan.server.aggregation.described import Described
from sampan.server.aggregation.discovered import Discovered
from sampan.server.aggregation.remotes import GroupVersion, Remote, Remotes
from sampan.server.aggregation.services import SERVICE_NAME, slices_of
from sampan.server.reader import ObjectReader

log = logging.getLogger(__name__)

ROUND_SECONDS: Final = 30.0
_FIRST_WAIT_SECONDS: Final = 0.1
#: A probe asks once, and when that fails so often again, at the same time: another endpoint may answer.
_MORE_ATTEMPTS: Final = 4
#: rounds that ask somebody at a time
_TOGETHER: Final = 16


class Follower:
    """Keep ``run`` running. Invariant: each remote of the table has a task, and ``_wakes`` an event for it."""

    def __init__(
        self,
        remotes: Remotes,
        reader: ObjectReader,
        transport: Transport,
        backends: Backends,
        discovered: Discovered,
        described: Described,
        clock: Clock,
        *,
        round_seconds: float = ROUND_SECONDS,
    ) -> None:
        self._remotes, self._reader, self._transport = remotes, reader, transport
        self._backends, self._discovered, self._described, self._clock = backends, discovered, described, clock
        self._round_seconds = round_seconds
        self._wakes: dict[GroupVersion, asyncio.Event] = {}
        self._by_service: dict[tuple[str, str], set[GroupVersion]] = {}
        self._asking = asyncio.Semaphore(_TOGETHER)

    async def run(self) -> None:
        """Until cancelled."""
        ends: list[Callable[[], None]] = []
        async with asyncio.TaskGroup() as group:

            def changed(key: GroupVersion, remote: Remote | None) -> None:
                self._forget_service(key)
                if remote is None:
                    self._discovered.forget(key)
                    self._described.forget(key)
                else:
                    self._by_service.setdefault((remote.namespace, remote.service), set()).add(key)
                    if key not in self._wakes:
                        self._wakes[key] = asyncio.Event()
                        group.create_task(self._follow(key), name=f"follow apiservice {remote.name}")
                if key in self._wakes:
                    self._wakes[key].set()

            try:
                ends.append(self._remotes.subscribe(changed))
                ends.append(self._reader.subscribe(SERVICES, self._service_changed, keep=False))
                ends.append(self._reader.subscribe(ENDPOINT_SLICES, self._slice_changed, keep=False))
                for remote in self._remotes:
                    changed((remote.group, remote.version), remote)
                await _for_ever()
            finally:
                for end in ends:
                    end()
                self._wakes.clear()
                self._by_service.clear()

    def _forget_service(self, key: GroupVersion) -> None:
        for service, keys in tuple(self._by_service.items()):
            keys.discard(key)
            if not keys:
                del self._by_service[service]

    # -- what changed --------------------------------------------------------------------------------------------

    def _service_changed(self, kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
        meta = part(obj, "metadata")
        self._wake_those_of(text(meta, "namespace"), text(meta, "name"))

    def _slice_changed(self, kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
        meta = part(obj, "metadata")
        self._wake_those_of(text(meta, "namespace"), text(part(meta, "labels"), SERVICE_NAME))

    def _wake_those_of(self, namespace: str, service: str) -> None:
        for key in self._by_service.get((namespace, service), ()):
            self._wakes[key].set()

    # -- one of them ---------------------------------------------------------------------------------------------

    async def _follow(self, key: GroupVersion) -> None:
        wake, failures = self._wakes[key], 0
        try:
            while (remote := self._remotes.get(*key)) is not None:
                wake.clear()
                failures = 0 if await self._guarded(remote) else failures + 1
                wait = self._round_seconds
                if failures:
                    wait = min(wait, _FIRST_WAIT_SECONDS * 2.0 ** min(failures, 30))
                try:
                    async with asyncio.timeout(wait):
                        await wake.wait()
                except TimeoutError:
                    pass  # nothing happened, so it is time to look
        finally:
            if self._wakes.get(key) is wake:
                del self._wakes[key]

    async def _guarded(self, remote: Remote) -> bool:
        """One round; what goes wrong in it costs this APIService alone. False: the next one should come soon."""
        try:
            async with self._asking:
                return await self._round(remote)
        except Conflict:
            return False
        except NotFound:
            return True
        except ApiError as error:
            log.warning("the availability of apiservice %s could not be written: %s", remote.name, error)
        except Exception:  # a fault of ours must not end the looking after all others
            log.exception("apiservice %s was not looked after", remote.name)
        return False

    async def _round(self, remote: Remote) -> bool:
        """Raises ApiError."""
        verdict = await self._verdict(remote)
        await self._write(remote, verdict)
        if not verdict.available:
            self._discovered.lost(remote)
            # What the objects say against it changes with them; only what it answers itself has to be asked for.
            return verdict.reason != "FailedDiscoveryCheck"
        said = await self._discovered.read(remote)
        await self._described.read(remote)
        return said

    async def _verdict(self, remote: Remote) -> Verdict:
        service = self._reader.get(SERVICES, remote.namespace, remote.service)
        objection = conditions.check(remote, service, lambda: slices_of(self._reader, remote.namespace, remote.service))
        if objection is not None:
            return objection
        try:
            await self._probe(remote)
        except Unanswered as error:
            return conditions.failed(str(error))
        return conditions.PASSED

    async def _probe(self, remote: Remote) -> None:
        """Raises Unanswered."""
        with contextlib.suppress(Unanswered):
            await self._backends.probe(remote)
            return
        asked = [self._backends.probe(remote) for _ in range(_MORE_ATTEMPTS)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        faults = [result for result in results if result is not None]
        if len(faults) == len(results):
            raise faults[-1]

    async def _write(self, remote: Remote, verdict: Verdict) -> None:
        """Raises ApiError."""
        found = self._reader.get(API_SERVICES, None, remote.name)
        if found is None:
            return
        changed = conditions.with_verdict(found, verdict, format_time(self._clock.now()))
        if changed is not None:
            log.info("apiservice %s: %s: %s", remote.name, verdict.reason, verdict.message)
            await self._transport.call(
                Call("PUT", API_SERVICES.path(name=remote.name, subresource="status"), body=changed)
            )


async def _for_ever() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")
