"""From Kubernetes' protobuf encoding to the object's JSON form, by the compiled field numbers.

Called by the API server for bodies of type ``application/vnd.kubernetes.protobuf``. The result goes through the same
structural decoding as JSON.

Go embeds some structs (a Volume's source), which are messages of their own here and plain fields in JSON: a message
field that the schema does not know is such a one. And Go writes every field that is no pointer, empty or not: the
structural decoding drops what is empty and omitted, as it does for JSON.
Sources: apimachinery ``runtime.Unknown``; "API concepts: Kubernetes Protobuf encoding".
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sampan.api import go_text
from sampan.api.errors import BadRequest
from sampan.api.protobuf import wire
from sampan.api.protobuf.encode import MAGIC
from sampan.api.protobuf.numbers import APIEXTENSIONS, META, Field, by_number, known, message_of
from sampan.api.schema import json_text, paths
from sampan.api.schema.paths import MAX_STRICT_ERRORS
from sampan.api.types import Obj

MAX_DEPTH = 100

_EPOCH = datetime(1970, 1, 1)  # in UTC
#: The year 1.
_GO_ZERO_SECONDS = -62135596800

#: Kinds that clients send under whatever group version they are talking to.
_ANY_VERSION = {
    "DeleteOptions": META + "DeleteOptions",
    "Eviction": "io.k8s.api.policy.v1.Eviction",
}


class ProtobufError(ValueError):
    """The body cannot be decoded; the message is for the client."""


def decode_object(body: bytes) -> tuple[Obj, list[str]]:
    """The object, with kind and apiVersion, and the paths of fields whose numbers are unknown (at most 100). Raises
    ProtobufError. Takes some microseconds a field: a body of megabytes belongs into a thread."""
    if not body.startswith(MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    reader = _Reader()
    try:
        api_version, kind, raw = _envelope(body[len(MAGIC) :])
        name = message_of(api_version, kind) or _ANY_VERSION.get(kind)
        if name is None or not known(name):
            raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"')
        obj = reader.message(name, raw)
        json_text.check_depth(obj)
    except (wire.WireError, BadRequest) as error:
        raise ProtobufError(f"proto: {error}") from error
    except OverflowError:
        raise ProtobufError("proto: timestamp out of range") from None
    return {"apiVersion": api_version, "kind": kind, **obj}, list(reader.unknown)


def _envelope(data: bytes) -> tuple[str, str, bytes]:
    """apiVersion, kind and content of a ``runtime.Unknown``."""
    type_meta: dict[int, str] = {}
    raw = b""
    for number, wire_type, value in wire.fields(data):
        if wire_type != wire.LENGTH or not isinstance(value, bytes):
            continue
        if number == 1:
            type_meta = {
                inner: go_text.decode(text) for inner, _, text in wire.fields(value) if isinstance(text, bytes)
            }
        elif number == 2:
            raw = value
    return type_meta.get(1, ""), type_meta.get(2, ""), raw


class _Reader:
    """Of one body. ``path``: where it is, joined only for messages. ``unknown`` is ordered."""

    def __init__(self) -> None:
        self.path: list[str | int] = []
        self.unknown: dict[str, None] = {}

    def message(self, name: str, data: bytes) -> Obj:
        if len(self.path) > MAX_DEPTH:
            raise ProtobufError("exceeded max depth")
        table = by_number(name)
        result: Obj = {}
        for number, wire_type, value in wire.fields(data):
            field = table.get(number)
            if field is None:
                if len(self.unknown) < MAX_STRICT_ERRORS:
                    self.unknown[f"{paths.join(self.path)}[{number}]"] = None
                continue
            self.path.append(field.key)
            self._field(result, field, wire_type, value)
            self.path.pop()
        return result

    def _field(self, result: Obj, field: Field, wire_type: int, value: int | bytes) -> None:
        if field.mapped:
            self._entry(result.setdefault(field.key, {}), field.kind, value)
        elif field.repeated:
            self._elements(result.setdefault(field.key, []), field.kind, wire_type, value)
        elif field.embedded:
            result |= self._embedded(field.kind[2:], value)
        else:
            decoded = self._value(field.kind, wire_type, value)
            if decoded is not None:
                result[field.key] = decoded

    def _fault(self, wire_type: int) -> wire.WireError:
        return wire.WireError(f"wrong wireType = {wire_type} for field {paths.join(self.path)}")

    def _embedded(self, name: str, value: int | bytes) -> Obj:
        if not isinstance(value, bytes):
            raise self._fault(wire.VARINT)
        return self.message(name, value)

    def _elements(self, result: list[Any], kind: str, wire_type: int, value: int | bytes) -> None:
        """One element of a list; of numbers many, when they are packed."""
        if kind in _NUMBERS and wire_type == wire.LENGTH and isinstance(value, bytes):
            result.extend(self._value(kind, wire.VARINT, number) for number in wire.varints(value))
        else:
            result.append(self._value(kind, wire_type, value))

    def _entry(self, result: Obj, kind: str, value: int | bytes) -> None:
        """One entry of a map: a message with the key as field 1 and the value as field 2."""
        if not isinstance(value, bytes):
            raise self._fault(wire.VARINT)
        key = ""
        content: Any = 0 if kind in _NUMBERS else b""
        content_type = wire.VARINT if kind in _NUMBERS else wire.LENGTH
        for number, wire_type, part in wire.fields(value):
            if number == 1 and isinstance(part, bytes):
                key = go_text.decode(part)
            elif number == 2:
                content, content_type = part, wire_type
        self.path.append(key)
        result[key] = self._value(kind, content_type, content)
        self.path.pop()

    def _value(self, kind: str, wire_type: int, value: int | bytes) -> Any:
        if isinstance(value, int):
            if kind not in _NUMBERS:
                raise self._fault(wire_type)
            return bool(value) if kind == "B" else wire.signed(value)
        if kind == "d" and wire_type == wire.FIXED64:
            return wire.double(value)
        if wire_type != wire.LENGTH or kind in ("d", *_NUMBERS):
            raise self._fault(wire_type)
        if kind == "s":
            return go_text.decode(value)
        if kind == "b":
            return base64.b64encode(value).decode()
        name = kind[2:]
        special = _SPECIAL.get(name)
        if special is not None:
            return special(value)
        if not known(name):
            raise ProtobufError(f"field {paths.join(self.path)}: messages of type {name} cannot be read")
        decoded = self.message(name, value)
        union = _UNIONS.get(name)
        return decoded if union is None else union(decoded)


_NUMBERS = ("i", "B")


def _quantity(data: bytes) -> str:
    text = next((value for number, _, value in wire.fields(data) if number == 1 and isinstance(value, bytes)), b"")
    return go_text.decode(text) or "0"


def _int_or_string(data: bytes) -> int | str:
    found: dict[int, int | bytes] = {number: value for number, _, value in wire.fields(data)}
    if found.get(1):
        text = found.get(3, b"")
        return go_text.decode(text) if isinstance(text, bytes) else ""
    number = found.get(2, 0)
    return wire.signed(number) if isinstance(number, int) else 0


def _moment(data: bytes) -> datetime | None:
    """None: Go's zero time."""
    found = {number: wire.signed(value) for number, _, value in wire.fields(data) if isinstance(value, int)}
    seconds, nanos = found.get(1, 0), found.get(2, 0)
    if not found or (seconds == _GO_ZERO_SECONDS and not nanos):
        return None
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)


def _time(data: bytes) -> str | None:
    moment = _moment(data)
    return moment.isoformat(timespec="seconds") + "Z" if moment else None


def _micro_time(data: bytes) -> str | None:
    moment = _moment(data)
    return moment.isoformat(timespec="microseconds") + "Z" if moment else None


def _raw_json(data: bytes) -> Any:
    """RawExtension, FieldsV1, JSON: field 1 holds JSON."""
    raw = next((value for number, _, value in wire.fields(data) if number == 1 and isinstance(value, bytes)), b"")
    return json_text.parse_json(raw)[0] if raw else None


_SPECIAL: dict[str, Callable[[bytes], Any]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": _quantity,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": _raw_json,
    META + "Time": _time,
    META + "MicroTime": _micro_time,
    META + "FieldsV1": _raw_json,
    APIEXTENSIONS + "JSON": _raw_json,
}
#: Messages that are something else in JSON.
_UNIONS: dict[str, Callable[[Obj], Any]] = {
    "io.k8s.api.authentication.v1.ExtraValue": lambda it: it.get("items", []),
    "io.k8s.api.authorization.v1.ExtraValue": lambda it: it.get("items", []),
    "io.k8s.api.certificates.v1.ExtraValue": lambda it: it.get("items", []),
    "io.k8s.api.certificates.v1beta1.ExtraValue": lambda it: it.get("items", []),
    META + "Verbs": lambda it: it.get("items", []),
    APIEXTENSIONS + "JSONSchemaPropsOrArray": lambda it: it.get("JSONSchemas") or it.get("Schema"),
    APIEXTENSIONS + "JSONSchemaPropsOrBool": lambda it: it.get("Schema", it.get("Allows", False)),
    APIEXTENSIONS + "JSONSchemaPropsOrStringArray": lambda it: it.get("Property") or it.get("Schema"),
}
