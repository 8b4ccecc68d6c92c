"""POST: decode, default, admit, prepare, validate, commit.

``create_object`` is also what PUT on a missing name and the server's own code use.
"""

from __future__ import annotations

import orjson

from sampan.api import errors, gates, metadata, objects
from sampan.api.types import Obj
from sampan.server.options import WriteOptions, names_version, parse_write_options
from sampan.server.request import Request
from sampan.server.rest.body import read_object
from sampan.server.rest.carrying import carry_through, while_asking
from sampan.server.rest.context import RestContext
from sampan.server.rest.ownership import keep_sound, own_new
from sampan.server.results import ObjectResult
from sampan.server.storage import Stored, Versioned
from sampan.server.target import Target
from sampan.server.threads import paced
from sampan.server.write import Operation, Write
from sampan.store.protocol import RevisionConflict

#: how often a generated name is tried again (KEP-4420)
GENERATE_ATTEMPTS = 8


async def create(ctx: RestContext, request: Request) -> ObjectResult:
    options = parse_write_options(request.query, "CreateOptions")
    target = ctx.target(request)
    obj = await read_object(request, target, options)
    match_namespace(obj, target)
    if names_version(obj["metadata"].get("resourceVersion", "")):
        raise errors.BadRequest("resourceVersion should not be set on objects to be created")
    written = await create_object(ctx, request, target, await to_working(request, target, obj), options)
    return ObjectResult(target.view, written, 201)


def match_namespace(obj: Obj, target: Target) -> None:
    """The body's namespace is that of the URL, or absent and then filled in; a cluster-scoped object has none, whatever
    the body says. Raises BadRequest."""
    meta = obj["metadata"]
    if not target.kind.namespaced:
        meta.pop("namespace", None)
        return
    if meta.get("namespace", target.namespace) not in (target.namespace, ""):
        raise errors.BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    meta["namespace"] = target.namespace


async def to_working(request: Request, target: Target, obj: Obj) -> Obj:
    """Defaults in the served version, then the working version with its defaults."""
    await paced(request.heavy, target.kind.default, obj)
    return await target.view.to_working(obj, heavy=request.heavy)


def new_write(
    request: Request,
    operation: Operation,
    target: Target,
    options: WriteOptions,
    obj: Obj | None,
    old: Obj | None,
    *,
    subresource: str | None = None,
) -> Write:
    return Write(
        operation=operation,
        kind=target.working_kind,
        subresource=request.info.subresource if subresource is None else subresource,
        namespace=target.namespace,
        name=target.name or ((obj or {}).get("metadata") or {}).get("name", ""),
        obj=obj,
        old=old,
        user=request.user,
        dry_run=options.dry_run,
        request=request,
        request_kind=target.kind,
        options=options,
    )


async def create_object(
    ctx: RestContext, request: Request, target: Target, obj: Obj, options: WriteOptions, *, tracked: bool = True
) -> Versioned:
    """``obj`` is of the working kind and the callee's. ``tracked``: who creates owns its fields; else they have owners
    already. Raises ApiError."""
    if tracked:
        await own_new(ctx, request, target, obj, options)
    base = obj["metadata"].get("generateName", "")
    generated = bool(base) and not obj["metadata"].get("name")
    write = new_write(request, "CREATE", target, options, obj, None)
    await admit_owned(ctx, write)
    obj = write.obj or obj
    # What is made of an object goes by its name (a Job labels its pods with it): another name, everything anew.
    pristine = await paced(request.heavy, target.storage.encode, obj) if generated else b""
    for attempt in range(GENERATE_ATTEMPTS if generated else 1):
        write.obj = await paced(request.heavy, orjson.loads, pristine) if attempt else obj
        try:
            return await _create_once(ctx, request, target, write, options)
        except RevisionConflict:
            continue
    name = (write.obj or obj)["metadata"]["name"]
    if not generated:
        raise await _already_exists(target, name, target.storage.key(target.namespace, name))
    error = errors.already_exists(target.kind.plural, name, target.kind.group)
    raise errors.AlreadyExists(error.message, details=error.details, retry_after_seconds=1)


async def admit_owned(ctx: RestContext, write: Write) -> None:
    """Mutating admission, which may touch managed fields but not break them."""
    before = (write.obj or {}).get("metadata", {}).get("managedFields")
    await ctx.admission.admit(write)
    keep_sound(write.request, (write.obj or {}).get("metadata", {}), before)


async def _create_once(
    ctx: RestContext, request: Request, target: Target, write: Write, options: WriteOptions
) -> Versioned:
    """Raises ApiError; RevisionConflict: the name is taken."""
    kind, obj = target.working_kind, write.obj or {}
    metadata.prepare_metadata_create(obj, kind, now=ctx.clock.now(), uid=ctx.new_uid(), random=ctx.random)
    await paced(request.heavy, _prepare_new, request, target, obj)
    takes = ctx.hooks.of(kind).takes or ctx.admission.takes(target.storage.kind, target.namespace)
    return await carry_through(_write_new(ctx, target, write, options), takes=takes)


def _prepare_new(request: Request, target: Target, obj: Obj) -> None:
    """What needs nothing but the object. Raises Invalid."""
    kind, judge = target.working_kind, target.kind.validate_through
    if kind.gated is not None:
        gates.drop(kind.gated, obj, None)
    for text in kind.prepare_create(obj) or ():  # strategies use the name and uid
        request.warn(text)
    kind.stamp(obj, request.user)
    if warning := metadata.drop_duplicate_owners(obj):
        request.warn(warning)
    found = metadata.validate_create(obj, kind) + (kind.validate(obj) if judge is None else judge(obj, None))
    if found:
        raise errors.invalid_object(kind.kind, obj["metadata"].get("name", ""), found, kind.group)
    for text in kind.warnings(obj, None):
        request.warn(text)


async def _write_new(ctx: RestContext, target: Target, write: Write, options: WriteOptions) -> Versioned:
    """The part of a creation that takes and settles what the hook gives. Raises as ``_create_once``."""
    kind, obj = target.working_kind, write.obj or {}
    hook = ctx.hooks.of(kind)
    reservation = await hook.before_create(obj, dry_run=options.dry_run)
    written: Versioned | None = None
    done = False
    try:
        await while_asking(ctx.admission.validate(write))
        written = await _commit_new(ctx, target, obj, write, options)
        done = not options.dry_run
    finally:
        try:
            if done:
                await hook.committed(obj, None, reservation)
            else:
                await hook.rollback(obj, None, reservation)
        finally:
            await write.settle(written.revision if done and written is not None else 0)
    return written


async def _commit_new(ctx: RestContext, target: Target, obj: Obj, write: Write, options: WriteOptions) -> Versioned:
    """Raises RevisionConflict; NotFound, Forbidden: the namespace ended meanwhile."""
    storage, heavy = target.storage, write.request.heavy
    key = storage.key(target.namespace, obj["metadata"]["name"])
    if not options.dry_run:
        kept = await target.view.to_keep(obj, heavy=heavy)
        return await ctx.inside(target, write, lambda guards: storage.commit(
            key, 0, kept, heavy=heavy, by_leader=True, guards=guards
        ))  # fmt: skip
    present = await storage.newest(key)
    if present is not None:
        raise RevisionConflict(key, 0, present.revision)
    return Stored(storage, key, None, 0, await paced(heavy, objects.deep_copy, obj))


async def _already_exists(target: Target, name: str, key: str) -> errors.AlreadyExists:
    error = errors.already_exists(target.kind.plural, name, target.kind.group)
    present = await target.storage.newest(key)
    if present is not None and not present.damaged and present.object()["metadata"].get("deletionTimestamp"):
        return errors.AlreadyExists(f"object is being deleted: {error.message}", details=error.details)
    return error
