"""An OpenAPI v2 document as protobuf, in the messages of gnostic's ``openapiv2/OpenAPIv2.proto``.

client-go asks for this form only. Every message is a table from JSON key to the encoder of its field, so that a key
without a place in the message is an error and never lost. Pure; called by the build. Extensions are YAML in strings;
JSON is YAML.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import orjson

#: The encoder of one field: from the JSON value to the whole field, key included.
Encoder = Callable[[Any], bytes]
_Message = Callable[[Any], bytes]


def encode(document: Mapping[str, Any]) -> bytes:
    """Raises ValueError for a key that gnostic has no field for."""
    return _document(document)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _delimited(key: bytes, content: bytes) -> bytes:
    return key + _varint(len(content)) + content


def _text(number: int) -> Encoder:
    key = _varint(number << 3 | 2)
    return lambda value: _delimited(key, value.encode())


def _texts(number: int) -> Encoder:
    one = _text(number)
    return lambda values: b"".join(map(one, values))


def _flag(number: int) -> Encoder:
    key = _varint(number << 3)
    return lambda value: key + b"\x01" if value else b""


def _double(number: int) -> Encoder:
    key = _varint(number << 3 | 1)
    return lambda value: key + struct.pack("<d", value)


def _whole(number: int) -> Encoder:
    key = _varint(number << 3)
    return lambda value: key + _varint(value & 0xFFFFFFFFFFFFFFFF)


def _message(number: int, content: _Message) -> Encoder:
    key = _varint(number << 3 | 2)
    return lambda value: _delimited(key, content(value))


def _messages(number: int, content: _Message) -> Encoder:
    one = _message(number, content)
    return lambda values: b"".join(map(one, values))


def _named(content: _Message, number: int = 1) -> _Message:
    """A map, which gnostic writes as a list of (name, value)."""
    name, value = _text(1), _message(2, content)
    pair = _message(number, lambda item: name(item[0]) + value(item[1]))
    return lambda mapping: b"".join(map(pair, mapping.items()))


def _table(what: str, fields: Mapping[str, Encoder], extension: int) -> _Message:
    vendor = _message(extension, _extension)

    def content(value: Mapping[str, Any]) -> bytes:
        parts = []
        for key, item in value.items():
            if key in fields:
                parts.append(fields[key](item))
            elif key.startswith("x-"):
                parts.append(vendor((key, item)))
            else:
                raise ValueError(f"{key} of a {what} has no place in gnostic's message")
        return b"".join(parts)

    return content


_NAME, _YAML = _text(1), _text(2)


def _any(value: Any) -> bytes:
    return _YAML(orjson.dumps(value).decode() + "\n")


_ANY = _message(2, _any)


def _docs(value: Any) -> bytes:
    return _text(1)(value.get("description", "")) + _text(2)(value.get("url", ""))


def _extension(item: tuple[str, Any]) -> bytes:
    return _NAME(item[0]) + _ANY(item[1])


def _schema(value: Any) -> bytes:
    return _SCHEMA(value)  # looked up late: schemas hold schemas


def _additional(value: Any) -> bytes:
    return _ADDITIONAL_BOOLEAN(value) if isinstance(value, bool) else _ADDITIONAL_SCHEMA(value)


_ADDITIONAL_SCHEMA, _ADDITIONAL_BOOLEAN = _message(1, _schema), _flag(2)
_SCHEMA = _table(
    "schema",
    {
        "$ref": _text(1),
        "format": _text(2),
        "title": _text(3),
        "description": _text(4),
        "default": _message(5, _any),
        "multipleOf": _double(6),
        "maximum": _double(7),
        "exclusiveMaximum": _flag(8),
        "minimum": _double(9),
        "exclusiveMinimum": _flag(10),
        "maxLength": _whole(11),
        "minLength": _whole(12),
        "pattern": _text(13),
        "maxItems": _whole(14),
        "minItems": _whole(15),
        "uniqueItems": _flag(16),
        "maxProperties": _whole(17),
        "minProperties": _whole(18),
        "required": _texts(19),
        "enum": _messages(20, _any),
        "additionalProperties": _message(21, _additional),
        "type": _message(22, _text(1)),
        "items": _message(23, _message(1, _schema)),
        "allOf": _messages(24, _schema),
        "properties": _message(25, _named(_schema)),
        "externalDocs": _message(29, _docs),
        "example": _message(30, _any),
    },
    31,
)

_PARAMETER = {"required": _flag(1), "in": _text(2), "description": _text(3), "name": _text(4)}
_QUERY = _table("query parameter", {**_PARAMETER, "type": _text(6), "uniqueItems": _flag(20)}, 23)
_PATH = _table("path parameter", {**_PARAMETER, "type": _text(5), "uniqueItems": _flag(19)}, 22)
_BODY = _table(
    "body parameter",
    {"description": _text(1), "name": _text(2), "in": _text(3), "required": _flag(4), "schema": _message(5, _schema)},
    6,
)
#: Parameter: a body, or a NonBodyParameter that is one of four
_PARAMETER_KINDS: Mapping[str, Encoder] = {
    "body": _message(1, _BODY),
    "query": _message(2, _message(3, _QUERY)),
    "path": _message(2, _message(4, _PATH)),
}


def _parameter(value: Mapping[str, Any]) -> bytes:
    return _PARAMETER_KINDS[value["in"]](value)


_PARAMETERS_ITEM = _message(1, _parameter)
_RESPONSE = _table("response", {"description": _text(1), "schema": _message(2, _message(1, _schema))}, 5)
_OPERATION = _table(
    "operation",
    {
        "tags": _texts(1),
        "summary": _text(2),
        "description": _text(3),
        "operationId": _text(5),
        "produces": _texts(6),
        "consumes": _texts(7),
        "parameters": _messages(8, _PARAMETERS_ITEM),
        "responses": _message(9, _named(_message(1, _RESPONSE))),
        "schemes": _texts(10),
        "deprecated": _flag(11),
    },
    13,
)
_PATH_ITEM = _table(
    "path",
    {
        "get": _message(2, _OPERATION),
        "put": _message(3, _OPERATION),
        "post": _message(4, _OPERATION),
        "delete": _message(5, _OPERATION),
        "options": _message(6, _OPERATION),
        "head": _message(7, _OPERATION),
        "patch": _message(8, _OPERATION),
        "parameters": _messages(9, _PARAMETERS_ITEM),
    },
    10,
)
_API_KEY = _table(
    "security definition", {"type": _text(1), "name": _text(2), "in": _text(3), "description": _text(4)}, 5
)
_document = _table(
    "document",
    {
        "swagger": _text(1),
        "info": _message(2, _table("info", {"title": _text(1), "version": _text(2), "description": _text(3)}, 7)),
        "paths": _message(8, _named(_PATH_ITEM, 2)),
        "definitions": _message(9, _named(_schema)),
        "security": _messages(12, _named(_texts(1))),
        "securityDefinitions": _message(13, _named(_message(2, _API_KEY))),
    },
    16,
)
