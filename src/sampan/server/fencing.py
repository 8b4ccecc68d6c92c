"""Writes that count only while who sent them leads: a leader of the past changes nothing, however late it wakes up.

A request may say by which Lease its sender leads (``transport.LEADER_HEADER``). The lease is looked at when the object
is handed to the store, after admission and all else that may take time: whatever is handed over was asked for by the
leader of that moment, and whoever takes the lease acts after that. The header can only take a right away, never give
one. Called by the router, which knows the request, and by the storage of its object; nothing is asked of the others.

It is as good as the cache of Leases is fresh: at once with the stores of this process (``docs/architecture.md``, 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from sampan.api.errors import BadRequest, Conflict
from sampan.api.resources import LEASES
from sampan.api.transport import LEADER_HEADER

if TYPE_CHECKING:  # storages know this module, and a request is made of them
    from sampan.server.request import Request

HEADER: Final = LEADER_HEADER.lower()
#: of a header: two names, and an identity of upstream's length several times over
_LONGEST: Final = 1024

_FENCE: Final[ContextVar[Callable[[], None] | None]] = ContextVar("fence", default=None)


@contextmanager
def fenced(request: Request, leader: str) -> Iterator[None]:
    """Inside, ``check`` asks for this leader. Raises BadRequest."""
    lease, _, identity = leader.partition(" ")
    namespace, _, name = lease.partition("/")
    if not (namespace and name and identity) or len(leader) > _LONGEST:
        raise BadRequest(f"the header {LEADER_HEADER} has to be NAMESPACE/LEASE IDENTITY")
    surface = request.surface

    def ask() -> None:
        view = surface.by_resource(LEASES)
        stored = view.storage.cached(view.storage.key(namespace, name)) if view is not None else None
        spec = stored.object().get("spec") if stored is not None and not stored.damaged else None
        if not spec or spec.get("holderIdentity") != identity:
            raise Conflict(f"Operation cannot be fulfilled: lease {namespace}/{name} is not held by who asks")

    token = _FENCE.set(ask)
    try:
        yield
    finally:
        _FENCE.reset(token)


def check() -> None:
    """Raises Conflict when the request that is being served came from a leader, and that one leads no longer."""
    fence = _FENCE.get()
    if fence is not None:
        fence()
