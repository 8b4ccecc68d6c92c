"""What was recorded of v1.36's Go types, replayed against the compiled knowledge: pointers and what is left out when
empty, protobuf numbers, enumerations, defaults, list and map types, merge keys, required fields.

``data/fields-1.36.json`` is written by ``tools/compile_field_facts.py``; ``data/differences-1.37.json`` names each
difference between v1.36 and v1.37, and why it is one.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api import schema

DATA = Path(__file__).parent / "data"
_OPENAPI = {
    "listType": "x-kubernetes-list-type",
    "listMapKey": "x-kubernetes-list-map-keys",
    "mapType": "x-kubernetes-map-type",
    "patchStrategy": "x-kubernetes-patch-strategy",
    "patchMergeKey": "x-kubernetes-patch-merge-key",
}
_NULL = frozenset(("slice", "map", "bytes", "Time", "MicroTime", "RawExtension"))
_SCALARS = frozenset(("string", "bool", "int32", "int64", "float64", "slice", "map", "bytes", "interface"))


@cache
def recorded() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = orjson.loads((DATA / "fields-1.36.json").read_bytes())
    return found


@cache
def differences() -> dict[str, str]:
    """``definition.field what`` to why v1.37 differs."""
    found: dict[str, str] = orjson.loads((DATA / "differences-1.37.json").read_bytes())
    return found


@cache
def numbers() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = orjson.loads(
        files("sampan.api.protobuf").joinpath("data/numbers.json").read_bytes()
    )
    return found


def written(kind: str, tag: str) -> str:
    """What Go's encoder writes of the field when it is empty."""
    pointer, omitted = "p" in tag, "e" in tag
    if "z" in tag:
        return "omitted"
    if omitted and (pointer or kind in _SCALARS):
        return "kept" if pointer else "omitted"
    return "null" if pointer or kind in _NULL else "always"


def compared(name: str, field: str, fact: list[Any]) -> dict[str, tuple[Any, Any]]:
    """By what is compared: as recorded, and as compiled."""
    loaded = schema.load()
    raw = loaded.raw(name)
    part = raw["properties"][field]
    kind, _, tag = fact[0].partition(":")
    rest = fact[2] if len(fact) > 2 else {}
    element = loaded.go_types(name).get(field, "").rpartition("]")[2]
    default = rest.get("default")
    found: dict[str, tuple[Any, Any]] = {
        "presence": (written(kind, tag), loaded.presence(name).get(field, "omitted")),
        "enum": (rest.get("enum", []), loaded.enum(element)),
        "default": (default, loaded.defaults(name).get(field)),
        "required": (rest.get("required", False), field in raw.get("required", ())),
    }
    for key, extension in _OPENAPI.items():
        found[key] = (rest.get(key), part.get(extension))
    if fact[1] and name in numbers():
        found["proto"] = (field, numbers()[name].get(str(fact[1]), [None])[0])
    return found


def found_differences() -> dict[str, tuple[Any, Any]]:
    found: dict[str, tuple[Any, Any]] = {}
    for name, fields in recorded().items():
        properties = schema.load().properties(name)
        for field, fact in fields.items():
            if field not in properties:
                found[f"{name}.{field} is gone"] = (True, False)
                continue
            for what, (before, now) in compared(name, field, fact).items():
                if before != now:
                    found[f"{name}.{field} {what}"] = (before, now)
        for field in properties.keys() - fields.keys():
            found[f"{name}.{field} is new"] = (False, True)
    return found


@pytest.mark.timeout(120)
def test_compiled_facts_are_the_recorded_ones_but_for_the_differences_that_are_named() -> None:
    found = found_differences()
    assert {key: value for key, value in found.items() if key not in differences()} == {}
    assert differences().keys() - found.keys() == set(), "named, and no difference"


def test_definitions_of_v1_37_alone_are_named() -> None:
    new = {name for name in schema.load().names() if name not in recorded()}
    packages = {name.rpartition(".")[0].removeprefix("io.k8s.api.") for name in new}
    assert packages <= {
        "batch.v1", "certificates.v1", "core.v1", "lifecycle.v1alpha1", "resource.v1", "resource.v1alpha3",
        "resource.v1beta1", "resource.v1beta2", "scheduling.v1alpha3", "scheduling.v1beta1", "storage.v1",
        "storagemigration.v1",
    }  # fmt: skip
