"""How a write looks to a webhook: its objects in the version that the webhook asked for, and back.

A write is worked on in one version (``Write.kind``). A Scale is shown as the Scale that it is; what other subresources
take (an Eviction, PodExecOptions) is shown as it came.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from sampan.api import errors, objects, schema
from sampan.api.kind import Kind
from sampan.api.patch import JSON_PATCH, DoesNotApply, apply_patch
from sampan.api.schema import Node
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.admission.webhooks.hooks import Hook
from sampan.server.rest.scale import scale_of
from sampan.server.threads import is_heavy, is_heavy_value, paced
from sampan.server.write import Write

_SCALE = ("autoscaling", "v1", "Scale")


@dataclass(frozen=True, slots=True)
class Call:
    """A webhook that has to be asked, about the resource in the version ``kind``, which its rules name."""

    hook: Hook
    kind: Kind


@dataclass(slots=True)
class Shown:
    """The objects of a write as one webhook sees them, of the kind (group, version, kind) ``gvk``."""

    gvk: tuple[str, str, str]
    obj: Obj | None
    old: Obj | None
    _encoded: tuple[bytes, bytes] | None = None

    async def encoded(self, heavy: bool) -> tuple[bytes, bytes]:
        """Both in JSON, once for all that see them."""
        if self._encoded is None:
            self._encoded = await paced(heavy, _encode, self.obj, self.old)
        return self._encoded


def _encode(obj: Obj | None, old: Obj | None) -> tuple[bytes, bytes]:
    return orjson.dumps(obj), orjson.dumps(old)


class Subject:
    """Of one write in one pass. Invariant: what ``_shown`` holds is the write's objects as they are now."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._shown: dict[tuple[str, str, str], Shown] = {}
        self._foreign = foreign_of(write)

    async def shown(self, kind: Kind) -> Shown:
        """As seen by who asks for this version. Raises ApiError: it cannot be converted."""
        gvk = kind.group, kind.version, kind.kind
        found = self._shown.get(gvk)
        if found is None:
            found = self._shown[gvk] = await self._show(kind)
        return found

    async def prepare(self, kind: Kind) -> None:
        """``shown``, before several ask for it at the same time. Raises InternalError."""
        try:
            await self.shown(kind)
        except errors.ApiError as error:
            raise internal_error(error.message) from error

    async def _show(self, kind: Kind) -> Shown:
        write = self._write
        if self._foreign is not None:
            group, version, name = self._foreign
            if self._foreign == _SCALE and write.kind.scale is not None:
                obj, old = (scale_of(write.kind, each) if each else None for each in (write.obj, write.old))
                return Shown(self._foreign, obj, old)
            typed = {"kind": name, "apiVersion": f"{group}/{version}" if group else version}
            return Shown(self._foreign, {**write.obj, **typed} if write.obj is not None else None, None)
        gvk = (kind.group, kind.version, kind.kind)
        return Shown(gvk, await self._convert(write.obj, kind), await self._convert(write.old, kind))

    async def _convert(self, obj: Obj | None, kind: Kind) -> Obj | None:
        own = self._write.kind
        if obj is None or kind is own:
            return obj
        view = self._write.request.surface.view(kind)
        if view.converter is not None:
            copy = await paced(self._write.request.heavy, objects.deep_copy, obj)
            return (await view.converter.convert([copy], kind))[0]
        if own.custom:  # only the name of the version differs
            return {**obj, "kind": kind.kind, "apiVersion": kind.api_version}
        return await paced(self._write.request.heavy, view.from_stored_now, obj)

    async def patch(self, kind: Kind, operations: list[Any]) -> bool:
        """Applies a JSON Patch to what ``kind`` shows: the write has the result. Whether anything is another now.

        Raises InternalError: it does not apply, or makes something that is not of its kind.
        """
        heavy = is_heavy_value(operations) or _copies(operations)
        return await self.change(kind, partial(_patched, operations), heavy=heavy)

    async def change(self, kind: Kind, make: Callable[[Obj, Node | None], Obj], *, heavy: bool = False) -> bool:
        """The same with what ``make`` gives for the object that ``kind`` shows. It may raise ApiError."""
        write, shown = self._write, await self.shown(kind)
        if shown.obj is None:
            raise LookupError
        node = self._node(kind)
        heavy = heavy or write.request.heavy
        new = await paced(heavy, _made, make, shown, node)
        if heavy and not write.request.heavy:
            write.request.heavy = await paced(True, is_heavy_value, new)
        if self._foreign is None:
            await paced(write.request.heavy, kind.default, new)
        changed = await paced(write.request.heavy, _differ, new, shown.obj)
        if changed:
            await self._keep(kind, new)
        return changed

    def _node(self, kind: Kind) -> Node | None:
        if self._foreign is None:
            return kind.node
        return self._write.request.surface.node(*self._foreign)

    async def _keep(self, kind: Kind, new: Obj) -> None:
        """The write has ``new``, in the version in which it is worked on."""
        write, gvk = self._write, (kind.group, kind.version, kind.kind)
        old = self._shown[gvk].old
        self._shown.clear()
        if self._foreign == _SCALE and write.kind.scale is not None and write.obj is not None:
            replicas = objects.get_path(new, "spec", "replicas", default=0)
            objects.set_path(write.obj, *write.kind.scale.spec_replicas, value=replicas)
            return
        if self._foreign is not None or kind is write.kind:
            write.obj = new
            return
        self._shown[gvk] = Shown(gvk, await paced(write.request.heavy, objects.deep_copy, new), old)
        view = write.request.surface.view(write.kind)
        if view.converter is not None:
            write.obj = (await view.converter.convert([new], write.kind))[0]
        elif write.kind.custom:
            write.obj = {**new, "kind": write.kind.kind, "apiVersion": write.kind.api_version}
        else:
            write.obj = await write.request.surface.view(kind).to_stored(new, heavy=write.request.heavy)


def foreign_of(write: Write) -> tuple[str, str, str] | None:
    """(group, version, kind) of what the write takes, where that is not the kind of its resource."""
    if not write.subresource:
        return None
    if write.subresource == "scale" and write.kind.scale is not None:
        return _SCALE
    for each in write.kind.subresources:
        if each.name == write.subresource and each.kind != write.kind.kind and write.operation != "CONNECT":
            return each.group, each.version, each.kind
    found = (write.obj or {}).get("kind")
    if write.operation == "CONNECT" and isinstance(found, str):
        group, _, version = str((write.obj or {}).get("apiVersion", "v1")).rpartition("/")
        return group, version, found
    return None


def _copies(operations: list[Any]) -> bool:
    """A few operations may make much of little."""
    return any(isinstance(each, dict) and each.get("op") == "copy" for each in operations)


def _patched(operations: list[Any], before: Obj, node: Node | None) -> Obj:
    """Raises InternalError."""
    try:
        return apply_patch(node, before, operations, JSON_PATCH)  # type: ignore[arg-type]  # JSON Patch asks no node
    except DoesNotApply as error:
        raise internal_error(error.why) from None
    except (errors.BadRequest, errors.RequestEntityTooLarge) as error:
        raise internal_error(error.message) from None


def _made(make: Callable[[Obj, Node | None], Obj], shown: Shown, node: Node | None) -> Obj:
    """A new object. Raises InternalError."""
    before = shown.obj or {}
    new = make(before, node)
    if (new.get("kind"), new.get("apiVersion")) != (before.get("kind"), before.get("apiVersion")):
        raise internal_error("the patch changes the kind or apiVersion of the object")
    if node is not None:
        decoded = schema.decode(node, new, shown.gvk[2], collect_unknown=False)
        if decoded.error is not None:
            text = schema.wrong_type_message(shown.gvk[2], shown.gvk[1], decoded.error)
            raise internal_error(text)
        new["kind"], new["apiVersion"] = before.get("kind"), before.get("apiVersion")
    if not isinstance(new.setdefault("metadata", {}), dict):
        raise internal_error("the patch leaves the object without metadata")
    return new


def _differ(new: Obj, old: Obj) -> bool:
    return not objects.same(new, old)


def internal_error(text: str) -> errors.InternalError:
    """Upstream's NewInternalError."""
    return errors.InternalError(f"Internal error occurred: {text}", details={"causes": [{"message": text}]})


def heavy_of(write: Write) -> bool:
    """Whether work on the write's objects is a thread's: a DELETE has no body that would tell."""
    if write.request.heavy or write.old is None or write.obj is not None:
        return write.request.heavy
    return is_heavy(orjson.dumps(write.old))
