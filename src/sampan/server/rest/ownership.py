"""The managed fields of a write: who owns what after it (``api/apply`` decides; here is what asks for versions).

Called by create, update and apply after the new object is known and before admission, so that what admission changes
belongs to nobody, as upstream has it. What cannot be compared leaves the owners as they were.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

from sampan.api import errors
from sampan.api.apply import applying, managers
from sampan.api.apply.applying import Conversion, Seen, Steps
from sampan.api.apply.comparing import compare
from sampan.api.apply.making import made
from sampan.api.apply.managers import Identity, Managed
from sampan.api.apply.resets import reset_by
from sampan.api.apply.sets import Fields
from sampan.api.apply.shapes import Shape, Struct, shape_of
from sampan.api.apply.updating import Comparisons, track
from sampan.api.clock import format_time
from sampan.api.kind import Kind
from sampan.api.objects import copy_of, same
from sampan.api.types import Obj
from sampan.server.options import WriteOptions
from sampan.server.request import Request
from sampan.server.rest.context import RestContext
from sampan.server.storage import View
from sampan.server.target import Target
from sampan.server.threads import paced

T = TypeVar("T")


def who_writes(request: Request, options: WriteOptions, operation: managers.Operation, kind: Kind) -> Identity:
    manager = managers.manager_of(options.field_manager, request.headers.get("user-agent", ""))
    return managers.identity(manager, operation, kind.api_version, request.info.subresource)


def kind_shape(kind: Kind) -> Shape:
    return shape_of(kind.node)


def zero_of(kind: Kind) -> Obj:
    """An object of the kind with nothing in it. Read-only."""
    shape = kind_shape(kind)
    zero: Obj = shape.zero() if isinstance(shape, Struct) else {}
    return zero


async def own_new(ctx: RestContext, request: Request, target: Target, obj: Obj, options: WriteOptions) -> None:
    """Sets the managed fields of an object to create, of the working kind; what the client sent of them counts."""
    kind = target.kind
    given = obj["metadata"].pop("managedFields", None)
    managed: Managed = {}
    if given and not managers.is_reset(given):
        managed = await paced(request.heavy, _accepted, target, given, {})
    who = who_writes(request, options, "Update", kind)
    now, reset = format_time(ctx.clock.now()), reset_by(kind, "")
    if target.working_kind is kind and not managed:
        await paced(request.heavy, _own_all, kind, obj, who, now, reset)
        return
    change = _Tracked(who, now, reset, managed, None)
    seen = await _as_served(request, target, obj)
    old = Seen(kind.api_version, seen.shape, zero_of(kind))
    await _record_in_versions(request, target, change, old, seen, obj["metadata"])


async def own_changes(
    ctx: RestContext, request: Request, target: Target, old: Obj, new: Obj, options: WriteOptions
) -> None:
    """Sets the managed fields of an object that changes; both are of the working kind. An object whose fields nobody
    owns stays so: it was made before they were recorded, or they were taken off it."""
    kind, live = target.kind, old["metadata"].get("managedFields")
    given = new["metadata"].pop("managedFields", None)
    managed = await paced(request.heavy and given is not live, _before, request, target, live, given)
    if not managed:
        return
    who = who_writes(request, options, "Update", kind)
    reset = reset_by(kind, request.info.subresource)
    change = _Tracked(who, format_time(ctx.clock.now()), reset, managed, live)
    if target.working_kind is kind and managers.all_in(managed, kind.api_version):
        await paced(request.heavy, change.record, kind, old, new)
        return
    before, after = await _as_served(request, target, old), await _as_served(request, target, new)
    await _record_in_versions(request, target, change, before, after, new["metadata"])


def _own_all(kind: Kind, obj: Obj, who: Identity, now: str, reset: Fields) -> None:
    """Of an object that is made where one version says all."""
    fields = made(kind_shape(kind), zero_of(kind), obj, reset)
    if fields:
        obj["metadata"]["managedFields"] = [managers.new_entry(who, kind.api_version, fields, now)]


class _Tracked(NamedTuple):
    """A write by somebody; ``live``: the managed fields as they are stored."""

    who: Identity
    now: str
    reset: Fields
    managed: Managed
    live: list[Obj] | None

    def record(self, kind: Kind, old: Obj, new: Obj) -> None:
        """Where one version says all."""
        meta = new["metadata"]
        if self.live is not None:
            meta["managedFields"] = self.live  # else the metadata would differ in every write
        comparison = compare(kind_shape(kind), old, new).without(self.reset)
        meta.pop("managedFields", None)
        self.put(meta, {kind.api_version: comparison})

    def put(self, meta: Obj, comparisons: Comparisons) -> None:
        put_managed(meta, track(self.managed, comparisons, self.who, self.now), self.live)


async def _record_in_versions(
    request: Request, target: Target, change: _Tracked, old: Seen, new: Seen, meta: Obj
) -> None:
    """What cannot be converted leaves the owners as they were (upstream: UpdateNoErrors)."""
    versions = {owned.api_version for owned in change.managed.values()}
    try:
        comparisons = await answered(request, target, applying.comparisons(old, new, versions, change.reset))
    except errors.ApiError:
        if change.live is not None:
            meta["managedFields"] = change.live
        return
    await paced(request.heavy, change.put, meta, comparisons)


def _before(request: Request, target: Target, live: list[Obj] | None, given: Any) -> Managed:
    """Who owned what before this write: what the client says, where it says so and may."""
    if request.info.subresource or given is live or given is None:
        return managers.decode(live)
    if managers.is_reset(given):
        return {}
    if given == live:
        return managers.decode(live)
    return _accepted(target, given, managers.decode(live))


def _accepted(target: Target, given: Any, otherwise: Managed) -> Managed:
    """What a client sent. Raises Invalid."""
    try:
        managed = managers.parse(given)
    except (ValueError, TypeError, AttributeError):
        return otherwise
    if found := managers.validate(given):
        kind = target.kind
        raise errors.invalid_object(kind.kind, target.name, found, kind.group)
    return managed


def put_managed(meta: Obj, managed: Managed, live: list[Obj] | None) -> None:
    """The list that stands there already stays the same one when nothing changed."""
    if managed:
        entries = managers.encode(managed)
        meta["managedFields"] = live if live == entries else entries


def keep_sound(request: Request, meta: Obj, before: list[Obj] | None) -> None:
    """After mutating admission: what makes no sense there is undone; the rest is written as the server itself writes
    it, which whoever decodes it next relies on."""
    entries = meta.get("managedFields")
    if entries is before or entries == before:
        return
    try:
        managed = managers.parse(entries)
        if managed:
            meta["managedFields"] = managers.encode(managed)
    except (ValueError, TypeError, AttributeError) as error:
        if before is None:
            meta.pop("managedFields", None)
        else:
            meta["managedFields"] = before
        text = str(error) if type(error) is ValueError else "not a list of entries"
        request.warn(
            ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated "
            f"mutating admission controller; please fix your requests: {text}"
        )


def keep_times(new: Obj, old: Obj) -> bool:
    """Whether ``new`` is ``old`` but for the times of its managed fields, which then stay as they were."""
    meta, live = new["metadata"], old["metadata"].get("managedFields")
    entries = meta.get("managedFields")
    if entries is live or not entries or not live:
        return same(new, old)
    meta["managedFields"] = live
    if same(new, old) and managers.same_but_times(entries, live):
        return True
    meta["managedFields"] = entries
    return False


# -- versions ----------------------------------------------------------------------------------------------------


async def _as_served(request: Request, target: Target, obj: Obj) -> Seen:
    """An object of the working kind in the version that the client speaks."""
    kind = target.kind
    if target.working_kind is not kind:
        obj = await _from_stored(request, target.view, obj)
    return Seen(kind.api_version, kind_shape(kind), obj)


async def answered(request: Request, target: Target, steps: Steps[T]) -> T:
    """What the steps come to. Each piece between conversions runs aside when the object is heavy."""
    answer: Seen | None = None
    while True:
        asked, result = await paced(request.heavy, _advance, steps, answer)
        if asked is None:
            return result  # type: ignore[no-any-return]  # of the steps' own type
        answer = await _converted(request, target, asked)


def _advance(steps: Steps[Any], answer: Seen | None) -> tuple[Conversion | None, Any]:
    """StopIteration must not cross threads or coroutines."""
    try:
        return steps.send(answer), None
    except StopIteration as end:
        return None, end.value


async def _converted(request: Request, target: Target, asked: Conversion) -> Seen | None:
    """None: the version is not served any more."""
    kind = target.kind
    to = _view(request, kind, asked.api_version)
    seen_by = _view(request, kind, asked.seen.api_version)
    if to is None or seen_by is None:
        return None
    obj = copy_of(asked.seen.obj)
    if not kind.custom and seen_by.kind.to_stored is not None:
        obj = await paced(request.heavy, seen_by.kind.to_stored, obj)  # what is missing stays missing: no defaults
    return Seen(to.kind.api_version, kind_shape(to.kind), await _from_stored(request, to, obj))


async def _from_stored(request: Request, view: View, obj: Obj) -> Obj:
    if view.converter is None:
        return await paced(request.heavy, view.from_stored_now, obj)
    return (await view.from_stored([obj]))[0]


def _view(request: Request, kind: Kind, api_version: str) -> View | None:
    kinds = request.surface.kinds
    found = kinds.by_api_version(api_version, kind.kind)
    same = found is not None and kinds.storage(found) is kinds.storage(kind)
    return request.surface.view(found) if found is not None and same else None
