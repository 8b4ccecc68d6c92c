"""PATCH application/apply-patch+yaml: server-side apply (KEP-555).

The object becomes what it is with the client's configuration laid over it, without what the same manager applied
before and leaves out now; what others own and it would change is a conflict, unless it is taken by force. Order of
the checks: apiserver ``endpoints/handlers/patch.go``, apimachinery ``managedfields/internal``.
"""

from __future__ import annotations

from typing import Any

from sampan.api import errors, schema
from sampan.api.apply import applying, lastapplied, managers
from sampan.api.apply.applying import Applied, Conflicts, Seen
from sampan.api.apply.checking import check
from sampan.api.apply.comparing import compare
from sampan.api.apply.conflicts import conflict_error
from sampan.api.apply.managers import Identity, Managed
from sampan.api.apply.resets import reset_by
from sampan.api.apply.shapes import Shape, shape_of
from sampan.api.apply.updating import track
from sampan.api.clock import format_time
from sampan.api.kind import Strategy
from sampan.api.objects import deep_copy
from sampan.api.schema import Node
from sampan.api.types import Obj
from sampan.server.options import WriteOptions, names_version, parse_apply_options
from sampan.server.request import Request
from sampan.server.rest.body import read_apply
from sampan.server.rest.context import RestContext
from sampan.server.rest.create import create_object, match_namespace, to_working
from sampan.server.rest.ownership import answered, kind_shape, put_managed, who_writes, zero_of
from sampan.server.rest.update import MAX_ATTEMPTS, Change, authorize_create, change_object, match_name
from sampan.server.results import ObjectResult
from sampan.server.storage import Versioned
from sampan.server.target import Target
from sampan.server.threads import paced

APPLY_PATCH = "application/apply-patch+yaml"


async def apply(ctx: RestContext, request: Request, strategy: Strategy) -> ObjectResult:
    target = ctx.target(request)
    options, force = parse_apply_options(request.query)
    kind = target.kind
    config = await read_config(request, target.view.node, kind.api_version, kind.kind, options)
    meta = config.get("metadata") or {}
    pinned = isinstance(meta.get("resourceVersion"), str) and names_version(meta["resourceVersion"])
    one = Application(ctx, request, target, options, config, force=force)

    async def compute(current: Versioned) -> Obj:
        return await one.to(await target.view.writable(current, heavy=request.heavy))

    change = Change(compute, strategy, options, pinned, tracked=False)
    if not strategy.may_create:
        return ObjectResult(target.view, (await change_object(ctx, request, target, change)).result)
    for _ in range(MAX_ATTEMPTS):
        try:
            return ObjectResult(target.view, (await change_object(ctx, request, target, change)).result)
        except errors.NotFound:
            if await target.storage.newest(target.key) is not None:
                raise  # it is something else that is missing
        await authorize_create(ctx, request)
        new = await one.to_nothing()
        try:
            created = await create_object(ctx, request, target, new, options, tracked=False)
            return ObjectResult(target.view, created, 201)
        except errors.AlreadyExists:
            continue
    raise target.conflict()


async def read_config(request: Request, node: Node, api_version: str, kind: str, options: WriteOptions) -> Obj:
    """The configuration, sound for this kind. Raises BadRequest."""
    parsed = await read_apply(request)
    config: Obj = parsed.value if isinstance(parsed.value, dict) else {}
    if parsed.value is not None and not isinstance(parsed.value, dict):
        raise errors.BadRequest("error decoding YAML: the configuration is not an object")
    given = (config.get("apiVersion") or "", config.get("kind") or "")
    if given != (api_version, kind):
        raise errors.BadRequest(f"invalid object type: {_type(*given)}")
    meta = config.get("metadata")
    if isinstance(meta, dict) and meta.get("managedFields") is not None:
        raise errors.BadRequest("metadata.managedFields must be nil")
    problem = await paced(request.heavy, check, shape_of(node), config)
    if problem is not None:
        meta = meta if isinstance(meta, dict) else {}
        name = f"{_text(meta.get('namespace'))}/{_text(meta.get('name'))}; {_type(*given)}"
        raise errors.BadRequest(f"failed to create typed patch object ({name}): {problem}")
    if parsed.duplicates and options.field_validation != "Ignore":
        found = ", ".join(map(schema.duplicate_field_message, parsed.duplicates))
        if options.field_validation == "Strict":
            raise errors.BadRequest(f"error strict decoding YAML: {found}")
        request.warn(found)
    return config


def _type(api_version: Any, kind: Any) -> str:
    group, _, version = _text(api_version).rpartition("/")
    return f"{group}/{version}, Kind={_text(kind)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


class Application:
    """One configuration, to be applied to whatever the object turns out to be."""

    def __init__(
        self, ctx: RestContext, request: Request, target: Target, options: WriteOptions, config: Obj, *, force: bool
    ) -> None:
        self._ctx, self._request, self._target, self._config, self._force = ctx, request, target, config, force
        self._kind = target.kind
        self._who = who_writes(request, options, "Apply", target.kind)
        self._reset = reset_by(target.kind, request.info.subresource)

    async def to(self, live: Obj) -> Obj:
        """The object of the working kind, from the client's version of the live one, which may be changed.

        Raises Conflict, BadRequest."""
        managed = managers.decode(live["metadata"].get("managedFields"))
        now = format_time(self._ctx.clock.now())
        if not managed:
            managed = await paced(self._request.heavy, self._before_first, live, now)
        applied = await self._applied(live, managed, now)
        obj = live if applied.obj is None else applied.obj
        return await self._finished(obj, applied.managed, live)

    async def to_nothing(self) -> Obj:
        """The object to create. Raises Conflict: the configuration knows a uid, and there is nothing."""
        empty: Obj = {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": {}}
        live = {**deep_copy(zero_of(self._kind)), **empty}
        applied = await self._applied(live, {}, format_time(self._ctx.clock.now()))
        obj = live if applied.obj is None else applied.obj
        meta = obj["metadata"]
        if uid := meta.get("uid"):
            detail = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise self._target.conflict(detail)
        meta.pop("resourceVersion", None)
        return await self._finished(obj, applied.managed, live)

    async def _applied(self, live: Obj, managed: Managed, now: str) -> Applied:
        seen = Seen(self._kind.api_version, kind_shape(self._kind), live)
        try:
            return await self._attempt(seen, managed, now, force=self._force)
        except Conflicts as conflicts:
            found = conflicts.found
            heavy = self._request.heavy
            if self._who.manager == lastapplied.MANAGER:
                found = await paced(heavy, lastapplied.settles, found, live, seen.shape, seen.api_version)
            if found:
                raise await paced(heavy, conflict_error, found) from None
        return await self._attempt(seen, managed, now, force=True)

    async def _attempt(self, seen: Seen, managed: Managed, now: str, *, force: bool) -> Applied:
        config = await paced(self._request.heavy, deep_copy, self._config)  # it becomes part of the object
        steps = applying.apply(seen, config, managed, self._who, now, self._reset, force=force)
        return await answered(self._request, self._target, steps)

    def _before_first(self, live: Obj, now: str) -> Managed:
        """Somebody owns what was there before anybody applied."""
        shape: Shape = kind_shape(self._kind)
        comparison = compare(shape, zero_of(self._kind), live).without(self._reset)
        version = self._kind.api_version
        who = Identity("before-first-apply", "Update", self._who.subresource, version)
        return track({}, {version: comparison}, who, now)

    async def _finished(self, obj: Obj, managed: Managed, live: Obj) -> Obj:
        """Decoded, with defaults, named as the request says. Raises BadRequest."""
        kind, target, request = self._kind, self._target, self._request
        before = live["metadata"].get("managedFields")
        if self._who.manager == lastapplied.MANAGER:
            await paced(request.heavy, lastapplied.keep_true, obj, self._config)
        decoded = await paced(request.heavy, schema.decode, target.view.node, obj, kind.kind, collect_unknown=False)
        if decoded.error is not None:
            raise errors.BadRequest(schema.wrong_type_message(kind.kind, kind.version, decoded.error))
        obj["kind"], obj["apiVersion"] = kind.kind, kind.api_version
        meta = obj.setdefault("metadata", {})
        meta.pop("managedFields", None)
        match_name(obj, target.name)
        match_namespace(obj, target)
        if managed:
            await paced(request.heavy, put_managed, meta, managed, before)
        return await to_working(request, target, obj)
