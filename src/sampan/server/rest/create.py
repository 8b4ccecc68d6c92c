"""POST: decode, default, admit, prepare, validate, commit.

``create_object`` is also what PUT on a missing name and the server's own code use.
"""

from __future__ import annotations

from sampan.api import errors, metadata, objects
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.server.attributes import AdmissionAttributes
from sampan.server.registry import Versioned, Written
from sampan.server.request import Request, Response, UserInfo
from sampan.server.rest.body import read_object
from sampan.server.rest.carrying import carry_through
from sampan.server.rest.context import RestContext, Target
from sampan.server.rest.options import WriteOptions, parse_write_options
from sampan.server.rest.respond import object_response
from sampan.store.protocol import RevisionConflict

CERTIFICATES_GROUP = "certificates.k8s.io"
#: how often a generated name is tried again (KEP-4420)
GENERATE_ATTEMPTS = 8


async def create(ctx: RestContext, request: Request) -> Response:
    options = parse_write_options(request.query, "CreateOptions")
    target = ctx.target(request)
    obj = await read_object(ctx, request, target, options)
    match_namespace(obj, target)
    if obj["metadata"].get("resourceVersion"):
        raise errors.BadRequest("resourceVersion should not be set on objects to be created")
    stored = to_stored(target, obj)
    written = await create_object(ctx, request, target, stored, options)
    return object_response(ctx, request, target.view, written, 201)


def match_namespace(obj: Obj, target: Target) -> None:
    """The body's namespace is that of the URL, or absent and then filled in. Raises BadRequest."""
    meta = obj["metadata"]
    if not target.kind.namespaced:
        return
    if meta.get("namespace", target.namespace) not in (target.namespace, ""):
        raise errors.BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    meta["namespace"] = target.namespace


def to_stored(target: Target, obj: Obj) -> Obj:
    """Defaults in the served version, then the stored version with its defaults."""
    target.kind.default(obj)
    if target.kind is not target.storage.kind:
        obj = target.view.to_stored(obj)
        target.storage.kind.default(obj)
    return obj


def admission_attributes(
    request: Request,
    kind: Kind,
    operation: str,
    target: Target,
    options: WriteOptions,
    obj: Obj | None,
    old: Obj | None,
) -> AdmissionAttributes:
    return AdmissionAttributes(
        operation=operation,  # type: ignore[arg-type]  # callers pass literals
        kind=kind,
        subresource=request.info.subresource,
        namespace=target.namespace,
        name=target.name or ((obj or {}).get("metadata") or {}).get("name", ""),
        obj=obj,
        old=old,
        user=request.user,
        dry_run=options.dry_run,
        request=request,
    )


async def create_object(
    ctx: RestContext, request: Request, target: Target, obj: Obj, options: WriteOptions
) -> Versioned:
    """``obj`` is of the stored kind and the callee's. Raises ApiError."""
    kind = target.storage.kind
    base = obj["metadata"].get("generateName", "")
    generated = bool(base) and not obj["metadata"].get("name")
    attributes = admission_attributes(request, kind, "CREATE", target, options, obj, None)
    await ctx.admission.admit(attributes)
    obj = attributes.obj or obj
    metadata.prepare_metadata_create(obj, kind, now=ctx.clock.now(), uid=ctx.new_uid(), random=ctx.random)
    kind.prepare_create(obj)  # strategies use the name and uid (a Job labels its pods with them)
    if kind.group == CERTIFICATES_GROUP and kind.kind == "CertificateSigningRequest":
        stamp_requester(obj, request.user)
    if warning := metadata.drop_duplicate_owners(obj):
        request.warn(warning)
    attributes.obj = obj
    hook = ctx.hooks.of(kind.group, kind.plural)
    return await carry_through(_write_new(ctx, target, attributes, options, base if generated else ""), hook)


async def _write_new(
    ctx: RestContext, target: Target, attributes: AdmissionAttributes, options: WriteOptions, generate_from: str
) -> Versioned:
    """The part of a creation that takes and settles what the hook gives. Raises ApiError."""
    kind, obj = target.storage.kind, attributes.obj or {}
    hook = ctx.hooks.of(kind.group, kind.plural)
    found = metadata.validate_create(obj, kind) + kind.validate(obj)
    if found:
        raise errors.invalid_object(kind.kind, obj["metadata"].get("name", ""), found, kind.group)
    reservation = await hook.before_create(obj, dry_run=options.dry_run)
    done = False
    try:
        await ctx.admission.validate(attributes)
        written = await _commit_new(ctx, target, obj, options, generate_from)
        done = not options.dry_run
    finally:
        if done:
            await hook.committed(obj, None, reservation)
        else:
            await hook.rollback(obj, None, reservation)
    return written


def stamp_requester(obj: Obj, user: UserInfo) -> None:
    """A CertificateSigningRequest says who made it; nobody can say so for another."""
    spec = obj.setdefault("spec", {})
    for key in ("username", "uid", "groups", "extra"):
        spec.pop(key, None)
    if user.name:
        spec["username"] = user.name
    if user.uid:
        spec["uid"] = user.uid
    if user.groups:
        spec["groups"] = list(user.groups)
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}


async def _commit_new(
    ctx: RestContext, target: Target, obj: Obj, options: WriteOptions, generate_from: str
) -> Versioned:
    """Tries other generated names when one is taken. Raises AlreadyExists."""
    storage, meta = target.storage, obj["metadata"]
    for attempt in range(GENERATE_ATTEMPTS):
        if attempt:
            meta["name"] = metadata.generate_name(generate_from, ctx.random)
        key = storage.key(target.namespace, meta["name"])
        if options.dry_run:
            if storage.cache.get(key) is None:
                return Written(None, 0, objects.deep_copy(obj))
        else:
            try:
                return await storage.commit(key, 0, obj)
            except RevisionConflict:
                pass  # the name is taken: another one, or AlreadyExists below
        if not generate_from:
            raise _already_exists(target, meta["name"], key)
    error = errors.already_exists(target.kind.plural, meta["name"], target.kind.group)
    raise errors.AlreadyExists(error.message, details=error.details, retry_after_seconds=1)


def _already_exists(target: Target, name: str, key: str) -> errors.AlreadyExists:
    error = errors.already_exists(target.kind.plural, name, target.kind.group)
    present = target.storage.cache.get(key)
    if present is not None and present.object()["metadata"].get("deletionTimestamp"):
        return errors.AlreadyExists(f"object is being deleted: {error.message}", details=error.details)
    return error
