"""PUT, and the loop that every change of a stored object goes through (upstream: ``GuaranteedUpdate``).

``change_object`` reads, lets the caller compute the new object, admits, prepares, validates and commits it against the
revision that was read. A lost race is retried by computing again, unless the caller pinned a resourceVersion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sampan.api import errors, metadata, objects
from sampan.api.types import Obj
from sampan.server.authz.messages import forbidden
from sampan.server.authz.stage import attributes_of
from sampan.server.registry import Versioned, Written
from sampan.server.request import Request, Response
from sampan.server.rest.body import read_object
from sampan.server.rest.carrying import carry_through
from sampan.server.rest.context import RestContext, Target
from sampan.server.rest.create import admission_attributes, create_object, match_namespace, to_stored
from sampan.server.rest.options import WriteOptions, parse_resource_version, parse_write_options
from sampan.server.rest.respond import object_response
from sampan.server.rest.strategies import Strategy, strategy_for
from sampan.store.protocol import RevisionConflict

#: lost races in a row after which a change gives up with 409
MAX_ATTEMPTS = 64


@dataclass(frozen=True, slots=True)
class Change:
    """One way to change an object.

    ``compute(current)`` gives the new object, of the stored kind, from the current entry; it may be called again.
    ``pinned``: the client named a resourceVersion, so a lost race is its to resolve.
    """

    compute: Callable[[Versioned], Obj]
    strategy: Strategy
    options: WriteOptions = field(default_factory=WriteOptions)
    pinned: bool = False
    #: run admission and validation; off for the server's own bookkeeping (binding, eviction)
    checked: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    result: Versioned
    #: the update took the last finalizer away: the object is gone
    deleted: bool = False


async def update(ctx: RestContext, request: Request) -> Response:
    target = ctx.target(request)
    strategy = strategy_for(target.kind, request.info.subresource)
    if strategy is None:
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
    options = parse_write_options(request.query, "UpdateOptions")
    obj = await read_object(ctx, request, target, options)
    match_namespace(obj, target)
    match_name(obj, target)
    meta = obj["metadata"]
    pinned = bool(parse_resource_version(meta.get("resourceVersion", "")))
    uid = meta.get("uid")
    body = to_stored(target, obj)

    def compute(current: Versioned) -> Obj:
        check_precondition_uid(target, uid, current)
        _check_unconditional(target, pinned)
        return objects.deep_copy(body)  # type: ignore[no-any-return]  # deep_copy keeps the type of its argument

    change = Change(compute, strategy, options, pinned)
    if strategy.may_create and target.kind.create_on_update and target.storage.cache.get(target.key) is None:
        if pinned:
            raise errors.conflict(target.kind.plural, target.name, target.kind.group)
        await _authorize_create(ctx, request)
        meta.pop("resourceVersion", None)
        body["metadata"].pop("resourceVersion", None)
        written = await create_object(ctx, request, target, body, options)
        return object_response(ctx, request, target.view, written, 201)
    outcome = await change_object(ctx, request, target, change)
    return object_response(ctx, request, target.view, outcome.result)


async def _authorize_create(ctx: RestContext, request: Request) -> None:
    """The right to update was checked before anybody knew that the object is missing. Raises Forbidden."""
    if ctx.authorizer is None:
        return
    attributes = replace(attributes_of(request), verb="create")
    decision = await ctx.authorizer.authorize(attributes)
    if not decision.allowed:
        raise forbidden(attributes, decision.reason)


def match_name(obj: Obj, target: Target) -> None:
    name = obj["metadata"].get("name", "")
    if not name:
        raise errors.BadRequest("the name of the object ( based on URL) was undeterminable: name must be provided")
    if name != target.name:
        raise errors.BadRequest(f"the name of the object ({name}) does not match the name on the URL ({target.name})")


def _check_unconditional(target: Target, pinned: bool) -> None:
    """Raises Invalid."""
    if not pinned and not target.kind.unconditional_update:
        kind = target.storage.kind
        raise errors.invalid_object(kind.kind, target.name, [metadata.resource_version_required()], kind.group)


def check_precondition_uid(target: Target, uid: str | None, current: Versioned) -> None:
    """Raises Conflict."""
    found = current.object()["metadata"].get("uid", "")
    if uid and uid != found:
        detail = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
        raise errors.conflict(target.kind.plural, target.name, target.kind.group, detail)


async def change_object(ctx: RestContext, request: Request, target: Target, change: Change) -> Outcome:
    """Raises NotFound, Conflict, Invalid, Forbidden."""
    storage, key = target.storage, target.key
    hook = ctx.hooks.of(storage.kind.group, storage.kind.plural)
    current: Versioned | None = storage.cache.get(key)
    for _ in range(MAX_ATTEMPTS):
        if current is None:
            raise target.not_found()
        try:
            return await carry_through(_attempt(ctx, request, target, change, current), hook)
        except RevisionConflict:
            if change.pinned:
                break
            entry = await storage.fresh(key)
            current = storage.cache.wrap(entry) if entry is not None else None
    raise errors.conflict(target.kind.plural, target.name, target.kind.group)


async def _attempt(ctx: RestContext, request: Request, target: Target, change: Change, current: Versioned) -> Outcome:
    kind, options = target.storage.kind, change.options
    old = current.object()
    new = change.compute(current)
    pinned = new["metadata"].get("resourceVersion")
    if pinned and pinned not in ("0", str(current.revision)):
        raise errors.conflict(target.kind.plural, target.name, target.kind.group)
    attributes = admission_attributes(request, kind, "UPDATE", target, options, new, old)
    if change.checked:
        await ctx.admission.admit(attributes)
        new = attributes.obj or new
    if warning := metadata.drop_duplicate_owners(new):
        request.warn(warning)
    metadata.prepare_metadata_update(new, old)
    new = change.strategy.merge(kind, new, old)
    _set_generation(change.strategy, new, old, kept=kind.generation)
    new["metadata"]["resourceVersion"] = str(current.revision)
    hook = ctx.hooks.of(kind.group, kind.plural)
    if change.checked:
        found = metadata.validate_update(new, old, kind) + change.strategy.validate(kind, new, old)
        if found:
            raise errors.invalid_object(kind.kind, target.name, found, kind.group)
    reservation = await hook.before_update(new, old, dry_run=options.dry_run)
    done = False
    try:
        if change.checked:
            attributes.obj = new
            await ctx.admission.validate(attributes)
        outcome = await _commit(target, current, new, old, dry_run=options.dry_run, removable=hook.removable(new))
        done = not options.dry_run
    finally:
        if done:
            await hook.committed(None if outcome.deleted else new, old, reservation)
        else:
            await hook.rollback(new, old, reservation)
    return outcome


def _set_generation(strategy: Strategy, new: Obj, old: Obj, *, kept: bool) -> None:
    if not kept:
        return
    generation = metadata.next_generation(new, old) if strategy.counts_generation else None
    if generation is None:
        generation = old["metadata"].get("generation")
    if generation is not None:
        new["metadata"]["generation"] = generation


async def _commit(target: Target, current: Versioned, new: Obj, old: Obj, *, dry_run: bool, removable: bool) -> Outcome:
    """Raises RevisionConflict."""
    storage, meta = target.storage, new["metadata"]
    gone = (
        bool(meta.get("deletionTimestamp"))
        and not meta.get("finalizers")
        and not meta.get("deletionGracePeriodSeconds")
        and removable
    )
    if dry_run:
        return Outcome(Written(None, current.revision, new), gone)
    if gone:
        await storage.remove(target.key, current.revision)
        return Outcome(Written(None, current.revision, new), True)
    if new == old:  # an update that changes nothing is no event to anybody
        return Outcome(current)
    return Outcome(await storage.commit(target.key, current.revision, new))
