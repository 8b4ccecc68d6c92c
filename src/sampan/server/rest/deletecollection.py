"""DELETE of a collection: every selected object on its own, not atomically; answers with the list of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sampan.api import errors
from sampan.server.options import parse_list_options
from sampan.server.request import Request
from sampan.server.rest.context import RestContext
from sampan.server.rest.delete import check_preconditions, delete_object, read_options
from sampan.server.rest.list import read_page
from sampan.server.results import Page, PageResult
from sampan.server.storage import Stored, Versioned
from sampan.server.target import Target
from sampan.store.protocol import EntryDamaged

#: objects deleted at the same time: they share the store's group commits
_CONCURRENCY = 16


async def delete_collection(ctx: RestContext, request: Request) -> PageResult:
    target = ctx.target(request)
    selection = parse_list_options(request.query, target.kind, watch=False)
    options = await read_options(request)
    page = await read_page(ctx, target, selection)
    gate = asyncio.Semaphore(_CONCURRENCY)
    results: list[Versioned] = []

    async def remove(entry: Versioned) -> None:
        namespace, _, name = entry.key.removeprefix(target.storage.prefix).rpartition("/")
        one = Target(target.view, namespace, name)
        async with gate:
            try:
                meta = entry.object()["metadata"]
            except EntryDamaged:
                results.append(_listed(one, (await delete_object(ctx, request, one, options)).result))
                return
            check_preconditions(one, options, entry)
            try:
                deleted = await delete_object(ctx, request, one, replace(options, uid=meta.get("uid", "")))
            except (errors.NotFound, errors.Conflict):
                if await _is_there(one, meta.get("uid", "")):
                    raise
                return  # gone, or another object by now: not what was selected
            results.append(_listed(one, deleted.result))

    try:
        async with asyncio.TaskGroup() as group:
            for entry in await page.entries():  # of what was read, not of what was written
                group.create_task(remove(entry), name=f"delete {target.kind.plural}")
    except* errors.ApiError as raised:
        raise _first(raised) from raised
    revision = max([target.storage.cache.revision, *(result.revision for result in results)])
    return PageResult(target.view, Page.of(results, revision))


def _listed(target: Target, result: Versioned) -> Versioned:
    """The result in the stored form that lists are made of, which a rehearsal does not have."""
    if result.value is not None:
        return result
    obj = result.object()
    return Stored(target.storage, target.key, target.storage.encode(obj), result.revision, obj)


async def _is_there(target: Target, uid: str) -> bool:
    newest = await target.storage.newest(target.key)
    return newest is not None and not newest.damaged and newest.object()["metadata"].get("uid", "") == uid


def _first(group: BaseExceptionGroup[errors.ApiError]) -> errors.ApiError:
    """The first refusal; the others are of the same kind."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
