"""The /scale subresource: the replicas of any kind that declares where they are, as an autoscaling/v1 Scale.

Who owns the replicas is written in the object's managed fields, and read and changed through those of its Scale.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sampan.api import errors, labels, objects, schema
from sampan.api.apply import managers, scaling
from sampan.api.apply.applying import Conflicts, Seen
from sampan.api.apply.applying import apply as apply_config
from sampan.api.apply.comparing import compare
from sampan.api.apply.conflicts import conflict_error
from sampan.api.apply.managers import Identity, Managed
from sampan.api.apply.sets import NONE
from sampan.api.apply.shapes import shape_of
from sampan.api.apply.updating import track
from sampan.api.clock import format_time
from sampan.api.kind import Kind, ScalePaths
from sampan.api.schema import Node
from sampan.api.strategies import MAIN
from sampan.api.types import Obj
from sampan.server.options import (
    WriteOptions,
    names_version,
    parse_apply_options,
    parse_resource_version,
    parse_write_options,
)
from sampan.server.request import Request
from sampan.server.rest.apply import APPLY_PATCH, read_config
from sampan.server.rest.body import media_type, read_other, read_patch, unsupported_media_type
from sampan.server.rest.context import RestContext
from sampan.server.rest.get import settle
from sampan.server.rest.ownership import answered, put_managed
from sampan.server.rest.patch import apply, supported_types
from sampan.server.rest.update import Change, change_object, check_precondition_uid, match_name
from sampan.server.results import PlainResult
from sampan.server.storage import Versioned
from sampan.server.target import Target

_GROUP, _VERSION, _KIND = "autoscaling", "v1", "Scale"

#: the Scale that a write makes of the present one, and what it leaves of the managed fields, as a Scale has them
Scaled = tuple[Obj, Managed]


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
    replicas = objects.get_path(obj, *paths.spec_replicas, default=0)
    return {
        "kind": _KIND,
        "apiVersion": f"{_GROUP}/{_VERSION}",
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"replicas": replicas} if replicas else {},
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
    match_name(scale, target.name)
    version = scale["metadata"].get("resourceVersion", "")
    parse_resource_version(version)
    owner = _Owner(ctx, request, options, "Update")

    async def given(current: Obj, managed: Managed) -> Scaled:
        return scale, owner.after(current, scale, managed)

    return await _change(ctx, request, target, options, given, pinned=names_version(version))


async def patch_scale(ctx: RestContext, request: Request) -> PlainResult:
    target = ctx.target(request)
    content_type = media_type(request)
    if content_type not in supported_types(target):
        raise unsupported_media_type(request.headers.get("content-type", ""), ", ".join(supported_types(target)))
    if content_type == APPLY_PATCH:
        return await _apply_scale(ctx, request, target)
    options = parse_write_options(request.query, "PatchOptions")
    body = await read_patch(request, content_type, options)
    node = _node(request)
    owner = _Owner(ctx, request, options, "Update")

    async def compute(current: Obj, managed: Managed) -> Scaled:
        scale: Obj = await apply(request, node, objects.deep_copy(current), body.value, content_type)
        _decode(node, scale, target)
        return scale, owner.after(current, scale, managed)

    return await _change(ctx, request, target, options, compute, pinned=False)


async def _apply_scale(ctx: RestContext, request: Request, target: Target) -> PlainResult:
    options, force = parse_apply_options(request.query)
    node = _node(request)
    config = await read_config(request, node, f"{_GROUP}/{_VERSION}", _KIND, options)
    owner = _Owner(ctx, request, options, "Apply")

    async def compute(current: Obj, managed: Managed) -> Scaled:
        seen = Seen(scaling.SCALE_VERSION, shape_of(node), current)
        steps = apply_config(seen, objects.deep_copy(config), managed, owner.who, owner.now, NONE, force=force)
        try:
            applied = await answered(request, target, steps)
        except Conflicts as conflicts:
            raise conflict_error(conflicts.found) from None
        scale = current if applied.obj is None else applied.obj
        _decode(node, scale, target)
        if scale["metadata"].get("name", "") != target.name:
            match_name(scale, target.name)
        return scale, applied.managed

    meta = config.get("metadata") or {}
    version = meta.get("resourceVersion") or ""
    return await _change(ctx, request, target, options, compute, pinned=names_version(version))


def _node(request: Request) -> Node:
    node = request.surface.node(_GROUP, _VERSION, _KIND)
    if node is None:
        raise errors.InternalError("the schema has no Scale")
    return node


def _decode(node: Node, scale: Obj, target: Target) -> None:
    """Raises Invalid."""
    decoded = schema.decode(node, scale, _KIND)
    if decoded.error is not None:
        error = errors.invalid("patch", "", decoded.error)
        raise errors.invalid_object(_KIND, target.name, [error], _GROUP)


class _Owner:
    """Whoever writes this Scale."""

    def __init__(
        self, ctx: RestContext, request: Request, options: WriteOptions, operation: managers.Operation
    ) -> None:
        manager = managers.manager_of(options.field_manager, request.headers.get("user-agent", ""))
        self.who: Identity = managers.identity(manager, operation, scaling.SCALE_VERSION, "scale")
        self.now = format_time(ctx.clock.now())
        self._node = _node(request)

    def after(self, current: Obj, scale: Obj, managed: Managed) -> Managed:
        """The managed fields of the Scale after this update."""
        spec = {key: {"spec": value.get("spec") or {}} for key, value in (("old", current), ("new", scale))}
        comparison = compare(shape_of(self._node), spec["old"], spec["new"])
        return track(managed, {scaling.SCALE_VERSION: comparison}, self.who, self.now)


async def _change(
    ctx: RestContext,
    request: Request,
    target: Target,
    options: WriteOptions,
    scale_for: Callable[[Obj, Managed], Awaitable[Scaled]],
    *,
    pinned: bool,
) -> PlainResult:
    paths = paths_of(target.kind)
    path = scaling.path_of(paths.spec_replicas)

    async def compute(current: Versioned) -> Obj:
        obj = await target.view.writable(current, heavy=request.heavy)
        parent = managers.decode(obj["metadata"].get("managedFields"))
        before = scaling.of_scale(parent, path)
        scale, after = await scale_for(scale_of(target.kind, obj), before)
        meta = scale.get("metadata") or {}
        check_precondition_uid(target, meta.get("uid"), current)
        replicas = (scale.get("spec") or {}).get("replicas") or 0
        if replicas < 0:
            error = errors.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
            raise errors.invalid_object(_KIND, target.name, [error], _GROUP)
        objects.set_path(obj, *paths.spec_replicas, value=replicas)
        if meta.get("resourceVersion"):
            obj["metadata"]["resourceVersion"] = meta["resourceVersion"]
        if after is not before:
            live = obj["metadata"].pop("managedFields", None)
            put_managed(obj["metadata"], scaling.of_parent(parent, after, path, target.kind.api_version), live)
        return await target.view.to_working(obj, heavy=request.heavy)

    outcome = await change_object(ctx, request, target, Change(compute, MAIN, options, pinned, tracked=False))
    return PlainResult(scale_of(target.kind, await target.view.readable(outcome.result)))
