"""Nothing is made in a namespace that has ended: where other servers write the same store, the commit hangs on it.

Admission has looked at the namespace as a cache shows it, which may be behind. So the commit happens only while the
namespace is at the revision that was seen; if it is another by then, it is looked at again. Where this process alone
writes its store its cache is what there is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from sampan.api.errors import Conflict
from sampan.api.resources import NAMESPACES
from sampan.server.admission.namespace_lifecycle import check
from sampan.server.target import Target
from sampan.server.write import Write
from sampan.store.protocol import Guard, GuardFailed

T = TypeVar("T")

#: how often a namespace may change while one object is made in it
_ATTEMPTS: Final = 5


async def inside_namespace(target: Target, write: Write, commit: Callable[[Sequence[Guard]], Awaitable[T]]) -> T:
    """Raises what ``commit`` does; NotFound, Forbidden: the namespace ended meanwhile; Conflict."""
    view = write.request.surface.by_resource(NAMESPACES) if target.kind.namespaced else None
    if view is None or target.storage.store.sync_now() is not None:
        return await commit(())
    storage = view.storage
    key = storage.key("", target.namespace)
    seen = storage.cached(key) or await storage.newest(key)
    for _ in range(_ATTEMPTS):
        if seen is None or seen.damaged:
            return await commit(())  # it is not for us to say what admission let through
        try:
            return await commit((Guard(key, seen.revision),))
        except GuardFailed:
            seen = await storage.newest(key)
            check(write, seen.object() if seen is not None and not seen.damaged else None)
    raise Conflict(f"namespace {target.namespace} changes too fast, try again")
