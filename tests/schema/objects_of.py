"""Random objects of a definition, other spellings of them, and their protobuf form. For the tests of this folder."""

from __future__ import annotations

import base64
import random
import struct
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from sampan.api.schema import AnyNode, Field, ListNode, MapNode, Node, ObjectNode, ScalarNode

LEAVES: dict[str, tuple[Any, ...]] = {
    "string": ("", "a", "é 😀", '"\\'),
    "bool": (False, True),
    "int32": (0, 1, -1),
    "int64": (0, 2**40),
    "number": (0, 0.5, -3),
    "bytes": ("", "YQ=="),
    "time": ("2024-02-29T01:02:03Z",),
    "microtime": ("2024-02-29T01:02:03.000004Z",),
    "quantity": ("0", "100m", "1Gi"),
    "int-or-string": (0, 8080, "", "25%"),
}
_DEPTH = 9


def made(node: Node, rng: random.Random, known: Any = None, depth: int = 0) -> Any:
    """An object as upstream would write it, each field there or not. ``known(node, name)``: which fields may be."""
    if isinstance(node, ScalarNode):
        return rng.choice(LEAVES[node.scalar.name])
    if isinstance(node, ListNode):
        return [made(node.items, rng, known, depth + 1) for _ in range(rng.randint(1, 2))]
    if isinstance(node, MapNode):
        return {
            key: made(node.values, rng, known, depth + 1) for key in rng.sample(("", "k", "a/b"), rng.randint(1, 2))
        }
    if not isinstance(node, ObjectNode):
        return {"any": [None, {"k": ""}]}
    value = {}
    for name, field in node.fields.items():
        if (known is not None and not known(node, name)) or isinstance(field.node, AnyNode):
            continue
        if rng.random() < (0.9 if depth < 2 else 0.4 if depth < _DEPTH else 0):
            value[name] = made(field.node, rng, known, depth + 1)
    return value


def otherwise(node: Node, value: Any, rng: random.Random) -> Any:
    """The same object spelled in another way: with zeros and nulls where nothing was, and the other way round."""
    if isinstance(node, ListNode) and isinstance(value, list):
        return [otherwise(node.items, item, rng) for item in value]
    if isinstance(node, MapNode) and isinstance(value, dict):
        return {key: otherwise(node.values, item, rng) for key, item in value.items()}
    if not isinstance(node, ObjectNode) or not isinstance(value, dict):
        return value
    said = {}
    for name, field in node.fields.items():
        if name in value:
            if not _is_zero(field, value[name]) or rng.random() < 0.5:
                said[name] = otherwise(field.node, value[name], rng)
        elif rng.random() < 0.3:
            said[name] = rng.choice(_nothings(field))
    names = list(said)
    rng.shuffle(names)
    return {name: said[name] for name in names}


def _is_zero(field: Field, value: Any) -> bool:
    """May the field be left out, and mean the same?"""
    if field.presence == "always":
        return bool(value == field.node.zero() and type(value) is type(field.node.zero()))
    return (field.presence == "null" and value is None) or (_omits(field) and not value)


def _omits(field: Field) -> bool:
    return field.presence == "omitted" or (field.presence == "null" and isinstance(field.node, ListNode | MapNode))


def _nothings(field: Field) -> list[Any]:
    """What says no more than absence."""
    node = field.node
    if not _omits(field):
        return [None]
    if isinstance(node, ListNode):
        return [None, []]
    if isinstance(node, MapNode):
        return [None, {}]
    return [None] if node.zero() is None else [None, node.zero()]


# --- protobuf


def _moved(kind: str, base: str, package: str, former: Any) -> str:
    moved = kind.replace(f"m:{base}.", f"m:{package}.")
    return moved if moved.partition("m:")[2] in former else kind


@cache
def numbers() -> dict[str, dict[str, tuple[str, str]]]:
    """Message to field to its number and type."""
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
    return {
        name: {field: (number, kind.lstrip("?&")) for number, (field, kind) in table.items()}
        for name, table in raw.items()
    }


@cache
def _embedded(name: str) -> dict[str, tuple[str, str]]:
    """JSON fields of a message's embedded structs: the struct's field number and name."""
    found: dict[str, tuple[str, str]] = {}
    for number, kind in numbers()[name].values():
        inner = kind.removeprefix("m:")
        if kind.startswith("m:") and inner in numbers():
            for field in (*numbers()[inner], *_embedded(inner)) if _is_embedded(name, number) else ():
                found[field] = (number, inner)
    return found


@cache
def _fields_of(name: str) -> frozenset[str]:
    from sampan.api import schema

    return frozenset(schema.load().properties(name)) if name in schema.load() else frozenset(numbers()[name])


def _is_embedded(name: str, number: str) -> bool:
    field = next(field for field, (other, _) in numbers()[name].items() if other == number)
    return name != "" and field not in _fields_of(name) and bool(_fields_of(name))


def has_number(node: ObjectNode, name: str) -> bool:
    return node.name in numbers() and (name in numbers()[node.name] or name in _embedded(node.name))


def body(name: str, value: dict[str, Any]) -> bytes:
    """A whole body, in its envelope."""
    meta = _field("1", "s", value["apiVersion"]) + _field("2", "s", value["kind"])
    content = encode(name, {key: item for key, item in value.items() if key not in ("apiVersion", "kind")})
    return b"k8s\x00" + _length("1", meta) + _length("2", content)


def encode(name: str, value: dict[str, Any]) -> bytes:
    """The message, with every field that ``value`` holds."""
    table, out, embedded = numbers()[name], b"", {}
    for key, item in value.items():
        if item is None:
            continue
        if key in table and key in _fields_of(name):
            out += _field(*table[key], item)
        elif key in _embedded(name):
            number, inner = _embedded(name)[key]
            embedded.setdefault((number, inner), {})[key] = item
    for (number, inner), part in embedded.items():
        out += _length(number, encode(inner, part))
    return out


def _field(number: str, kind: str, value: Any) -> bytes:
    if kind.startswith("*"):
        return b"".join(_field(number, kind[1:], item) for item in value)
    if kind.startswith("%"):
        entries = (_length("1", key.encode()) + _field("2", kind[1:], item) for key, item in value.items())
        return b"".join(_length(number, entry) for entry in entries)
    if kind in ("i", "B"):
        return _varint(int(number) << 3) + _varint(int(value))
    if kind == "d":
        return _varint(int(number) << 3 | 1) + struct.pack("<d", value)
    if kind == "s":
        return _length(number, value.encode())
    return _length(number, base64.b64decode(value) if kind == "b" else _message(kind[2:], value))


def _message(name: str, value: Any) -> bytes:
    simple = name.rpartition(".")[2]
    if simple == "Quantity":
        return _length("1", value.encode())
    if simple == "IntOrString":
        if isinstance(value, str):
            return _field("1", "i", 1) + _field("3", "s", value)
        return _field("1", "i", 0) + _field("2", "i", value)
    if simple in ("Time", "MicroTime"):
        moment = datetime.fromisoformat(value)
        return _field("1", "i", int(moment.timestamp())) + _field("2", "i", moment.microsecond * 1000)
    if simple == "ExtraValue":
        return _field("1", "*s", value)
    if simple in ("RawExtension", "FieldsV1", "JSON"):
        return _length("1", orjson.dumps(value))
    return encode(name, value)


def _length(number: str, data: bytes) -> bytes:
    return _varint(int(number) << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
