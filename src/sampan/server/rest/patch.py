"""PATCH: JSON Patch, JSON Merge Patch and strategic merge patch on the served version of an object.

A patch is applied again when the object changed meanwhile; the client sees 409 only if it pinned a resourceVersion.
"""

from __future__ import annotations

from typing import Any

import orjson

from sampan.api import errors, schema
from sampan.api.patch import apply_patch
from sampan.api.types import Obj
from sampan.server.registry import Versioned
from sampan.server.request import Request, Response
from sampan.server.rest.body import field_messages, media_type, unsupported_media_type
from sampan.server.rest.context import RestContext, Target
from sampan.server.rest.create import to_stored
from sampan.server.rest.options import WriteOptions, parse_resource_version, parse_write_options
from sampan.server.rest.respond import object_response
from sampan.server.rest.strategies import strategy_for
from sampan.server.rest.update import Change, change_object

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
_BUILT_IN = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)
_CUSTOM = (JSON_PATCH, MERGE_PATCH)


def supported_types(target: Target) -> tuple[str, ...]:
    """Custom resources have no merge keys: no strategic merge."""
    return _BUILT_IN if target.kind.schema.startswith("io.k8s.") else _CUSTOM


async def patch(ctx: RestContext, request: Request) -> Response:
    target = ctx.target(request)
    strategy = strategy_for(target.kind, request.info.subresource)
    if strategy is None:
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
    content_type = media_type(request)
    if content_type not in supported_types(target):
        raise unsupported_media_type(request.headers.get("content-type", ""), ", ".join(supported_types(target)))
    options = parse_write_options(request.query, "PatchOptions")
    body: Any = request.obj if request.in_process else parse_patch(await request.load_body())
    pinned = _names_version(body)

    def compute(current: Versioned) -> Obj:
        return patched_object(request, target, options, current, body, content_type)

    outcome = await change_object(ctx, request, target, Change(compute, strategy, options, pinned))
    return object_response(ctx, request, target.view, outcome.result)


def parse_patch(body: bytes) -> Any:
    """Raises BadRequest."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise errors.BadRequest(f"error decoding patch: {error}") from error


def _names_version(body: Any) -> bool:
    """Whether a merge patch pins the resourceVersion; a JSON Patch pins it with ``test``, which fails by itself."""
    if not isinstance(body, dict):
        return False
    metadata = body.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("resourceVersion"))


def patched_object(
    request: Request, target: Target, options: WriteOptions, current: Versioned, body: Any, content_type: str
) -> Obj:
    """The patched object in the stored version. Raises BadRequest, Invalid, RequestEntityTooLarge."""
    kind, node = target.kind, target.view.node
    before = target.view.writable(current)
    name, namespace = before["metadata"]["name"], before["metadata"].get("namespace")
    obj = apply_patch(node, before, body, content_type)
    if not isinstance(obj, dict):
        raise _invalid_patch(kind.kind, target.name, kind.group, "the result of the patch is not an object")
    decoded = schema.decode(node, obj, kind.kind, collect_unknown=options.field_validation != "Ignore")
    if decoded.error is not None:
        raise _invalid_patch(kind.kind, target.name, kind.group, decoded.error)
    problems = field_messages(decoded.unknown, ())
    if problems and options.field_validation == "Strict":
        text = f"strict decoding error: {', '.join(problems)}"
        raise _invalid_patch(kind.kind, target.name, kind.group, text)
    if options.field_validation == "Warn":
        for problem in problems:
            request.warn(problem)
    meta = obj.setdefault("metadata", {})
    if meta.get("name", "") != name:
        raise errors.BadRequest(
            f"the name of the object ({meta.get('name', '')}) does not match the name on the URL ({name})"
        )
    if meta.get("namespace") != namespace:
        raise errors.BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    if obj.get("kind", kind.kind) != kind.kind or obj.get("apiVersion", kind.api_version) != kind.api_version:
        raise errors.BadRequest("a patch may not change kind or apiVersion")
    parse_resource_version(meta.get("resourceVersion", ""))
    obj["kind"], obj["apiVersion"] = kind.kind, kind.api_version
    return to_stored(target, obj)


def _invalid_patch(kind: str, name: str, group: str, text: str) -> errors.Invalid:
    return errors.invalid_object(kind, name, [errors.invalid("patch", "", text)], group)
