"""The compiled structure of the built-in kinds: complete, reproducible, quick to read."""

import importlib.util
from pathlib import Path

import pytest

from sampan.api import schema

ROOT = Path(__file__).parents[2]


def load_tool():
    spec = importlib.util.spec_from_file_location("compile_schema", ROOT / "tools/compile_schema.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.timeout(60)  # reads and simplifies two megabytes of JSON
def test_running_the_tool_again_reproduces_the_file_byte_for_byte():
    pytest.importorskip("kubernetes_validate")
    tool = load_tool()
    assert tool.compile_schema(tool.source_path()) == tool.TARGET.read_bytes()


def test_no_prose_and_no_artificial_nulls():
    for _, raw in schema.load().definitions():
        assert "description" not in raw
        assert isinstance(raw.get("type", ""), str)


def test_every_definition_with_a_kind_builds_a_node_and_accepts_an_empty_object():
    loaded = schema.load()
    kinds = list(loaded.kinds())
    assert len(kinds) > 200
    for _, name in kinds:
        node = loaded.definition(name)
        assert node.settle({}), name


def test_every_definition_builds_with_all_its_fields():
    loaded = schema.load()
    for name in loaded.names():
        node = loaded.definition(name)
        if isinstance(node, schema.ObjectNode):
            assert node.fields.keys() == loaded.properties(name).keys()


def test_unknown_definition_is_a_key_error():
    with pytest.raises(KeyError):
        schema.load().definition("io.k8s.api.core.v1.Nothing")


def test_merge_strategies_and_list_keys_are_kept():
    pod_spec = schema.load().definition("io.k8s.api.core.v1.PodSpec")
    volumes = pod_spec.fields["volumes"]
    assert volumes.strategy == {"merge", "retainKeys"}
    assert volumes.merge_key == "name"
    assert volumes.node.list_type == "map"
    assert volumes.node.list_keys == ("name",)
    assert pod_spec.required == ("containers",)


def test_a_field_may_say_otherwise_than_its_type():
    claim = schema.load().definition("io.k8s.api.core.v1.PersistentVolumeSpec").fields["claimRef"]
    assert (claim.node.map_type, claim.own_map_type) == ("atomic", "granular")


def test_kinds_name_group_version_and_definition():
    kinds = dict(schema.load().kinds())
    assert kinds[schema.GroupVersionKind("apps", "v1", "Deployment")] == "io.k8s.api.apps.v1.Deployment"


LEAVES = {
    "string": "a",
    "bool": True,
    "int32": 1,
    "int64": 2**40,
    "number": 1.5,
    "bytes": "YQ==",
    "time": "2024-02-29T01:02:03Z",
    "microtime": "2024-02-29T01:02:03.000004Z",
    "quantity": "100m",
    "int-or-string": "25%",
}


def sample(node, depth):
    """A value of this node with every field set, down to ``depth``."""
    if isinstance(node, schema.ScalarNode):
        return LEAVES[node.scalar.name]
    if isinstance(node, schema.ListNode):
        return [sample(node.items, depth - 1)] if depth else []
    if isinstance(node, schema.MapNode):
        return {"key": sample(node.values, depth - 1)} if depth else {}
    if isinstance(node, schema.ObjectNode):
        return {name: sample(field.node, depth - 1) for name, field in node.fields.items()} if depth else {}
    return {"anything": [None]} if isinstance(node, schema.AnyNode) else {}  # a schema


def test_every_field_of_every_definition_takes_a_value_of_its_type_and_drops_a_null():
    loaded = schema.load()
    for name in loaded.names():
        node = loaded.definition(name)
        assert node.settle(sample(node, 2)), name
        if isinstance(node, schema.ObjectNode):
            assert schema.decode(node, dict.fromkeys(node.fields)) == schema.Decoded(node.zero()), name
