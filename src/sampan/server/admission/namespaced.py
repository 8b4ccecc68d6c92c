"""Nothing is made in a namespace that has ended: where other servers write the same store, the commit hangs on it.

Admission (``NamespaceLifecycle``, without which this is not asked) has looked at the namespace as a cache shows it,
which may be behind, and webhooks may have taken long since. So it is looked at again, and the commit happens only while
the namespace is at the revision that was seen then. Where this process alone writes its store its cache is what there
is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from sampan.api.errors import Conflict
from sampan.api.resources import NAMESPACES
from sampan.server.admission.namespace_lifecycle import check, is_terminating
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
    seen = storage.cached(key)
    if seen is None or (not seen.damaged and is_terminating(seen.object())):
        seen = await storage.newest(key)  # it may be there again
    for _ in range(_ATTEMPTS):
        if seen is not None and seen.damaged:
            return await commit(())  # nobody can say, and admission let it through
        check(write, seen.object() if seen is not None else None)
        assert seen is not None, "what is not there was refused"
        try:
            return await commit((Guard(key, seen.revision),))
        except GuardFailed:
            seen = await storage.newest(key)
    raise Conflict(f"namespace {target.namespace} changes too fast, try again")
