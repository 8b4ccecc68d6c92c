"""From a request's body to an object of its kind: content type, parsing, kind, structure, field validation.

Used by every write. What a client can get wrong here is 400 or 415, never 500.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sampan.api import errors, patch, protobuf, schema
from sampan.api.kind import Kind
from sampan.api.schema import Node
from sampan.api.schema.scalars import describe
from sampan.api.types import Obj
from sampan.server.options import WriteOptions
from sampan.server.request import Request
from sampan.server.target import Target
from sampan.server.threads import is_heavy, is_heavy_value, paced

_JSON_TYPES = frozenset({"", "application/json", "*/*", "application/*"})
_YAML_TYPES = frozenset({"application/yaml"})
_SUPPORTED = f"application/json, application/yaml, {protobuf.CONTENT_TYPE}"


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def unsupported_media_type(found: str, supported: str = _SUPPORTED) -> errors.UnsupportedMediaType:
    return errors.UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {supported}"
        + (f" (got {found})" if found else "")
    )


class Parsed(NamedTuple):
    """The JSON value of a body, and what its encoding held besides: keys given twice, field numbers nobody knows."""

    value: Any
    duplicates: Sequence[str] = ()
    unknown: Sequence[str] = ()


#: protobuf says nothing of what is in it: an empty message is two bytes
_LONG_PROTOBUF_BYTES = 1024


async def _read(request: Request, parse: Callable[[bytes], Parsed], kind: str = "") -> Parsed:
    """The one place that asks where a body comes from: from here on it is a value, and whether it is heavy is known."""
    if request.in_process:
        request.heavy = is_heavy_value(request.obj)
        return Parsed(request.obj)
    body = await request.load_body()
    if kind == protobuf.CONTENT_TYPE:
        parsed = await paced(len(body) > _LONG_PROTOBUF_BYTES, parse, body)
        request.heavy = is_heavy_value(parsed.value)
        return parsed
    request.heavy = kind in _YAML_TYPES or is_heavy(body)
    return await paced(request.heavy, parse, body)


async def parse_body(request: Request, what: str, *, optional: bool = False) -> Parsed:
    """``what``: the kind wanted, for messages. ``optional``: no body at all is the value None.

    Raises BadRequest, UnsupportedMediaType.
    """
    kind = media_type(request)

    def parse(body: bytes) -> Parsed:
        return Parsed(None) if optional and not body else _parse(request, kind, body, what)

    return await _read(request, parse, kind)


def _parse(request: Request, kind: str, body: bytes, what: str) -> Parsed:
    header = request.headers.get("content-type", "")
    if header and not kind:
        raise unsupported_media_type(header)
    try:
        if kind in _JSON_TYPES:
            parsed = Parsed(*schema.parse_json(body))
        elif kind in _YAML_TYPES:
            parsed = Parsed(*schema.parse_yaml(body))
        elif kind == protobuf.CONTENT_TYPE:
            value, unknown = protobuf.decode_object(body)
            return Parsed(value, unknown=unknown)
        else:
            raise unsupported_media_type(header)
    except (errors.BadRequest, protobuf.ProtobufError) as error:
        raise _unrecognized(what, str(error), body) from error
    if fault := _head_fault(parsed.value):
        raise _unrecognized(what, fault, body)
    return parsed


#: of a body that is none, so much is shown (upstream's ``summarizeData``)
_SHOWN_BYTES = 30


def _unrecognized(kind: str, fault: str, body: bytes = b"") -> errors.BadRequest:
    head = body[:_SHOWN_BYTES]
    shown = head.decode("utf-8", "replace") if head[:1] == b"{" else head.hex()
    shown += " ..." if len(body) > _SHOWN_BYTES else ""
    shown = f" ({shown or '<empty>'})"
    return errors.BadRequest(f"the object provided is unrecognized (must be of type {kind}): {fault}{shown}")


_NO_HEAD = "couldn't get version/kind; json parse error: json: cannot unmarshal "
_GO_HEAD = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'


def _head_fault(value: Any) -> str:
    """Why it cannot be seen what an object is: Go reads ``kind`` and ``apiVersion`` before anything else."""
    if value is None:
        return ""
    if not isinstance(value, dict):
        return f"{_NO_HEAD}{describe(value)} into Go value of type {_GO_HEAD}"
    for key, item in value.items():
        if key in ("kind", "apiVersion") and item is not None and not isinstance(item, str):
            return f"{_NO_HEAD}{describe(item)} into Go struct field .{key} of type string"
    return ""


class ParsedPatch(NamedTuple):
    """``problems``: what field validation says of the patch itself."""

    value: Any
    problems: Sequence[str] = ()


async def read_patch(request: Request, content_type: str, options: WriteOptions) -> ParsedPatch:
    """The value of a patch. Raises BadRequest."""
    checked = options.field_validation != "Ignore"

    def parse(body: bytes) -> Parsed:
        return Parsed(ParsedPatch(*patch.parse_patch(body, content_type, checked=checked)))

    parsed = await _read(request, parse)
    return ParsedPatch(parsed.value) if request.in_process else parsed.value


async def read_apply(request: Request) -> Parsed:
    """The configuration of a server-side apply: YAML, which JSON is, too. Raises BadRequest."""
    return await _read(request, _parse_apply, "" if request.in_process else await _apply_kind(request))


async def _apply_kind(request: Request) -> str:
    """What it costs to parse it: JSON is read by a parser that is many times faster."""
    return "" if (await request.load_body()).lstrip()[:1] == b"{" else "application/yaml"


def _parse_apply(body: bytes) -> Parsed:
    try:
        if body.lstrip()[:1] == b"{":
            try:
                return Parsed(*schema.parse_json(body))
            except errors.BadRequest:
                pass  # flow style YAML begins like this, too
        return Parsed(*schema.parse_yaml(body))
    except errors.BadRequest as error:
        raise errors.BadRequest(f"error decoding YAML: {error}") from error


async def read_object(request: Request, target: Target, options: WriteOptions) -> Obj:
    """The object of a create or update in the served version, structurally sound. Raises BadRequest."""
    parsed = await parse_body(request, target.kind.kind)
    return await paced(request.heavy, _decoded, request, target, options, parsed)


def _decoded(request: Request, target: Target, options: WriteOptions, parsed: Parsed) -> Obj:
    """Raises BadRequest."""
    kind = target.kind
    obj = _as_object(parsed.value, kind.kind)
    keep_reset(obj)
    check_kind(request, obj, kind.group, kind.version, kind.kind)
    decoded = decode_as(target.view.node, obj, kind.kind, kind.version, options)
    report_fields(request, parsed, decoded, options, kind.kind, kind.version)
    obj["kind"], obj["apiVersion"] = kind.kind, kind.api_version
    obj.setdefault("metadata", {})
    return obj


def report_fields(
    request: Request, parsed: Parsed, unknown: Sequence[str], options: WriteOptions, kind: str, version: str
) -> None:
    """What ``fieldValidation`` says about fields that mean nothing. Raises BadRequest (Strict)."""
    problems = field_messages([*parsed.unknown, *unknown], parsed.duplicates)
    if not problems or options.field_validation == "Ignore":
        return
    if options.field_validation == "Strict":
        text = f"strict decoding error: {', '.join(problems)}"
        raise errors.BadRequest(schema.wrong_type_message(kind, version, text))
    for problem in problems:
        request.warn(problem)


def field_messages(unknown: Sequence[str], duplicates: Sequence[str]) -> list[str]:
    return [
        *map(schema.unknown_field_message, unknown),
        *map(schema.duplicate_field_message, duplicates),
    ]


def decode_as(node: Node, obj: Obj, kind: str, version: str, options: WriteOptions) -> list[str]:
    """Checks and prunes in place; the unknown fields. Raises BadRequest on a wrong type."""
    decoded = schema.decode(node, obj, kind, collect_unknown=options.field_validation != "Ignore")
    if decoded.error is not None:
        raise errors.BadRequest(schema.wrong_type_message(kind, version, decoded.error))
    return decoded.unknown


def keep_reset(obj: Any) -> None:
    """An empty list of managed fields means that they shall go. Decoding drops what is empty, as upstream's structs
    do: one empty entry means the same, and stays."""
    meta = obj.get("metadata") if isinstance(obj, dict) else None
    if isinstance(meta, dict) and meta.get("managedFields") == []:
        meta["managedFields"] = [{}]


def _as_object(value: Any, kind: str) -> Obj:
    if value is None:
        return {}
    if fault := _head_fault(value):
        raise _unrecognized(kind, fault)
    obj: Obj = value
    return obj


def check_kind(request: Request, obj: Obj, group: str, version: str, kind: str) -> None:
    """Kind and apiVersion of a body may be missing, but not be others'. Raises BadRequest."""
    wanted_version = f"{group}/{version}" if group else version
    api_version, given = obj.get("apiVersion") or wanted_version, obj.get("kind") or kind
    if api_version == wanted_version and given == kind:
        return
    found_group, _, found_version = api_version.rpartition("/")
    if given == kind and found_group == group and request.surface.kinds.by_gvk(found_group, found_version, given):
        raise errors.BadRequest(
            f"the API version in the data ({api_version}) does not match the expected API version ({wanted_version})"
        )
    known = request.surface.kinds.by_gvk(found_group, found_version, given)
    if known is None or known.custom:
        fault = f'no kind "{given}" is registered for version "{api_version}"'
    else:
        package = _INTERNAL_PACKAGES.get(group, group.partition(".")[0])
        fault = f"converting ({found_version}.{given}) to ({package}.{kind}): unknown conversion"
    raise errors.BadRequest(schema.wrong_type_message(given, found_version, fault, wanted=kind))


#: Go's packages of internal types that are not called as the first word of their group
_INTERNAL_PACKAGES = {"": "core", "events.k8s.io": "core", "internal.apiserver.k8s.io": "apiserverinternal"}


async def read_other(request: Request, group: str, version: str, kind: str, options: WriteOptions | None = None) -> Obj:
    """A body that is no stored resource: Scale, Binding, Eviction, TokenRequest, a review; DeleteOptions.

    Without ``options`` the body may be missing, and fields that it should not have are nobody's business.
    """
    optional = options is None
    options = options or WriteOptions(field_validation="Ignore")
    parsed = await parse_body(request, kind, optional=optional)
    obj = _as_object(parsed.value, kind)
    if not obj and optional:
        return {}
    _check_other_kind(request, obj, group, version, kind)
    node = request.surface.node(group, version, kind)
    if node is not None:
        unknown = await paced(request.heavy, decode_as, node, obj, kind, version, options)
        report_fields(request, parsed, unknown, options, kind, version)
    return obj


def _check_other_kind(request: Request, obj: Obj, group: str, version: str, kind: str) -> None:
    if kind == "DeleteOptions" and obj.get("kind") in (None, "", kind):
        return  # every group version has its own name for DeleteOptions
    if kind == "Eviction" and obj.get("kind") == kind and obj.get("apiVersion") == "policy/v1beta1":
        return  # the same structure
    check_kind(request, obj, group, version, kind)


def kind_or_fail(kind: Kind | None) -> Kind:
    if kind is None:
        raise errors.InternalError("a resource request without a kind")
    return kind
