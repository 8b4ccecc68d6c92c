"""Leases: keys that end together, unless somebody keeps the lease alive.

They live in this process. A key's own commit says when it ends without them, so that a restart leaves no key behind: it
ends the leases, as a long silence of the server would. All of it runs on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import islice

import grpc

from sampan.api.clock import Random
from sampan.records import dataclass
from sampan.store.embedded import Commit, EmbeddedStore
from sampan.store.endpoint.refusals import Refusal, invalid, no_lease
from sampan.store.protocol import Change, RevisionConflict, StoreError

log = logging.getLogger(__name__)

_LONGEST_TTL = 9_000_000_000  # etcd's
_MOST_LEASES = 100_000
#: of what keeps a key beyond its lease's end if this process does not: the lease comes first
_GRACE_SECONDS = 2.0
#: keys that are deleted in one step
_STEP = 100
_RETRY_SECONDS = 5.0
#: the loop cannot wait longer in one go
_LONGEST_WAIT_SECONDS = 24 * 3600.0


@dataclass(slots=True, eq=False)
class Lease:
    ident: int
    ttl_seconds: int
    ends: float
    keys: dict[str, None]
    timer: asyncio.TimerHandle | None = None


class Leases:
    """Invariant: a key in ``_of`` is in the ``keys`` of that lease, and in no other's."""

    def __init__(self, store: EmbeddedStore, random: Random) -> None:
        self._store = store
        self._random = random
        self._leases: dict[int, Lease] = {}
        self._of: dict[str, Lease] = {}
        self._loop = asyncio.get_running_loop()
        self._ending: set[asyncio.Task[None]] = set()
        self._remove_listener: Callable[[], None] = store.add_listener("", self._changed)

    def close(self) -> None:
        self._remove_listener()
        for lease in self._leases.values():
            if lease.timer is not None:
                lease.timer.cancel()
        for task in self._ending:
            task.cancel()

    def of(self, key: str) -> int:
        lease = self._of.get(key)
        return lease.ident if lease else 0

    def idents(self) -> list[int]:
        return list(self._leases)

    def grant(self, ttl_seconds: int, ident: int) -> Lease:
        if ttl_seconds > _LONGEST_TTL:
            raise Refusal(grpc.StatusCode.OUT_OF_RANGE, "etcdserver: too large lease TTL")
        if ident in self._leases:
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: lease already exists")
        if len(self._leases) >= _MOST_LEASES:
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, f"sampan: there are {_MOST_LEASES} leases already")
        if ident < 0 or ttl_seconds < 0:
            raise invalid("sampan: a lease has a positive ID and TTL")
        while not ident or ident in self._leases:
            ident = self._random.getrandbits(63)
        lease = Lease(ident, max(1, ttl_seconds), 0.0, {})
        self._leases[ident] = lease
        self._extend(lease)
        return lease

    def find(self, ident: int) -> Lease:
        """Raises Refusal."""
        lease = self._leases.get(ident)
        if lease is None:
            raise no_lease()
        return lease

    def remaining_seconds(self, lease: Lease) -> float:
        return max(0.0, lease.ends - self._loop.time())

    def ttl_of_commit(self, lease: Lease) -> float:
        return self.remaining_seconds(lease) + _GRACE_SECONDS

    def keep_alive(self, lease: Lease) -> None:
        self._extend(lease)
        for key in lease.keys:
            self._store.set_end(key, self.ttl_of_commit(lease))

    def attach(self, key: str, lease: Lease) -> None:
        """After a commit of the key that is the newest."""
        self._detach(key)
        if lease.ident in self._leases:
            lease.keys[key] = None
            self._of[key] = lease

    async def revoke(self, lease: Lease) -> None:
        """Deletes its keys, and it is gone. Raises StoreError; then some of its keys may be there, and it is."""
        while keys := list(islice(lease.keys, _STEP)):
            await self._store.settled(keys)
            commits = [Commit(key, None, None) for key in keys if self._of.get(key) is lease]
            try:
                if commits:
                    await self._store.commit_all(commits)
            except RevisionConflict as conflict:  # somebody else deleted it just now
                self._detach(conflict.key)
        self._leases.pop(lease.ident, None)
        if lease.timer is not None:
            lease.timer.cancel()

    def _extend(self, lease: Lease) -> None:
        lease.ends = self._loop.time() + lease.ttl_seconds
        self._arm(lease)

    def _arm(self, lease: Lease, least: float = 0.0) -> None:
        if lease.timer is not None:
            lease.timer.cancel()
        wait = min(max(self.remaining_seconds(lease), least), _LONGEST_WAIT_SECONDS)
        lease.timer = self._loop.call_later(wait, self._fire, lease)

    def _fire(self, lease: Lease) -> None:
        if self.remaining_seconds(lease) > 0:
            self._arm(lease)
            return
        task = self._loop.create_task(self._expire(lease), name=f"end of lease {lease.ident:x}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _expire(self, lease: Lease) -> None:
        try:
            await self.revoke(lease)
        except StoreError as error:
            log.warning("lease %x has ended, and its keys could not be deleted: %s", lease.ident, error)
            self._arm(lease, _RETRY_SECONDS)

    def _changed(self, change: Change) -> None:
        """Whoever writes a key takes it out of its lease; the one who put it in does so after this."""
        if change.key in self._of:
            self._detach(change.key)

    def _detach(self, key: str) -> None:
        lease = self._of.pop(key, None)
        if lease is not None:
            del lease.keys[key]
