"""GET of one object: a dictionary look-up and a splice."""

from __future__ import annotations

from sampan.server.errors import too_large_resource_version
from sampan.server.options import parse_resource_version
from sampan.server.request import Request
from sampan.server.rest.context import RestContext
from sampan.server.results import ObjectResult
from sampan.server.storage import ResourceStorage
from sampan.store.protocol import FutureRevision

#: how long a read waits for a resourceVersion that has not happened yet (upstream's blockTimeout)
FUTURE_WAIT_SECONDS = 3.0


async def get(ctx: RestContext, request: Request) -> ObjectResult:
    target = ctx.target(request)
    cache = target.storage.cache
    version = request.query.get("resourceVersion", "") if request.query else ""
    await settle(target.storage, parse_resource_version(version))
    entry = cache.get(target.key)
    if entry is None:
        raise target.not_found()
    return ObjectResult(target.view, entry)


async def settle(storage: ResourceStorage, revision: int | None) -> None:
    """Waits until the cache may answer a read at this resourceVersion: unset is the newest, 0 is any."""
    cache = storage.cache
    if revision is None:
        await cache.barrier()
    elif revision:
        try:
            await cache.wait_for(revision, FUTURE_WAIT_SECONDS)
        except FutureRevision as error:
            raise too_large_resource_version(revision, cache.revision) from error
