"""PATCH: JSON Patch, JSON Merge Patch and strategic merge patch on the served version of an object; apply is in
``apply``.

A patch is applied again when the object changed meanwhile; the client sees 409 only if it pinned a resourceVersion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sampan.api import errors, go_text, schema
from sampan.api.patch import apply_patch, restoring
from sampan.api.schema import Node
from sampan.api.strategies import strategy_for
from sampan.api.types import Obj
from sampan.server.options import WriteOptions, names_version, parse_resource_version, parse_write_options
from sampan.server.request import Request
from sampan.server.rest import apply as server_side
from sampan.server.rest.body import (
    ParsedPatch,
    field_messages,
    keep_reset,
    media_type,
    read_patch,
    unsupported_media_type,
)
from sampan.server.rest.context import RestContext
from sampan.server.rest.create import to_working
from sampan.server.rest.update import Change, change_object, match_name
from sampan.server.results import ObjectResult
from sampan.server.storage import Versioned
from sampan.server.target import Target
from sampan.server.threads import aside, is_heavy_value, paced

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
_BUILT_IN = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, server_side.APPLY_PATCH)
_CUSTOM = (JSON_PATCH, MERGE_PATCH, server_side.APPLY_PATCH)


def supported_types(target: Target) -> tuple[str, ...]:
    """Custom resources have no merge keys: no strategic merge."""
    return _CUSTOM if target.kind.custom else _BUILT_IN


async def patch(ctx: RestContext, request: Request) -> ObjectResult:
    target = ctx.target(request)
    strategy = strategy_for(target.kind, request.info.subresource)
    if strategy is None:
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
    content_type = media_type(request)
    if content_type not in supported_types(target):
        raise unsupported_media_type(request.headers.get("content-type", ""), ", ".join(supported_types(target)))
    if content_type == server_side.APPLY_PATCH:
        return await server_side.apply(ctx, request, strategy)
    options = parse_write_options(request.query, "PatchOptions")
    body = await read_patch(request, content_type, options)
    pinned = _pins_version(body.value)

    async def compute(current: Versioned) -> Obj:
        return await patched_object(request, target, options, current, body, content_type)

    outcome = await change_object(ctx, request, target, Change(compute, strategy, options, pinned))
    return ObjectResult(target.view, outcome.result)


def _pins_version(body: Any) -> bool:
    """Whether a merge patch pins the resourceVersion; a JSON Patch pins it with ``test``, which fails by itself."""
    if not isinstance(body, dict):
        return False
    metadata = body.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return isinstance(version, str) and names_version(version)


async def apply(request: Request, node: Node, before: Obj, patch: Any, content_type: str) -> Any:
    """The patched object. A JSON Patch that copies may make much of little: it is heavy if what it made is.

    Raises BadRequest, Invalid, RequestEntityTooLarge.
    """
    if not isinstance(patch, list) or not any(isinstance(one, dict) and one.get("op") == "copy" for one in patch):
        return await paced(request.heavy, apply_patch, node, before, patch, content_type)
    patched = await paced(True, apply_patch, node, before, patch, content_type)
    request.heavy = request.heavy or await paced(True, is_heavy_value, patched)
    return patched


async def patched_object(
    request: Request, target: Target, options: WriteOptions, current: Versioned, body: ParsedPatch, content_type: str
) -> Obj:
    """The patched object in the working version. Raises BadRequest, Invalid, RequestEntityTooLarge."""
    kind, node = target.kind, target.view.node
    if request.heavy:
        await aside(current.object)
    before = await target.view.readable(current)
    name, namespace = before["metadata"]["name"], before["metadata"].get("namespace")
    obj = await apply(request, node, before, body.value, content_type)
    keep_reset(obj)
    collect = options.field_validation != "Ignore"
    decoded = await paced(request.heavy, _decoded, target, obj, body.value, collect)
    if decoded.error is not None:
        raise await paced(True, _Subject(node, before, body.value, content_type).undecodable, decoded.error)
    if body.problems or decoded.unknown:
        problems = [*body.problems, *field_messages(decoded.unknown, ())]
        if options.field_validation == "Strict":
            subject = _Subject(node, before, body.value, content_type)
            raise await paced(True, subject.refused, f"strict decoding error: {', '.join(problems)}")
        if options.field_validation == "Warn":
            for problem in problems:
                request.warn(problem)
    meta = obj.setdefault("metadata", {})
    match_name(obj, name)
    if meta.get("namespace") != namespace:
        raise errors.BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    if obj.get("kind", kind.kind) != kind.kind or obj.get("apiVersion", kind.api_version) != kind.api_version:
        raise errors.BadRequest("a patch may not change kind or apiVersion")
    parse_resource_version(meta.get("resourceVersion", ""))
    obj["kind"], obj["apiVersion"] = kind.kind, kind.api_version
    return await to_working(request, target, obj)


def _decoded(target: Target, obj: Obj, patch: Any, collect_unknown: bool) -> schema.Decoded:
    """Decodes what was patched, in place. What a patch does not name is as it was stored, decoded already: unless it
    was converted, or belongs to a custom resource, whose schema may have been another."""
    kind, node = target.kind, target.view.node
    stored = target.view.as_stored and not kind.custom
    if not stored or type(patch) is not dict or _may_direct(patch):
        return schema.decode(node, obj, kind.kind, collect_unknown=collect_unknown)
    named = {key: obj[key] for key in patch if key in obj}
    meta, changes = named.get("metadata"), patch.get("metadata")
    if type(meta) is dict and type(changes) is dict and not _may_direct(changes):
        # Most patches change metadata, most of which is managed fields.
        named["metadata"] = {key: meta[key] for key in _in_order(meta, changes)}
        decoded = schema.decode(node, named, kind.kind, collect_unknown=collect_unknown)
        _put_back(meta, changes, named.get("metadata") or {})
        named["metadata"] = meta
    else:
        decoded = schema.decode(node, named, kind.kind, collect_unknown=collect_unknown)
    _put_back(obj, patch, named)
    return decoded


def _may_direct(patch: Obj) -> bool:
    """Whether keys of a strategic merge may speak of others than themselves (``$patch``, ``$setElementOrder/...``)."""
    return "$" in "".join(patch)


def _in_order(whole: Obj, changes: Obj) -> list[str]:
    """What the changes name, as it stands in the whole: faults are told in that order."""
    if len(changes) == 1:
        return [key for key in changes if key in whole]
    return [key for key in whole if key in changes]


def _put_back(whole: Obj, patch: Obj, decoded: Obj) -> None:
    for key in patch:
        if key in decoded:
            whole[key] = decoded[key]
        else:
            whole.pop(key, None)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a refusal of a patch's result shows: upstream names neither kind nor object there, but the result, or of a
    strategic merge the patch. Only made when it is needed: what is decoded is changed on the way."""

    node: Node
    before: Obj
    patch: Any
    content_type: str

    def undecodable(self, error: str) -> errors.Invalid:
        if self.content_type == STRATEGIC_PATCH:
            error = restoring.fault(self.node, self._result()) or error
        return self.refused(error)

    def refused(self, text: str) -> errors.Invalid:
        shown = go_text.show(self.patch) if self.content_type == STRATEGIC_PATCH else go_text.json(self._result())
        return errors.invalid_object("", "", [errors.invalid("patch", shown, text)])

    def _result(self) -> Obj:
        result: Obj = apply_patch(self.node, self.before, self.patch, self.content_type)
        return result
