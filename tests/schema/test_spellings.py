"""However an object is spelled and encoded, what is stored of it is the same. Every kind, seeded."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
import yaml

from sampan.api import protobuf, schema
from sampan.api.schema import ObjectNode


def load_helper() -> ModuleType:
    import importlib.util

    spec = importlib.util.spec_from_file_location("objects_of", Path(__file__).parent / "objects_of.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


objects_of = load_helper()


@cache
def kinds() -> dict[str, list[tuple[str, str, ObjectNode]]]:
    """By group, the stored kinds: (apiVersion, kind, node)."""
    found: dict[str, list[tuple[str, str, ObjectNode]]] = {}
    for (group, version, kind), name in schema.load().kinds():
        node = schema.load().definition(name)
        if isinstance(node, ObjectNode) and "metadata" in node.fields and not kind.endswith("List"):
            found.setdefault(group, []).append((f"{group}/{version}".removeprefix("/"), kind, node))
    return found


def stored(node: ObjectNode, value: Any) -> bytes:
    decoded = schema.decode(node, value)
    assert (decoded.error, decoded.unknown) == (None, []), node.name
    return orjson.dumps(decoded.value, option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize("group", sorted(kinds()))
def test_zero_values_and_their_absence_are_stored_alike(group: str) -> None:
    for api_version, kind, node in kinds()[group]:
        rng = random.Random(f"{api_version} {kind}")
        for _ in range(4):
            value = objects_of.made(node, rng)
            other = objects_of.otherwise(node, value, rng)
            as_yaml = yaml.dump(other, Dumper=yaml.CSafeDumper, allow_unicode=True).encode()
            wanted = stored(node, value)
            assert stored(node, schema.parse_yaml(as_yaml)[0]) == wanted, (api_version, kind)
            assert stored(node, other) == wanted, (api_version, kind)
            assert stored(node, orjson.loads(wanted)) == wanted, (api_version, kind)


@pytest.mark.parametrize("group", sorted(kinds()))
def test_protobuf_is_stored_as_json_is(group: str) -> None:
    for api_version, kind, node in kinds()[group]:
        if node.name not in objects_of.numbers():
            continue  # a kind younger than the field numbers
        rng = random.Random(f"{kind} {api_version}")
        for _ in range(3):
            value = schema.normalise(node, objects_of.made(node, rng, objects_of.has_number))
            value |= {"apiVersion": api_version, "kind": kind}
            obj, unknown = protobuf.decode_object(objects_of.body(node.name, value))
            assert unknown == []
            assert stored(node, obj) == stored(node, value), (api_version, kind)
