"""What upstream would write of an object, by the facts of its Go types alone: what is there though its struct leaves it
out, and what is missing though its struct always writes it. It asks the compiled facts and no engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api import schema


def faults(definition: str, value: Any, path: str = "") -> Iterator[str]:
    loaded = schema.load()
    presence, properties = loaded.presence(definition), loaded.properties(definition)
    if not properties or not isinstance(value, dict):
        return
    for name, raw in properties.items():
        rule, where = presence.get(name, "omitted"), f"{path}.{name}"
        if name not in value:
            if rule in ("always", "null"):
                yield f"{where} is missing"
            continue
        item, many = value[name], raw.get("type") in ("array", "object")
        if item is None and rule != "null":
            yield f"{where} is null"
        if not item and item is not None and (rule == "omitted" or (rule == "null" and many)):
            yield f"{where} is {item!r}"
        yield from _below(raw, item, where)


def _below(raw: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if "$ref" in raw:
        yield from faults(raw["$ref"], value, path)
    elif isinstance(value, list) and "items" in raw:
        for index, item in enumerate(value):
            yield from _below(raw["items"], item, f"{path}[{index}]")
    elif isinstance(value, dict) and isinstance(raw.get("additionalProperties"), dict):
        for key, item in value.items():
            yield from _below(raw["additionalProperties"], item, f"{path}[{key}]")


def empty_values(definition: str, name: str) -> list[Any]:
    """What an empty value of the field may look like in a request."""
    raw = schema.load().properties(definition)[name]
    kind = raw.get("type", "")
    if "$ref" in raw:
        return [{}] if schema.load().raw(raw["$ref"]).get("type") == "object" else []
    return {"array": [[]], "object": [{}], "string": [""], "boolean": [False], "integer": [0], "number": [0]}.get(
        kind, []
    )


def places(definition: str, value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every struct in an object: its definition and the way to it."""
    properties = schema.load().properties(definition)
    if not properties or not isinstance(value, dict):
        return
    yield definition, way
    for name, raw in properties.items():
        if name in value and name != "managedFields":
            yield from _places_below(raw, value[name], (*way, name))


def _places_below(raw: dict[str, Any], value: Any, way: tuple[Any, ...]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    if "$ref" in raw:
        yield from places(raw["$ref"], value, way)
    elif isinstance(value, list) and "items" in raw:
        for index, item in enumerate(value[:1]):  # the others are alike
            yield from _places_below(raw["items"], item, (*way, index))
    elif isinstance(value, dict) and isinstance(raw.get("additionalProperties"), dict):
        for key, item in list(value.items())[:1]:
            yield from _places_below(raw["additionalProperties"], item, (*way, key))
