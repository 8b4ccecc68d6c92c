"""PUT, and the loop that every change of a stored object goes through (upstream: ``GuaranteedUpdate``).

``change_object`` reads, lets the caller compute the new object, admits, prepares, validates and commits it against the
revision that was read. It begins with what the cache has, and says no to nobody before it has seen what the store has:
a cache may be behind. A lost race is retried by computing again, unless the caller pinned a resourceVersion.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple

from sampan.api import errors, metadata, objects
from sampan.api.errors import ApiError
from sampan.api.kind import Kind, Strategy
from sampan.api.strategies import MAIN, strategy_for
from sampan.api.types import Obj
from sampan.server.authz.messages import forbidden
from sampan.server.authz.stage import attributes_of
from sampan.server.options import WriteOptions, names_version, parse_resource_version, parse_write_options
from sampan.server.request import Request
from sampan.server.rest.body import read_object
from sampan.server.rest.carrying import carry_through, while_asking
from sampan.server.rest.context import RestContext
from sampan.server.rest.create import admit_owned, create_object, match_namespace, new_write, to_working
from sampan.server.rest.ownership import keep_times, own_changes
from sampan.server.results import ObjectResult
from sampan.server.storage import Stored, Versioned
from sampan.server.target import Target
from sampan.server.threads import is_heavy, paced
from sampan.server.write import Write
from sampan.store.protocol import RevisionConflict

#: lost races in a row after which a change gives up with 409
MAX_ATTEMPTS = 64


class Change(NamedTuple):
    """One way to change an object.

    ``compute(current)`` gives the new object, of the working kind, from the current entry; it may be called again.
    ``pinned``: the client named a resourceVersion, so a lost race is its to resolve.
    """

    compute: Callable[[Versioned], Awaitable[Obj]]
    strategy: Strategy
    options: WriteOptions = WriteOptions()
    pinned: bool = False
    #: run admission and validation; off for the server's own bookkeeping (binding, eviction)
    checked: bool = True
    #: whoever changes a field owns it from then on; off where ``compute`` has said who does. What is not checked is
    #: not tracked.
    tracked: bool = True


class Outcome(NamedTuple):
    result: Versioned
    #: the update took the last finalizer away: the object is gone
    deleted: bool = False


async def update(ctx: RestContext, request: Request) -> ObjectResult:
    target = ctx.target(request)
    strategy = strategy_for(target.kind, request.info.subresource)
    if strategy is None:
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
    options = parse_write_options(request.query, "UpdateOptions")
    obj = await read_object(request, target, options)
    match_namespace(obj, target)
    match_name(obj, target.name)
    meta = obj["metadata"]
    parse_resource_version(meta.get("resourceVersion", ""))
    pinned = names_version(meta.get("resourceVersion", ""))
    uid = meta.get("uid")
    body = await to_working(request, target, obj)

    async def compute(current: Versioned) -> Obj:
        check_precondition_uid(target, uid, current)
        _check_unconditional(target, pinned)
        return await paced(request.heavy, objects.copy_of, body)

    change = Change(compute, strategy, options, pinned)
    if strategy.may_create and target.kind.create_on_update:
        return await _create_or_change(ctx, request, target, change, body)
    outcome = await change_object(ctx, request, target, change)
    return ObjectResult(target.view, outcome.result)


async def _create_or_change(
    ctx: RestContext, request: Request, target: Target, change: Change, body: Obj
) -> ObjectResult:
    """What somebody else makes or deletes meanwhile is changed or made: a lost race is nothing to tell the client."""
    for _ in range(MAX_ATTEMPTS):
        try:
            if await target.storage.newest(target.key) is not None:
                outcome = await change_object(ctx, request, target, change)
                return ObjectResult(target.view, outcome.result)
        except errors.NotFound:
            if await target.storage.newest(target.key) is not None:
                raise  # it is something else that is missing
        if change.pinned:
            raise target.conflict()
        await authorize_create(ctx, request)
        new = await paced(request.heavy, objects.copy_of, body)
        new["metadata"].pop("resourceVersion", None)
        try:
            return ObjectResult(target.view, await create_object(ctx, request, target, new, change.options), 201)
        except errors.AlreadyExists:
            continue
    raise target.conflict()


async def authorize_create(ctx: RestContext, request: Request) -> None:
    """The right to update was checked before anybody knew that the object is missing. Raises Forbidden."""
    if ctx.authorizer is None:
        return
    attributes = replace(attributes_of(request), verb="create")
    decision = await ctx.authorizer.authorize(attributes)
    if not decision.allowed:
        raise forbidden(attributes, decision.reason)


def match_name(obj: Obj, wanted: str) -> None:
    """``wanted``: the name on the URL. Raises BadRequest."""
    name = obj["metadata"].get("name", "")
    if not name:
        text = f"the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        raise errors.BadRequest(text)
    if name != wanted:
        raise errors.BadRequest(f"the name of the object ({name}) does not match the name on the URL ({wanted})")


def _check_unconditional(target: Target, pinned: bool) -> None:
    """Raises Invalid."""
    if not pinned and not target.kind.unconditional_update:
        kind = target.working_kind
        raise errors.invalid_object(kind.kind, target.name, [metadata.resource_version_required()], kind.group)


def check_precondition_uid(target: Target, uid: str | None, current: Versioned) -> None:
    """Raises Conflict."""
    found = current.object()["metadata"].get("uid", "")
    if uid and uid != found:
        raise target.conflict(f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found}")


async def change_object(ctx: RestContext, request: Request, target: Target, change: Change) -> Outcome:
    """Raises NotFound, Conflict, Invalid, Forbidden."""
    storage, key = target.storage, target.key
    hook = ctx.hooks.of(storage.kind)
    current, certain = storage.cached(key), storage.cache.is_current()
    fresh = current is None
    if fresh:
        current = await storage.newest(key)
    for _ in range(MAX_ATTEMPTS):
        if current is None:
            raise target.not_found()
        request.heavy = request.heavy or is_heavy(current.value)
        try:
            attempt = _attempt(ctx, request, target, change, current, certain=certain or fresh)
            takes = hook.takes or ctx.admission.takes(storage.kind, target.namespace)
            return await carry_through(attempt, takes=takes)
        except RevisionConflict:
            if change.pinned and await storage.newest(key) is not None:
                break
        except ApiError:
            # Perhaps it was refused for what the cache showed: then the store's own state decides.
            newest = None if fresh else await storage.newest(key)
            if fresh or (newest is not None and newest.revision == current.revision):
                raise
            current, fresh = newest, True
            continue
        current, fresh = await storage.newest(key), True
    raise target.conflict()


async def _attempt(
    ctx: RestContext, request: Request, target: Target, change: Change, current: Versioned, *, certain: bool
) -> Outcome:
    """``certain``: ``current`` was what the store had at some moment of this request. Raises RevisionConflict."""
    kind, options = target.working_kind, change.options
    write, old = await while_asking(_admitted(ctx, request, target, change, current))
    new = write.obj or {}
    new = await paced(request.heavy, _prepared, request, target, change, new, old, current.revision)
    hook = ctx.hooks.of(kind)
    reservation = await hook.before_update(new, old, dry_run=options.dry_run)
    outcome: Outcome | None = None
    try:
        if change.checked:
            write.obj = new
            await while_asking(ctx.admission.validate(write))
        # an update that changes nothing is no event to anybody
        same = await paced(request.heavy, keep_times, new, old)
        if not certain and (options.dry_run or same):
            await verify(target, current)
        outcome = await _commit(target, current, new, same=same, dry_run=options.dry_run, heavy=request.heavy)
    finally:
        try:
            if outcome is not None and not options.dry_run:
                await hook.committed(None if outcome.deleted else new, old, reservation)
            else:
                await hook.rollback(new, old, reservation)
        finally:
            stored = outcome is not None and not options.dry_run and not outcome.deleted
            await write.settle(outcome.result.revision if outcome is not None and stored else 0)
    return outcome


async def _admitted(
    ctx: RestContext, request: Request, target: Target, change: Change, current: Versioned
) -> tuple[Write, Obj]:
    """The write with its new object, as mutating admission leaves it, and the old object."""
    options = change.options
    old = await target.view.working(current, heavy=request.heavy)
    new = await change.compute(current)
    pinned = new["metadata"].get("resourceVersion")
    if pinned and pinned != str(current.revision) and names_version(pinned):
        raise target.conflict()
    if change.tracked and change.checked:
        await own_changes(ctx, request, target, old, new, options)
    write = new_write(request, "UPDATE", target, options, new, old)
    if change.checked:
        await admit_owned(ctx, write)
    return write, old


def _prepared(request: Request, target: Target, change: Change, new: Obj, old: Obj, revision: int) -> Obj:
    """The object to keep, which is ``new``, changed, or made of it. Raises Invalid."""
    kind = target.working_kind
    if warning := metadata.drop_duplicate_owners(new):
        request.warn(warning)
    metadata.prepare_metadata_update(new, old)
    managed = new["metadata"].get("managedFields")
    new = change.strategy.merge(kind, new, old)
    if managed is not None:
        new["metadata"]["managedFields"] = managed
    else:
        new["metadata"].pop("managedFields", None)
    _set_generation(kind, change.strategy, new, old)
    new["metadata"]["resourceVersion"] = str(revision)
    if change.checked:
        found = metadata.validate_update(new, old, kind)
        if change.strategy is MAIN and (judge := target.kind.validate_through) is not None:
            found += judge(new, old)
        else:
            found += change.strategy.validate(kind, new, old)
        if found:
            raise errors.invalid_object(kind.kind, target.name, found, kind.group)
        if change.strategy is MAIN:
            for text in kind.warnings(new, old):
                request.warn(text)
    return new


def _set_generation(kind: Kind, strategy: Strategy, new: Obj, old: Obj) -> None:
    if not kind.generation:
        return
    generation = None
    if strategy.counts_generation:
        generation = metadata.next_generation(new, old, status_counts=kind.status_counts, counted=kind.counted_metadata)
    if generation is None:
        generation = old["metadata"].get("generation")
    if generation is not None:
        new["metadata"]["generation"] = generation


async def verify(target: Target, current: Versioned) -> None:
    """For an answer that no commit stands behind: what it says must not come from a cache that is behind.

    Raises RevisionConflict.
    """
    newest = await target.storage.newest(target.key)
    found = newest.revision if newest is not None else 0
    if found != current.revision:
        raise RevisionConflict(target.key, current.revision, found)


async def _commit(target: Target, current: Versioned, new: Obj, *, same: bool, dry_run: bool, heavy: bool) -> Outcome:
    """Raises RevisionConflict."""
    storage, meta = target.storage, new["metadata"]
    gone = (
        bool(meta.get("deletionTimestamp"))
        and not meta.get("finalizers")
        and not meta.get("deletionGracePeriodSeconds")
        and storage.kind.removable(new)
    )
    if dry_run:
        return Outcome(Stored(storage, target.key, None, current.revision, new), gone)
    if gone:
        await storage.remove(target.key, current.revision, by_leader=True)
        return Outcome(Stored(storage, target.key, None, current.revision, new), True)
    if same:
        return Outcome(current)
    kept = await target.view.to_keep(new, heavy=heavy)
    return Outcome(await storage.commit(target.key, current.revision, kept, heavy=heavy, by_leader=True))
