"""The /scale subresource: the replicas of any kind that declares where they are, as an autoscaling/v1 Scale."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sampan.api import errors, labels, objects, schema
from sampan.api.kind import Kind, ScalePaths
from sampan.api.strategies import MAIN
from sampan.api.types import Obj
from sampan.server.options import WriteOptions, names_version, parse_resource_version, parse_write_options
from sampan.server.request import Request
from sampan.server.rest.body import media_type, read_other, read_patch, unsupported_media_type
from sampan.server.rest.context import RestContext
from sampan.server.rest.get import settle
from sampan.server.rest.patch import apply, supported_types
from sampan.server.rest.update import Change, change_object, check_precondition_uid, match_name
from sampan.server.results import PlainResult
from sampan.server.storage import HasObject, Versioned
from sampan.server.target import Target

_GROUP, _VERSION, _KIND = "autoscaling", "v1", "Scale"


def paths_of(kind: Kind) -> ScalePaths:
    if kind.scale is None:
        raise errors.NotFound("the server could not find the requested resource")
    return kind.scale


def scale_of(kind: Kind, obj: Obj) -> Obj:
    """The Scale of an object. Pure."""
    paths, meta = paths_of(kind), obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Obj = {"replicas": objects.get_path(obj, *paths.status_replicas, default=0)}
    if paths.selector is not None:
        selector = objects.get_path(obj, *paths.selector)
        text = selector if isinstance(selector, str) else _selector_text(selector)
        if text:
            status["selector"] = text
    return {
        "kind": _KIND,
        "apiVersion": f"{_GROUP}/{_VERSION}",
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"replicas": objects.get_path(obj, *paths.spec_replicas, default=0)},
        "status": status,
    }


def _selector_text(selector: Any) -> str:
    if not isinstance(selector, dict):
        return ""
    if "matchLabels" in selector or "matchExpressions" in selector:
        return labels.from_label_selector(selector).to_string()
    return labels.from_map(selector).to_string()


async def get_scale(ctx: RestContext, request: Request) -> PlainResult:
    target = ctx.target(request)
    await settle(target.storage, parse_resource_version(request.query.get("resourceVersion", "")))
    entry = target.storage.cache.get(target.key)
    if entry is None:
        raise target.not_found()
    obj = await target.view.readable(entry)
    paths = paths_of(target.kind)
    if paths.required and objects.get_path(obj, *paths.spec_replicas) is None:
        raise errors.InternalError(f'the spec replicas field ".{".".join(paths.spec_replicas)}" does not exist')
    return PlainResult(scale_of(target.kind, obj))


async def update_scale(ctx: RestContext, request: Request) -> PlainResult:
    target = ctx.target(request)
    options = parse_write_options(request.query, "UpdateOptions")
    scale = await read_other(request, _GROUP, _VERSION, _KIND, options)
    scale.setdefault("metadata", {})
    match_name(scale, target)
    version = scale["metadata"].get("resourceVersion", "")
    parse_resource_version(version)

    async def given(_current: HasObject) -> Obj:
        return scale

    return await _change(ctx, request, target, options, given, pinned=names_version(version))


async def patch_scale(ctx: RestContext, request: Request) -> PlainResult:
    target = ctx.target(request)
    content_type = media_type(request)
    if content_type not in supported_types(target):
        raise unsupported_media_type(request.headers.get("content-type", ""), ", ".join(supported_types(target)))
    options = parse_write_options(request.query, "PatchOptions")
    body = await read_patch(request, content_type)
    node = request.surface.node(_GROUP, _VERSION, _KIND)
    if node is None:
        raise errors.InternalError("the schema has no Scale")

    async def compute(current: HasObject) -> Obj:
        before = scale_of(target.kind, await target.view.writable(current, heavy=request.heavy))
        scale: Obj = await apply(request, node, before, body.value, content_type)
        decoded = schema.decode(node, scale, _KIND)
        if decoded.error is not None:
            error = errors.invalid("patch", "", decoded.error)
            raise errors.invalid_object(_KIND, target.name, [error], _GROUP)
        return scale

    return await _change(ctx, request, target, options, compute, pinned=False)


async def _change(
    ctx: RestContext,
    request: Request,
    target: Target,
    options: WriteOptions,
    scale_for: Callable[[HasObject], Awaitable[Obj]],
    *,
    pinned: bool,
) -> PlainResult:
    paths = paths_of(target.kind)

    async def compute(current: Versioned) -> Obj:
        scale = await scale_for(current)
        meta = scale.get("metadata") or {}
        check_precondition_uid(target, meta.get("uid"), current)
        replicas = (scale.get("spec") or {}).get("replicas") or 0
        if replicas < 0:
            error = errors.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
            raise errors.invalid_object(_KIND, target.name, [error], _GROUP)
        obj = await target.view.writable(current, heavy=request.heavy)
        objects.set_path(obj, *paths.spec_replicas, value=replicas)
        if meta.get("resourceVersion"):
            obj["metadata"]["resourceVersion"] = meta["resourceVersion"]
        return await target.view.to_working(obj, heavy=request.heavy)

    outcome = await change_object(ctx, request, target, Change(compute, MAIN, options, pinned))
    return PlainResult(scale_of(target.kind, await target.view.readable(outcome.result)))
