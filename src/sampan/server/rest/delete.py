"""DELETE of one object: preconditions, grace, finalizers, then removal or a deletion mark.

``plan_deletion`` decides and is pure; ``delete_object`` acts, and is also what eviction and deletecollection use.
Source of the rules: apiserver ``registry/rest/delete.go`` and ``registry/generic/registry/store.go``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sampan.api import errors
from sampan.api.clock import format_time, parse_time
from sampan.api.kind import Kind
from sampan.api.objects import deep_copy
from sampan.api.types import Obj
from sampan.server.errors import success
from sampan.server.registry import Versioned, Written
from sampan.server.request import Request, Response
from sampan.server.rest.body import read_other
from sampan.server.rest.carrying import carry_through
from sampan.server.rest.context import RestContext, Target
from sampan.server.rest.create import admission_attributes
from sampan.server.rest.options import DeleteOptions, WriteOptions, parse_delete_options
from sampan.server.rest.respond import object_response, plain_response
from sampan.server.rest.update import MAX_ATTEMPTS, check_precondition_uid
from sampan.store.protocol import RevisionConflict

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"

#: kinds whose DELETE answers with the deleted object instead of a Status (upstream: ReturnDeletedObject)
RETURN_OBJECT = frozenset(
    {
        ("", "pods"), ("", "services"), ("", "serviceaccounts"), ("", "persistentvolumeclaims"),
        ("", "persistentvolumes"), ("", "podtemplates"), ("", "resourcequotas"), ("storage.k8s.io", "storageclasses"),
        ("storage.k8s.io", "volumeattachments"), ("storage.k8s.io", "csinodes"), ("storage.k8s.io", "csidrivers"),
        ("storage.k8s.io", "csistoragecapacities"),
    }
)  # fmt: skip


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


async def delete(ctx: RestContext, request: Request) -> Response:
    target = ctx.target(request)
    options = await read_options(ctx, request)
    deleted = await delete_object(ctx, request, target, options)
    kind = target.kind
    if deleted.present:
        status = 202 if options.orphan_dependents is False else 200
        return object_response(ctx, request, target.view, deleted.result, status)
    if (kind.group, kind.plural) in RETURN_OBJECT:
        return object_response(ctx, request, target.view, deleted.result)
    uid = deleted.result.object()["metadata"].get("uid", "")
    return plain_response(request, success(kind.plural, target.name, uid, kind.group))


async def read_options(ctx: RestContext, request: Request) -> DeleteOptions:
    body = await read_other(ctx, request, "", "v1", "DeleteOptions")
    return parse_delete_options(request.query, body)


async def delete_object(ctx: RestContext, request: Request, target: Target, options: DeleteOptions) -> Deleted:
    """Raises NotFound, Conflict, Forbidden."""
    storage, key = target.storage, target.key
    hook = ctx.hooks.of(storage.kind.group, storage.kind.plural)
    current: Versioned | None = storage.cache.get(key)
    admitted = False
    for _ in range(MAX_ATTEMPTS):
        if current is None:
            raise target.not_found()
        check_preconditions(target, options, current)
        if not admitted:
            write = WriteOptions(dry_run=options.dry_run)
            attributes = admission_attributes(request, storage.kind, "DELETE", target, write, None, current.object())
            await ctx.admission.admit(attributes)
            await ctx.admission.validate(attributes)
            admitted = True
        try:
            return await carry_through(_attempt(ctx, target, options, current), hook)
        except RevisionConflict:
            entry = await storage.fresh(key)
            current = storage.cache.wrap(entry) if entry is not None else None
    raise errors.conflict(target.kind.plural, target.name, target.kind.group)


def check_preconditions(target: Target, options: DeleteOptions, current: Versioned) -> None:
    check_precondition_uid(target, options.uid, current)
    if options.resource_version and options.resource_version != str(current.revision):
        detail = (
            f"Precondition failed: ResourceVersion in precondition: {options.resource_version}, "
            f"ResourceVersion in object meta: {current.revision}"
        )
        raise errors.conflict(target.kind.plural, target.name, target.kind.group, detail)


async def _attempt(ctx: RestContext, target: Target, options: DeleteOptions, current: Versioned) -> Deleted:
    """Raises RevisionConflict."""
    storage, kind = target.storage, target.storage.kind
    old = current.object()
    hook = ctx.hooks.of(kind.group, kind.plural)
    plan = plan_deletion(kind, old, options, ctx.clock.now(), removable=hook.removable(old))
    if plan.obj is None:
        if not options.dry_run:
            await storage.remove(target.key, current.revision)
            await hook.committed(None, old, None)
        return Deleted(current, present=False)
    if plan.unchanged:
        return Deleted(current, present=True)
    if not old["metadata"].get("deletionTimestamp"):
        hook.prepare_delete(plan.obj)
    if options.dry_run:
        return Deleted(Written(None, current.revision, plan.obj), present=True)
    return Deleted(await storage.commit(target.key, current.revision, plan.obj), present=True)


def plan_deletion(kind: Kind, old: Obj, options: DeleteOptions, now: datetime, *, removable: bool) -> Plan:
    """What one DELETE does to an object. Pure; ``old`` is not changed."""
    new: Obj = deep_copy(old)
    meta = new["metadata"]
    finalizers = deletion_finalizers(kind, meta.get("finalizers") or [], options)
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
    grace = grace_seconds(kind, old, options)
    started, previous = meta.get("deletionTimestamp"), meta.get("deletionGracePeriodSeconds") or 0
    if not started:
        if not grace and not finalizers and removable:
            return Plan(None)
        meta["deletionTimestamp"] = format_time(now + timedelta(seconds=grace))
        meta["deletionGracePeriodSeconds"] = grace
        if meta.get("generation"):
            meta["generation"] += 1
        return Plan(new)
    if grace < previous and (options.grace_period_seconds is not None or grace == 0):
        # A second delete can only shorten the time that is left, counted from the first one.
        first = parse_time(started) - timedelta(seconds=previous)
        meta["deletionTimestamp"] = format_time(first + timedelta(seconds=grace))
        meta["deletionGracePeriodSeconds"] = previous = grace
    if not previous and not finalizers and removable:
        return Plan(None)
    return Plan(new, unchanged=new == old)


def grace_seconds(kind: Kind, obj: Obj, options: DeleteOptions) -> int:
    """0: at once. Kinds without grace ignore what the client asks for."""
    if kind.grace_period_seconds is None:
        return 0
    if kind.plural == "pods" and not kind.group:
        phase = (obj.get("status") or {}).get("phase")
        if not (obj.get("spec") or {}).get("nodeName") or phase in ("Succeeded", "Failed"):
            return 0  # no node has anything to stop
    wanted = options.grace_period_seconds
    grace = kind.grace_period_seconds(obj) if wanted is None else wanted
    return 1 if (grace or 0) < 0 else grace or 0


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
