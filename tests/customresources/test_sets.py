"""Real, large definitions are taken as they are, at little cost; their objects are judged and filled."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from tests.customresources import sets

from sampan.api import registry, schema
from sampan.api.customresources import compile_version
from sampan.api.customresources.version import CompiledVersion

DEFINITION = next(kind for kind in registry.registry().kinds() if kind.kind == "CustomResourceDefinition")


def admitted(definition: dict[str, Any]) -> dict[str, Any]:
    assert schema.decode(DEFINITION.node, definition).unknown == []
    DEFINITION.default(definition)
    DEFINITION.prepare_create(definition)
    return definition


@pytest.mark.parametrize("name", sets.SETS)
def test_the_definitions_of_operators_are_valid(name: str) -> None:
    for definition in map(admitted, sets.SETS[name]()):
        found = DEFINITION.validate(definition)
        assert found == [], (definition["metadata"]["name"], [fault.message() for fault in found])


def test_the_sets_are_as_large_as_real_ones() -> None:
    definitions = [definition for make in sets.SETS.values() for definition in make()]
    assert sum(len(definition["spec"]["versions"]) for definition in definitions) >= 30
    assert sum(json.dumps(definition, indent=1).count("\n") for definition in definitions) > 50_000


def holder(example: dict[str, Any]) -> tuple[dict[str, Any], str]:
    group, _, version = example["apiVersion"].partition("/")
    for make in sets.SETS.values():
        for definition in make():
            spec = definition["spec"]
            if (spec["group"], spec["names"]["kind"]) == (group, example["kind"]):
                return definition, version
    raise AssertionError(example["kind"])


@pytest.mark.parametrize("name", sets.EXAMPLES)
def test_their_objects_are_valid_and_lose_nothing(name: str) -> None:
    obj = sets.EXAMPLES[name]()
    compiled = compile_version(*holder(obj))
    assert schema.decode(compiled.node, obj).unknown == []
    compiled.default(obj)
    assert compiled.validate(obj) == []
    assert compiled.validate_update(obj, obj) == []


def test_a_route_is_filled_with_the_defaults_of_its_kind() -> None:
    obj = sets.http_route()
    compile_version(*holder(obj)).default(obj)
    first, second = obj["spec"]["rules"]
    assert obj["spec"]["parentRefs"] == [{"group": sets.GATEWAYS, "kind": "Gateway", "name": "edge"}]
    assert first["matches"][0]["path"] == {"type": "PathPrefix", "value": "/api"}
    assert second["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    assert second["backendRefs"][0] == {"group": "", "kind": "Service", "name": "fallback", "port": 8080, "weight": 1}


def use(compiled: CompiledVersion, obj: dict[str, Any]) -> None:
    assert schema.decode(compiled.node, obj).unknown == []
    compiled.default(obj)
    assert compiled.validate(obj) == []


def memory_of_a_definition() -> tuple[int, int]:
    """Bytes before the first object of a definition of thousands of lines, and after it."""
    obj = sets.prometheus()
    use(compile_version(*holder(obj)), obj)  # what is opened once for all definitions
    definition, version = holder(obj)
    definition["spec"]["group"] = "other.example.com"
    obj["apiVersion"] = "other.example.com/v1"
    assert json.dumps(definition, indent=1).count("\n") > 5_000
    gc.collect()
    tracemalloc.start()
    compiled = compile_version(definition, version)
    unused = tracemalloc.get_traced_memory()[0]
    use(compiled, obj)
    gc.collect()
    return unused, tracemalloc.get_traced_memory()[0]


def test_a_definition_of_thousands_of_lines_takes_little_memory_before_and_after_its_first_object() -> None:
    """In a process of its own: what other tests left in shared tables, and when those grow, is none of its doing."""
    script = "from tests.customresources import test_sets; print(*test_sets.memory_of_a_definition())"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    unused, used = map(int, done.stdout.split())
    assert unused < 64 * 1024
    assert used < 200 * 1024
