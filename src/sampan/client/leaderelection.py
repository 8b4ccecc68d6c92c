"""Leader election on a Lease: at most one of several identical processes is active, most of the time.

It is *not* a safety mechanism: a paused leader may still write, so every write carries a
resourceVersion or uid precondition. Whether another's lease has run out is judged by this process's own timeline
from the moment it saw the last renewal, so clock skew between machines does not matter; times of day
only fill the fields that people read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sampan.api.clock import Clock, Random, format_micro_time
from sampan.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from sampan.api.resources import LEASES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.timeline import Timeline
from sampan.records import dataclass

log = logging.getLogger(__name__)


class LeadershipLost(RuntimeError):
    """The lease could not be renewed in time: the process must stop what leaders do."""


@dataclass(frozen=True, slots=True)
class ElectionConfig:
    """Defaults as upstream's components. Invariant: lease > renew deadline > retry period."""

    namespace: str
    name: str
    identity: str
    lease_seconds: int = 15
    renew_deadline_seconds: float = 10.0
    retry_seconds: float = 2.0


class LeaderElector:
    def __init__(self, client: Client, config: ElectionConfig, clock: Clock, random: Random) -> None:
        self._client = client
        self._config = config
        self._clock = Timeline.of(clock)
        self._random = random
        self._lease: Obj | None = None
        self._seen_at = 0.0

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Waits for leadership, runs ``lead`` and renews. Raises LeadershipLost; cancellation releases the lease."""
        while not await self._attempt():
            await self._pause()
        log.info("%s became leader of %s", self._config.identity, self._config.name)
        leading = tasks.detach(_as_coroutine(lead), f"leader {self._config.name}")
        try:
            await self._renew_while(leading)
            leading.result()
        finally:
            await tasks.cancel_and_wait(leading)
            await self._release()

    async def _renew_while(self, leading: asyncio.Task[None]) -> None:
        renewed = self._clock.monotonic()
        while True:
            await asyncio.wait([leading], timeout=self._config.retry_seconds)
            if leading.done():
                return
            try:
                # A hanging server must not carry the leader past its deadline.
                async with asyncio.timeout_at(renewed + self._config.renew_deadline_seconds):
                    if await self._attempt():
                        renewed = self._clock.monotonic()
            except TimeoutError:
                raise LeadershipLost(f"lease {self._config.name} not renewed in time") from None
            if self._clock.monotonic() - renewed >= self._config.renew_deadline_seconds or self._held_by_other():
                raise LeadershipLost(f"lease {self._config.name} is no longer ours")

    async def _attempt(self) -> bool:
        """One try to take or renew the lease."""
        config = self._config
        try:
            try:
                lease = await self._client.get(LEASES, config.name, config.namespace)
            except NotFound:
                self._remember(await self._client.create(LEASES, self._claim(None)))
                return True
            self._remember(lease)
            if self._held_by_other() and not self._ran_out():
                return False
            self._remember(await self._client.update(LEASES, self._claim(lease)))
            return True
        except (Conflict, AlreadyExists):
            return False
        except ApiError as error:
            log.warning("lease %s: %s", config.name, error.message)
            return False

    def _claim(self, lease: Obj | None) -> Obj:
        now = format_micro_time(self._clock.now())
        old = lease.get("spec", {}) if lease else {}
        ours = old.get("holderIdentity") == self._config.identity
        spec = {
            "holderIdentity": self._config.identity,
            "leaseDurationSeconds": self._config.lease_seconds,
            "acquireTime": old.get("acquireTime", now) if ours else now,
            "renewTime": now,
            "leaseTransitions": old.get("leaseTransitions", 0) + (0 if ours or not lease else 1),
        }
        metadata = (
            dict(lease["metadata"]) if lease else {"name": self._config.name, "namespace": self._config.namespace}
        )
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    def _remember(self, lease: Obj) -> None:
        if self._lease is None or self._lease.get("spec") != lease.get("spec"):
            self._seen_at = self._clock.monotonic()
        self._lease = lease

    def _held_by_other(self) -> bool:
        holder = (self._lease or {}).get("spec", {}).get("holderIdentity", "")
        return bool(holder) and holder != self._config.identity

    def _ran_out(self) -> bool:
        seconds = (self._lease or {}).get("spec", {}).get("leaseDurationSeconds") or self._config.lease_seconds
        return self._clock.monotonic() >= self._seen_at + float(seconds)

    async def _release(self) -> None:
        """Gives the lease up at once, so that a successor need not wait it out. Bounded, best effort."""
        if self._lease is None or self._held_by_other():
            return
        lease = self._claim(self._lease)
        lease["spec"].update(holderIdentity="", leaseDurationSeconds=1)
        try:
            async with asyncio.timeout(2):
                await self._client.update(LEASES, lease)
        except (ApiError, TimeoutError) as error:
            log.info("lease %s not released: %s", self._config.name, error)

    async def _pause(self) -> None:
        # Jitter as upstream's (1.2): candidates must not retry in step.
        await self._clock.sleep(self._config.retry_seconds * (1 + 1.2 * self._random.random()))


async def _as_coroutine(lead: Callable[[], Awaitable[None]]) -> None:
    await lead()
