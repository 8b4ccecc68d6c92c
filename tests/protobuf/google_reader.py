"""Kubernetes' messages as Google's protobuf library reads them: a second opinion on what the server sends.

The descriptors are built from the field numbers alone; nothing of the server's own coder is used.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import orjson
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {"s": _FIELD.TYPE_BYTES, "b": _FIELD.TYPE_BYTES, "i": _FIELD.TYPE_INT64, "B": _FIELD.TYPE_BOOL}
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
#: messages that the numbers do not spell out, for JSON has them as values
_VALUES = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"1": ["string", "s"]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"1": ["type", "i"], "2": ["int", "i"], "3": ["string", "s"]},
    "io.k8s.apimachinery.pkg.runtime.RawExtension": {"1": ["raw", "b"]},
    _META + "FieldsV1": {"1": ["raw", "b"]},
    _META + "Time": {"1": ["seconds", "i"], "2": ["nanos", "i"]},
    _META + "MicroTime": {"1": ["seconds", "i"], "2": ["nanos", "i"]},
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": {"1": ["raw", "b"]},
    "Unknown": {"1": ["typeMeta", "m:TypeMeta"], "2": ["raw", "b"], "3": ["encoding", "s"], "4": ["type", "s"]},
    "TypeMeta": {"1": ["apiVersion", "s"], "2": ["kind", "s"]},
    "WatchEvent": {"1": ["type", "s"], "2": ["object", "m:io.k8s.apimachinery.pkg.runtime.RawExtension"]},
}  # fmt: skip


def _moved(kind: str, base: str, package: str, former: Any) -> str:
    moved = kind.replace(f"m:{base}.", f"m:{package}.")
    return moved if moved.partition("m:")[2] in former else kind


@cache
def numbers() -> dict[str, dict[str, list[str]]]:
    folder = files("sampan.api.protobuf").joinpath("data")
    raw = orjson.loads(folder.joinpath("numbers.json").read_bytes())
    former = orjson.loads(folder.joinpath("former.json").read_bytes())
    for name, message in former.items():
        package, _, simple = name.rpartition(".")
        base = message if isinstance(message, str) else ""
        if base:  # like another package's message, with the types that this one has
            like = raw[f"{base}.{simple}"].items()
            message = {number: [key, _moved(kind, base, package, former)] for number, (key, kind) in like}
        raw[name] = message
    return {**raw, **_VALUES}


def _simple(name: str) -> str:
    return name.replace(".", "_").replace("-", "_")


def _bare(kind: str) -> str:
    return kind.lstrip("?*%&")


def _needed(name: str, found: set[str]) -> None:
    if name in found:
        return
    found.add(name)
    for _, kind in numbers()[name].values():
        if _bare(kind).startswith("m:"):
            _needed(_bare(kind)[2:], found)


@cache
def message_class(name: str) -> Any:
    """The class of a message, in a pool with all that it holds."""
    found: set[str] = set()
    _needed(name, found)
    file = descriptor_pb2.FileDescriptorProto(name=name, syntax="proto2")
    for each in sorted(found):
        message = file.message_type.add(name=_simple(each))
        for number, (key, kind) in numbers()[each].items():
            _add(message, _simple(each), int(number), key, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(_simple(name)))


def _add(message: Any, outer: str, number: int, key: str, kind: str) -> None:
    field = message.field.add(name=f"f{number}", number=number, json_name=key)
    field.label = _FIELD.LABEL_REPEATED if kind[0] in "*%" else _FIELD.LABEL_OPTIONAL
    bare = _bare(kind)
    if kind[0] == "%":
        entry = message.nested_type.add(name=f"F{number}Entry")
        entry.options.map_entry = True
        inner = entry.field.add(name="key", number=1, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_STRING)
        inner = entry.field.add(name="value", number=2, label=_FIELD.LABEL_OPTIONAL)
        _type(inner, bare)
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{outer}.F{number}Entry"
    else:
        _type(field, bare)


def _type(field: Any, bare: str) -> None:
    if bare.startswith("m:"):
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, "." + _simple(bare[2:])
    else:
        field.type = _FIELD.TYPE_DOUBLE if bare == "d" else _SCALARS[bare]


# From messages to JSON


def read(name: str, data: bytes) -> Any:
    """The JSON of a message."""
    return _json(name, message_class(name).FromString(data))


def read_body(body: bytes, name_of: Any) -> Any:
    """The JSON of a whole answer, with its kind. ``name_of(apiVersion, kind)``: the message's name."""
    assert body[:4] == b"k8s\x00"
    unknown = message_class("Unknown").FromString(body[4:])
    assert (unknown.HasField("f3"), unknown.f3, unknown.HasField("f4"), unknown.f4) == (True, b"", True, b"")
    api_version, kind = unknown.f1.f1.decode(), unknown.f1.f2.decode()
    return {"kind": kind, "apiVersion": api_version, **read(name_of(api_version, kind), unknown.f2)}


def read_events(data: bytes, name_of: Any) -> list[tuple[str, Any]]:
    """The events of a watch's whole frames."""
    found = []
    while data:
        length = int.from_bytes(data[:4], "big")
        assert len(data) >= 4 + length, "half a frame"
        event = message_class("WatchEvent").FromString(data[4 : 4 + length])
        found.append((event.f1.decode(), read_body(event.f2.f1, name_of)))
        data = data[4 + length :]
    return found


def _json(name: str, message: Message) -> Any:
    special = _special(name, message)
    if special is not NotImplemented:
        return special
    result: dict[str, Any] = {}
    for number, (key, kind) in numbers()[name].items():
        bare = _bare(kind)
        value = getattr(message, f"f{number}")
        if kind[0] == "%":
            if value:
                result[key] = {k: _value(bare, v) for k, v in value.items()}
        elif kind[0] == "*":
            if value:
                result[key] = [_value(bare, each) for each in value]
        elif message.HasField(f"f{number}"):
            if kind[0] == "&":
                result |= _json(bare[2:], value)
            elif (decoded := _value(bare, value)) is not None:
                result[key] = decoded
    return result


def _value(bare: str, value: Any) -> Any:
    if bare.startswith("m:"):
        return _json(bare[2:], value)
    if bare == "s":
        return value.decode()
    return base64.b64encode(value).decode() if bare == "b" else value


def _special(name: str, message: Any) -> Any:
    simple = name.rpartition(".")[2]
    if simple == "Quantity":
        return message.f1.decode()
    if simple == "IntOrString":
        return message.f3.decode() if message.f1 else message.f2
    if simple in ("RawExtension", "FieldsV1", "JSON"):
        return orjson.loads(message.f1) if message.HasField("f1") else None
    if simple in ("Time", "MicroTime"):
        if not message.HasField("f1"):
            return None
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=message.f1, microseconds=message.f2 // 1000)
        said = moment.isoformat(timespec="seconds" if simple == "Time" else "microseconds")
        return said.replace("+00:00", "Z")
    if simple in ("ExtraValue", "Verbs"):
        return [each.decode() for each in message.f1]
    if simple == "JSONSchemaPropsOrArray":
        one, many = _bare(numbers()[name]["1"][1])[2:], message.f2
        return [_json(one, each) for each in many] if many else _json(one, message.f1)
    if simple == "JSONSchemaPropsOrBool":
        return _json(_bare(numbers()[name]["2"][1])[2:], message.f2) if message.HasField("f2") else message.f1
    if simple == "JSONSchemaPropsOrStringArray":
        one = _bare(numbers()[name]["1"][1])[2:]
        return _json(one, message.f1) if message.HasField("f1") else [each.decode() for each in message.f2]
    return NotImplemented
