"""Every built-in kind is declared once, consistently, and its functions stand a bare object."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest

from sampan.api import table
from sampan.api.kind import Kind
from sampan.api.registry import registry

NOW = datetime(2026, 1, 2, tzinfo=UTC)
KINDS = registry().kinds()
IDS = [f"{kind.api_version}/{kind.kind}" for kind in KINDS]


@pytest.fixture(scope="module")
def definitions() -> dict[str, object]:
    spec = find_spec("kubernetes_validate")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "kubernetes-json-schema/v1.37.0-local/_definitions.json"
    found: dict[str, object] = json.loads(path.read_bytes())["$defs"]
    return found


def test_every_kind_has_a_schema(definitions: dict[str, object]) -> None:
    assert [kind.schema for kind in KINDS if not kind.former and kind.schema not in definitions] == []


def test_core_comes_first_and_preferred_versions_lead() -> None:
    groups = registry().groups()
    assert next(iter(groups)) == ""
    assert groups["autoscaling"] == ("v2", "v1", "v2beta2", "v2beta1")
    assert registry().today().groups()["autoscaling"] == ("v2", "v1")


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_a_bare_object_passes_through_all_functions(kind: Kind) -> None:
    obj = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": {"name": "a", "uid": "u"}}
    kind.default(obj)
    kind.prepare_create(obj)
    kind.validate(obj)
    kind.default(obj)
    assert set(kind.selectable_fields(obj)) == set(kind.selectable_names)
    assert len(table.cells(kind, obj, NOW)) == len(table.columns(kind))
    stored = kind.to_stored(obj) if kind.to_stored else obj
    assert (kind.from_stored(stored) if kind.from_stored else stored)["kind"] == kind.kind


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_another_version_is_stored_by_a_kind_that_exists(kind: Kind) -> None:
    assert registry().storage(kind).stored_as is None


def test_scale_status_and_subresources_are_where_discovery_has_them() -> None:
    pods = registry().by_resource("", "v1", "pods")
    assert pods is not None
    assert {sub.name for sub in pods.subresources} == {
        "attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "resize",
    }  # fmt: skip
    scaled = {kind.plural for kind in KINDS if kind.scale}
    assert scaled == {"deployments", "replicasets", "statefulsets", "replicationcontrollers"}
