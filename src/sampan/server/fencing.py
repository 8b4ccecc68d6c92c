"""Writes that count only while who sent them leads: a leader of the past changes nothing, however late it wakes up.

A request may say by which Lease its sender leads (``transport.LEADER_HEADER``). The lease is looked at when the object
is handed to the store, after admission and all else that may take time: whatever is handed over was asked for by the
leader of that moment, and whoever takes the lease acts after that. The header can only take a right away, never give
one. Called by the router, which knows the request, and by the storage of its object; nothing is asked of the others.

Where this process alone writes its store, the look and the handing over are one step. Where others do too, the commit
itself hangs on the lease's revision (``Guard``): the store refuses it in the same moment in which another has taken the
lease, whatever stood still in between. A lease that was only renewed meanwhile is looked at again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, TypeVar

from sampan.api.errors import BadRequest, Conflict
from sampan.api.resources import LEASES
from sampan.api.transport import LEADER_HEADER
from sampan.store.protocol import Guard, GuardFailed, Store

if TYPE_CHECKING:  # storages know this module, and a request is made of them
    from sampan.server.request import Request
    from sampan.server.storage import ResourceStorage, Stored

T = TypeVar("T")

HEADER: Final = LEADER_HEADER.lower()
#: of a header: two names, and an identity of upstream's length several times over
_LONGEST: Final = 1024
#: how often a lease may be renewed while one write is committed
_ATTEMPTS: Final = 5


class Fence:
    """``identity`` has to hold the lease. ``storage`` None: there are no leases here."""

    def __init__(self, storage: ResourceStorage | None, namespace: str, name: str, identity: str) -> None:
        self._storage, self._identity = storage, identity
        self._lease = f"{namespace}/{name}"
        self.key = storage.key(namespace, name) if storage is not None else ""

    def seen(self) -> int:
        """The lease's revision as the cache shows it, 0: it is not held by who asks."""
        return self._held(self._storage.cached(self.key)) if self._storage is not None else 0

    async def newest(self) -> int:
        """The same as the store has it. Raises Conflict, StoreUnavailable."""
        found = self._held(await self._storage.newest(self.key)) if self._storage is not None else 0
        if not found:
            self.refuse()
        return found

    def refuse(self) -> None:
        """Raises Conflict."""
        raise Conflict(f"Operation cannot be fulfilled: lease {self._lease} is not held by who asks")

    def _held(self, lease: Stored | None) -> int:
        spec = lease.object().get("spec") if lease is not None and not lease.damaged else None
        return lease.revision if lease and spec and spec.get("holderIdentity") == self._identity else 0


_FENCE: Final[ContextVar[Fence | None]] = ContextVar("fence", default=None)


@contextmanager
def fenced(request: Request, leader: str) -> Iterator[None]:
    """Inside, what ``guarded`` commits has to come from this leader. Raises BadRequest."""
    lease, _, identity = leader.partition(" ")
    namespace, _, name = lease.partition("/")
    if not (namespace and name and identity) or len(leader) > _LONGEST:
        raise BadRequest(f"the header {LEADER_HEADER} has to be NAMESPACE/LEASE IDENTITY")
    view = request.surface.by_resource(LEASES)
    token = _FENCE.set(Fence(view.storage if view is not None else None, namespace, name, identity))
    try:
        yield
    finally:
        _FENCE.reset(token)


async def guarded(store: Store, commit: Callable[[Sequence[Guard]], Awaitable[T]], guards: Sequence[Guard] = ()) -> T:
    """Commits unless the request that is being served came from a leader, and that one leads no longer: Conflict.
    ``guards``: what the commit hangs on besides. Raises what ``commit`` does."""
    fence = _FENCE.get()
    if fence is None:
        return await commit(guards)
    if store.sync_now() is not None:
        if not fence.seen():
            fence.refuse()
        return await commit(guards)  # nothing comes between: its first step is taken at once
    revision = fence.seen() or await fence.newest()
    for _ in range(_ATTEMPTS):
        try:
            return await commit((*guards, Guard(fence.key, revision)))
        except GuardFailed as error:
            if error.guard in guards:
                raise
            revision = await fence.newest()
    raise Conflict("Operation cannot be fulfilled: the lease of who asks changes too fast, try again")
