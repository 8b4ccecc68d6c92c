"""DELETE of one object: preconditions, grace, finalizers, then removal or a deletion mark.

``plan_deletion`` decides and is pure; ``delete_object`` acts, and is also what eviction and deletecollection use.
Source of the rules: apiserver ``registry/rest/delete.go`` and ``registry/generic/registry/store.go``.
"""

from __future__ import annotations

from datetime import datetime

from sampan.api import durations
from sampan.api.clock import format_time, parse_time
from sampan.api.errors import ApiError
from sampan.api.kind import Kind
from sampan.api.objects import copy_of
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.errors import success
from sampan.server.options import DeleteOptions, WriteOptions, parse_delete_options
from sampan.server.request import Request
from sampan.server.rest.body import read_other
from sampan.server.rest.carrying import carry_through
from sampan.server.rest.context import RestContext
from sampan.server.rest.create import new_write
from sampan.server.rest.update import MAX_ATTEMPTS, check_precondition_uid, verify
from sampan.server.results import ObjectResult, PlainResult, Result
from sampan.server.storage import Stored, Versioned
from sampan.server.target import Target
from sampan.server.threads import is_heavy, paced
from sampan.store.protocol import RevisionConflict

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"


@dataclass(frozen=True, slots=True)
class Plan:
    """``obj`` None: remove now. Else store ``obj``; ``unchanged``: nothing to write, deletion is already under way."""

    obj: Obj | None
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Deleted:
    """``present``: the object lingers, and ``result`` is what it is now; else ``result`` is what it was."""

    result: Versioned
    present: bool


async def delete(ctx: RestContext, request: Request) -> Result:
    target = ctx.target(request)
    options = await read_options(request)
    deleted = await delete_object(ctx, request, target, options)
    kind = target.kind
    if deleted.present:
        status = 202 if options.orphan_dependents is False else 200
        return ObjectResult(target.view, deleted.result, status)
    if target.storage.kind.returns_deleted:
        return ObjectResult(target.view, deleted.result)
    uid = deleted.result.object()["metadata"].get("uid", "")
    return PlainResult(success(kind.plural, target.name, uid, kind.group))


async def read_options(request: Request) -> DeleteOptions:
    body = await read_other(request, "", "v1", "DeleteOptions")
    return parse_delete_options(request.query, body)


async def delete_object(ctx: RestContext, request: Request, target: Target, options: DeleteOptions) -> Deleted:
    """What is deleted was admitted as it was: after a lost race it is admitted again.

    Raises NotFound, Conflict, Forbidden.
    """
    storage, key = target.storage, target.key
    hook = ctx.hooks.of(storage.kind)
    current, certain = storage.cached(key), storage.cache.is_current()
    fresh = current is None
    if fresh:
        current = await storage.newest(key)
    for _ in range(MAX_ATTEMPTS):
        if current is None:
            raise target.not_found()
        try:
            if current.damaged:
                return await _remove_damaged(ctx, request, target, options, current)
            check_preconditions(target, options, current)
            old = await target.view.working(current, heavy=is_heavy(current.value))
            await _admit(ctx, request, target, options, old)
            return await carry_through(
                _attempt(ctx, target, options, current, certain=certain or fresh), takes=hook.takes
            )
        except RevisionConflict:
            pass
        except ApiError:
            newest = None if fresh else await storage.newest(key)
            if fresh or (newest is not None and newest.revision == current.revision):
                raise
        current, fresh = await storage.newest(key), True
    raise target.conflict()


async def _admit(ctx: RestContext, request: Request, target: Target, options: DeleteOptions, old: Obj | None) -> None:
    write = new_write(request, "DELETE", target, WriteOptions(dry_run=options.dry_run), None, old)
    write.options = options
    await ctx.admission.admit(write)
    await ctx.admission.validate(write)


async def _remove_damaged(
    ctx: RestContext, request: Request, target: Target, options: DeleteOptions, current: Stored
) -> Deleted:
    """What cannot be read can still be deleted; there are no finalizers left to ask, so it goes at once.

    Raises Conflict: the client made a condition of something that nobody can read any more.
    """
    if options.uid:
        raise target.conflict(
            f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: unreadable"
        )
    check_version(target, options, current)
    await _admit(ctx, request, target, options, None)
    if not options.dry_run:
        await target.storage.remove(target.key, current.revision, by_leader=True)
    metadata: Obj = {"name": target.name} | ({"namespace": target.namespace} if target.namespace else {})
    gone = target.storage.with_revision({"metadata": metadata}, current.revision)
    return Deleted(Stored(target.storage, target.key, None, current.revision, gone), present=False)


def check_preconditions(target: Target, options: DeleteOptions, current: Versioned) -> None:
    check_precondition_uid(target, options.uid, current)
    check_version(target, options, current)


def check_version(target: Target, options: DeleteOptions, current: Versioned) -> None:
    """Raises Conflict."""
    if options.resource_version and options.resource_version != str(current.revision):
        raise target.conflict(
            f"Precondition failed: ResourceVersion in precondition: {options.resource_version}, "
            f"ResourceVersion in object meta: {current.revision}"
        )


async def _attempt(
    ctx: RestContext, target: Target, options: DeleteOptions, current: Versioned, *, certain: bool
) -> Deleted:
    """``certain``: as for a change (``update``). Raises RevisionConflict."""
    storage, kind = target.storage, target.storage.kind
    heavy = is_heavy(current.value)
    old = await paced(heavy, current.object)
    plan = await paced(heavy, plan_deletion, kind, old, options, ctx.clock.now())
    if not certain and (plan.unchanged or options.dry_run):
        await verify(target, current)
    if plan.obj is None:
        if not options.dry_run:
            await storage.remove(target.key, current.revision, by_leader=True)
            await ctx.hooks.of(kind).committed(None, old, None)
        return Deleted(current, present=False)
    if plan.unchanged:
        return Deleted(current, present=True)
    if not old["metadata"].get("deletionTimestamp"):
        await paced(heavy, kind.prepare_delete, plan.obj)
    if options.dry_run:
        return Deleted(Stored(storage, target.key, None, current.revision, plan.obj), present=True)
    return Deleted(
        await storage.commit(target.key, current.revision, plan.obj, heavy=heavy, by_leader=True), present=True
    )


def plan_deletion(kind: Kind, old: Obj, options: DeleteOptions, now: datetime) -> Plan:
    """What one DELETE does to an object. Pure; ``old`` is not changed."""
    new = copy_of(old)
    meta, removable = new["metadata"], kind.removable(old)
    finalizers = deletion_finalizers(kind, meta.get("finalizers") or [], options)
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
    grace = kind.grace_seconds(old, options.grace_period_seconds)
    started, previous = meta.get("deletionTimestamp"), meta.get("deletionGracePeriodSeconds") or 0
    if not started:
        if not grace and not finalizers and removable:
            return Plan(None)
        meta["deletionTimestamp"] = format_time(now + durations.span(grace))
        meta["deletionGracePeriodSeconds"] = grace
        if meta.get("generation"):
            meta["generation"] += 1
        return Plan(new)
    if grace < previous and (options.grace_period_seconds is not None or grace == 0):
        # A second delete can only shorten the time that is left, counted from the first one.
        first = parse_time(started) - durations.span(previous)
        meta["deletionTimestamp"] = format_time(first + durations.span(grace))
        meta["deletionGracePeriodSeconds"] = previous = grace
    if not previous and not finalizers and removable:
        return Plan(None)
    return Plan(new, unchanged=new == old)


def deletion_finalizers(kind: Kind, present: list[str], options: DeleteOptions) -> list[str]:
    """The finalizers after a delete: the option beats what is there, which beats the kind's default."""
    orphan = ORPHAN in present or (kind.default_propagation == ORPHAN and FOREGROUND not in present)
    foreground = FOREGROUND in present
    if options.orphan_dependents is not None:
        orphan, foreground = options.orphan_dependents, False
    elif options.propagation:
        orphan, foreground = options.propagation == "Orphan", options.propagation == "Foreground"
    kept = [name for name in present if name not in (ORPHAN, FOREGROUND)]
    return kept + [ORPHAN] * orphan + [FOREGROUND] * foreground
