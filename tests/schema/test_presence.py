"""Zero values: what Go's structs omit, keep and always write."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api import schema
from sampan.api.schema import ListNode, MapNode, ObjectNode, ScalarNode

POD = "core.v1.Pod"


def node(name: str) -> schema.Node:
    return schema.load().definition(f"io.k8s.api.{name}")


def stored(name: str, obj: dict[str, Any]) -> dict[str, Any]:
    decoded = schema.decode(node(name), obj)
    assert decoded.error is None
    assert decoded.unknown == []
    value: dict[str, Any] = decoded.value
    return value


EMPTY = {
    "hostPID": False, "hostNetwork": False, "volumes": [], "nodeSelector": {}, "nodeName": "", "hostname": None,
}  # fmt: skip
EMPTY_CONTAINER = {"tty": False, "ports": [], "env": [], "args": None, "workingDir": "", "resources": {}}


def test_zero_values_of_omitted_fields_are_not_stored() -> None:
    plain = stored(POD, {"spec": {"containers": [{"name": "c", "image": "x"}]}})
    given = {"spec": {**EMPTY, "containers": [{"name": "c", **EMPTY_CONTAINER, "image": "x"}]}, "status": {"phase": ""}}
    assert stored(POD, given) == plain
    assert plain == {
        "metadata": {},
        "spec": {"containers": [{"name": "c", "image": "x", "resources": {}}]},
        "status": {},
    }


def test_pointers_keep_their_zero() -> None:
    spec = {"replicas": 0, "paused": False, "revisionHistoryLimit": 0, "minReadySeconds": 0}
    kept = stored("apps.v1.Deployment", {"spec": {**spec}})["spec"]
    assert {key: kept[key] for key in kept.keys() & spec.keys()} == {"replicas": 0, "revisionHistoryLimit": 0}


def test_an_empty_struct_stays_where_it_is_a_pointer() -> None:
    spec = {"securityContext": {}, "affinity": {}, "containers": [{"name": "c", "livenessProbe": {"exec": {}}}]}
    kept = stored(POD, {"spec": spec})["spec"]
    assert (kept["securityContext"], kept["affinity"]) == ({}, {})
    assert kept["containers"][0]["livenessProbe"] == {"exec": {}}


def test_values_of_maps_and_lists_stay_whatever_they_are() -> None:
    assert stored("core.v1.ConfigMap", {"data": {"a": ""}, "binaryData": {}}) == {"metadata": {}, "data": {"a": ""}}
    spec = {"containers": [{"name": "c", "args": ["", "x"]}]}
    assert stored(POD, {"spec": spec})["spec"]["containers"][0]["args"] == ["", "x"]


def test_a_list_that_is_always_written_is_null_when_empty() -> None:
    for rules in ({}, {"rules": []}, {"rules": None}):
        assert stored("rbac.v1.Role", {**rules}) == {"metadata": {}, "rules": None}


def test_fields_that_are_always_written_come_with_their_zero() -> None:
    port = stored("core.v1.Service", {"spec": {"ports": [{"port": 80}]}})
    assert port == {
        "metadata": {},
        "spec": {"ports": [{"port": 80, "targetPort": 0}]},
        "status": {"loadBalancer": {}},
    }
    event = stored("core.v1.Event", {})
    assert event["eventTime"] is None
    assert event["involvedObject"] == {}
    status = stored("apps.v1.ReplicaSet", {"status": {"readyReplicas": 0}})["status"]
    assert status == {"replicas": 0}


def test_a_reference_to_a_resource_has_a_divisor() -> None:
    source = {"resourceFieldRef": {"resource": "limits.cpu"}}
    spec = stored(POD, {"spec": {"containers": [{"env": [{"valueFrom": source}]}]}})["spec"]
    assert spec["containers"][0]["env"][0]["valueFrom"]["resourceFieldRef"]["divisor"] == "0"


def test_zero_values_are_dropped_beside_what_needs_repair() -> None:
    """An unknown field, or a leaf that is not canonical, sends a value the slow way."""
    for spoiled in ({"foo": 1}, {"resources": {"limits": {"cpu": 0.5}}}):
        obj = {"spec": {**EMPTY, "containers": [{"name": "c", **EMPTY_CONTAINER, **spoiled}]}}
        value = schema.decode(node(POD), obj).value
        assert value["spec"].keys() == {"containers"}
        assert value["spec"]["containers"][0].keys() == {"name", "resources"}


def test_an_old_stored_value_is_read_as_if_it_had_been_written_so() -> None:
    old = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "tty": False, "env": []}]}}
    new = schema.normalise(node(POD), old)
    assert new is old
    assert new["spec"]["containers"] == [{"name": "c", "resources": {}}]
    assert schema.normalise(node(POD), orjson.loads(orjson.dumps(new))) == new


def test_custom_resources_keep_zero_values() -> None:
    structure = schema.node_from_openapi(
        {
            "properties": {
                "spec": {"type": "object", "properties": {"on": {"type": "boolean"}, "list": {"type": "array"}}}
            }
        },
        root=True,
    )
    obj = {"metadata": {"labels": {}}, "spec": {"on": False, "list": []}}
    assert schema.decode(structure, obj) == schema.Decoded({"metadata": {}, "spec": {"on": False, "list": []}})


# --- the compiled facts


def test_every_fact_is_of_a_field_and_possible() -> None:
    loaded = schema.load()
    for name in loaded.names():
        presence = loaded.presence(name)
        properties = loaded.properties(name)
        assert presence.keys() <= properties.keys(), name
        built = loaded.definition(name)
        if not isinstance(built, ObjectNode):
            assert not presence, name
            continue
        for key, field in built.fields.items():
            if isinstance(field.node, ObjectNode):  # omitempty never omits a struct; only a pointer may be absent
                assert field.presence != "omitted" or key.endswith("Timestamp"), f"{name}.{key}"
            if field.presence == "always":
                assert not isinstance(field.node, ListNode | MapNode), f"{name}.{key}"
            if isinstance(field.node, ScalarNode) and field.presence == "always":
                assert field.node.zero() is not None, f"{name}.{key}"


@pytest.mark.parametrize(
    ("name", "key", "presence"),
    [
        ("core.v1.Container", "tty", "omitted"),
        ("core.v1.Container", "name", "always"),
        ("core.v1.PodSpec", "hostUsers", "kept"),
        ("core.v1.PodSpec", "containers", "null"),
        ("core.v1.Event", "eventTime", "null"),
        ("apps.v1.DeploymentSpec", "selector", "null"),
    ],
)
def test_facts_of_some_fields(name: str, key: str, presence: str) -> None:
    built = node(name)
    assert isinstance(built, ObjectNode)
    assert built.fields[key].presence == presence


def test_creation_time_is_omitted_when_nothing() -> None:
    meta = schema.load().definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
    assert schema.decode(meta, {"creationTimestamp": None}).value == {}


# --- the tool that compiles them


@cache
def tool() -> Any:
    path = Path(__file__).parents[2] / "tools/compile_go_types.py"
    spec = importlib.util.spec_from_file_location("compile_go_types", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("fact", "presence"),
    [
        ({"kind": "bool", "omitempty": True}, "omitted"),
        ({"kind": "int32", "omitempty": True, "pointer": True}, "kept"),
        ({"kind": "string"}, "always"),
        ({"kind": "struct", "omitempty": True, "type": "x.Spec"}, "always"),
        ({"kind": "struct", "omitempty": True, "omitzero": True, "type": "x.Spec"}, "omitted"),
        ({"kind": "struct", "omitempty": True, "type": "io.k8s.apimachinery.pkg.apis.meta.v1.Time"}, "null"),
        ({"kind": "struct", "type": "io.k8s.apimachinery.pkg.api.resource.Quantity"}, "always"),
        ({"kind": "struct", "pointer": True, "type": "x.Spec"}, "null"),
        ({"kind": "slice"}, "null"),
    ],
)
def test_a_struct_tag_says_what_is_written(fact: dict[str, Any], presence: str) -> None:
    assert tool().presence(fact) == presence


def test_a_new_version_of_a_type_takes_what_is_known_of_the_old_ones() -> None:
    types = {"a.g.v1beta1.Kind": {"x": {"kind": "bool"}}, "a.g.v1.Kind": {"y": {"kind": "bool"}}, "a.g.v1.Kinds": {}}
    assert tool().versions("a.g.v2.Kind", types).keys() == {"x", "y"}


def test_the_compiled_file_is_in_the_form_that_the_tool_writes() -> None:
    data = tool().TARGET.read_bytes()
    parsed = orjson.loads(data)
    assert list(parsed) == sorted(parsed)
    assert data.splitlines()[1:-1] == [
        orjson.dumps(name) + b":" + orjson.dumps(entry) + (b"," if name != list(parsed)[-1] else b"")
        for name, entry in parsed.items()
    ]
