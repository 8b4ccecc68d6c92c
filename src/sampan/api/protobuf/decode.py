"""From Kubernetes' protobuf encoding to the object's JSON form, by the compiled field numbers.

Called by the API server for bodies of type ``application/vnd.kubernetes.protobuf``. The result goes through the same
structural decoding as JSON. Encoding is not done: every client that sends this also accepts JSON answers.

Go embeds some structs (a Volume's source), which are messages of their own here and plain fields in JSON: a message
field that the schema does not know is such a one. And Go writes every field that is no pointer, empty or not: the
structural decoding drops what is empty and omitted, as it does for JSON.
Sources: apimachinery ``runtime.Unknown``; "API concepts: Kubernetes Protobuf encoding".
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from sampan.api import schema
from sampan.api.protobuf import wire
from sampan.api.types import Obj

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
MAX_DEPTH = 100

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Kinds that clients send under whatever group version they are talking to.
_ANY_VERSION = {
    "DeleteOptions": _META + "DeleteOptions",
    "Eviction": "io.k8s.api.policy.v1.Eviction",
}


class ProtobufError(ValueError):
    """The body cannot be decoded; the message is for the client."""


@cache
def _numbers() -> dict[str, dict[str, list[str]]]:
    data = files("sampan.api.protobuf").joinpath("data/numbers.json").read_bytes()
    messages: dict[str, dict[str, list[str]]] = orjson.loads(data)
    return messages


@cache
def _definitions() -> dict[tuple[str, str], str]:
    """(apiVersion, kind) to the name of its definition."""
    return {
        (f"{group}/{version}" if group else version, kind): name
        for (group, version, kind), name in schema.load().kinds()
    }


def decode_object(body: bytes) -> tuple[Obj, list[str]]:
    """The object, with kind and apiVersion, and the paths of fields whose numbers are unknown. Raises ProtobufError."""
    if not body.startswith(MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        api_version, kind, raw = _envelope(body[len(MAGIC) :])
        name = _ANY_VERSION.get(kind) or _definitions().get((api_version, kind))
        if name is None or name not in _numbers():
            raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"')
        unknown: list[str] = []
        obj = _message(name, raw, "", unknown, 0)
    except (wire.WireError, UnicodeDecodeError, orjson.JSONDecodeError, OverflowError) as error:
        raise ProtobufError(f"proto: {error}") from error
    return {"apiVersion": api_version, "kind": kind, **obj}, unknown


def _envelope(data: bytes) -> tuple[str, str, bytes]:
    """apiVersion, kind and content of a ``runtime.Unknown``."""
    type_meta: dict[int, str] = {}
    raw = b""
    for number, wire_type, value in wire.fields(data):
        if wire_type != wire.LENGTH or not isinstance(value, bytes):
            continue
        if number == 1:
            type_meta = {
                inner: text.decode() for inner, kind, text in wire.fields(value) if isinstance(text, bytes) and kind
            }
        elif number == 2:
            raw = value
    return type_meta.get(1, ""), type_meta.get(2, ""), raw


def _message(name: str, data: bytes, path: str, unknown: list[str], depth: int) -> Obj:
    if depth > MAX_DEPTH:
        raise ProtobufError("exceeded max depth")
    table = _numbers()[name]
    properties = _properties(name)
    result: Obj = {}
    for number, wire_type, value in wire.fields(data):
        field = table.get(str(number))
        if field is None:
            unknown.append(f"{path}[{number}]")
            continue
        key, kind = field
        here = f"{path}.{key}" if path else key
        if kind.startswith("%"):
            _add_to_map(result.setdefault(key, {}), kind[1:], value, here, unknown, depth)
        elif kind.startswith("*"):
            result.setdefault(key, []).append(_value(kind[1:], wire_type, value, here, unknown, depth))
        elif kind.startswith("m:") and key not in properties:
            result |= _embedded(kind[2:], value, path, unknown, depth)
        else:
            decoded = _value(kind, wire_type, value, here, unknown, depth)
            if decoded is not None:
                result[key] = decoded
    return result


def _embedded(name: str, value: int | bytes, path: str, unknown: list[str], depth: int) -> Obj:
    if not isinstance(value, bytes):
        raise wire.WireError(f"{name} is not a message")
    return _message(name, value, path, unknown, depth + 1)


def _add_to_map(result: Obj, kind: str, value: int | bytes, path: str, unknown: list[str], depth: int) -> None:
    """One entry of a map: a message with the key as field 1 and the value as field 2."""
    if not isinstance(value, bytes):
        raise wire.WireError(f"{path} is not a map")
    key: str = ""
    content: Any = _EMPTY.get(kind, b"")
    content_type = wire.LENGTH if isinstance(content, bytes) else wire.VARINT
    for number, wire_type, part in wire.fields(value):
        if number == 1 and isinstance(part, bytes):
            key = part.decode()
        elif number == 2:
            content, content_type = part, wire_type
    result[key] = _value(kind, content_type, content, f"{path}.{key}", unknown, depth)


_EMPTY: dict[str, int | bytes] = {"i": 0, "B": 0}


def _value(kind: str, wire_type: int, value: int | bytes, path: str, unknown: list[str], depth: int) -> Any:
    if isinstance(value, int):
        if kind == "B":
            return bool(value)
        if kind == "i":
            return wire.signed(value)
        raise wire.WireError(f"wrong wireType = {wire_type} for field {path}")
    if kind == "s":
        return value.decode()
    if kind == "b":
        return base64.b64encode(value).decode()
    if kind == "d":
        return wire.double(value)
    if not kind.startswith("m:") or wire_type != wire.LENGTH:
        raise wire.WireError(f"wrong wireType = {wire_type} for field {path}")
    name = kind[2:]
    special = _SPECIAL.get(name)
    if special is not None:
        return special(value)
    if name not in _numbers():
        raise ProtobufError(f"field {path}: messages of type {name} cannot be read")
    decoded = _message(name, value, path, unknown, depth + 1)
    # A named list in Go (authentication ExtraValue) is a message around ``items`` here.
    return decoded.get("items", []) if name.endswith(".ExtraValue") else decoded


@cache
def _properties(name: str) -> frozenset[str]:
    """The JSON fields of a definition; of an embedded struct, which the schema does not have, its own fields."""
    loaded = schema.load()
    if name not in loaded:
        return frozenset(field for field, _ in _numbers()[name].values())
    return frozenset(loaded.properties(name))


def _quantity(data: bytes) -> str:
    texts = [value.decode() for number, _, value in wire.fields(data) if number == 1 and isinstance(value, bytes)]
    return texts[0] if texts and texts[0] else "0"


def _int_or_string(data: bytes) -> int | str:
    found: dict[int, int | bytes] = {number: value for number, _, value in wire.fields(data)}
    if found.get(1):
        text = found.get(3, b"")
        return text.decode() if isinstance(text, bytes) else ""
    number = found.get(2, 0)
    return wire.signed(number) if isinstance(number, int) else 0


def _moment(data: bytes) -> datetime | None:
    found = {number: wire.signed(value) for number, _, value in wire.fields(data) if isinstance(value, int)}
    if not found:
        return None
    return _EPOCH + timedelta(seconds=found.get(1, 0), microseconds=found.get(2, 0) // 1000)


def _time(data: bytes) -> str | None:
    moment = _moment(data)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def _micro_time(data: bytes) -> str | None:
    moment = _moment(data)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment else None


def _raw_json(data: bytes) -> Any:
    """RawExtension and FieldsV1: field 1 holds JSON."""
    raw = next((value for number, _, value in wire.fields(data) if number == 1 and isinstance(value, bytes)), b"")
    return orjson.loads(raw) if raw else None


_SPECIAL: dict[str, Callable[[bytes], Any]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": _quantity,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": _raw_json,
    _META + "Time": _time,
    _META + "MicroTime": _micro_time,
    _META + "FieldsV1": _raw_json,
}
