"""Nodes from a CRD's OpenAPI v3 structural schema, and defaulting along them.

Called by the server for custom resources. Value validation (enum, pattern, minimum, required, CEL) is not done here:
nodes carry structure only. Source: apiextensions structural schemas v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.api import objects
from sampan.api.schema import scalars
from sampan.api.schema.catalog import load
from sampan.api.schema.nodes import AnyNode, Field, ListNode, MapNode, Node, ObjectNode, ScalarNode

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_SCALARS = {
    "string": scalars.STRING,
    "boolean": scalars.BOOL,
    "integer": scalars.INT64,
    "number": scalars.NUMBER,
}


def node_from_openapi(schema: Mapping[str, Any], *, type_name: str = "", root: bool = False) -> Node:
    """The node of a structural schema. ``root``: of a whole custom resource, so ``apiVersion``, ``kind`` and
    ``metadata`` are there whatever the schema says."""
    node = _build(schema, type_name, embedded=root or bool(schema.get("x-kubernetes-embedded-resource")))
    node.structural = True
    node.nullable = bool(schema.get("nullable"))
    if "default" in schema:
        node.has_default, node.default = True, schema["default"]
    return node


def _build(schema: Mapping[str, Any], type_name: str, *, embedded: bool) -> Node:
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        return ScalarNode(scalars.INT_OR_STRING)
    if kind in _SCALARS:
        return ScalarNode(_SCALARS[kind])
    if kind == "array":
        return ListNode(
            node_from_openapi(schema.get("items") or {"x-kubernetes-preserve-unknown-fields": True}),
            list_type=schema.get("x-kubernetes-list-type", "atomic"),
            list_keys=tuple(schema.get("x-kubernetes-list-map-keys", ())),
        )
    if kind == "object" or "properties" in schema or embedded:
        return _object(schema, type_name, embedded=embedded)
    return AnyNode("interface {}")


def _object(schema: Mapping[str, Any], type_name: str, *, embedded: bool) -> Node:
    additional = schema.get("additionalProperties")
    map_type = schema.get("x-kubernetes-map-type", "granular")
    if isinstance(additional, Mapping):
        return MapNode(node_from_openapi(additional), map_type=map_type)
    if additional is True:
        return MapNode(AnyNode("interface {}"), map_type=map_type)

    def fields() -> Mapping[str, Field]:
        own = {name: Field(node_from_openapi(part)) for name, part in schema.get("properties", {}).items()}
        if embedded:
            own["apiVersion"] = own["kind"] = Field(ScalarNode(scalars.STRING))
            own["metadata"] = Field(load().definition(_OBJECT_META))
        return own

    return ObjectNode(
        "",
        type_name,
        type_name or "map[string]interface {}",
        fields,
        required=tuple(schema.get("required", ())),
        map_type=map_type,
        preserve_unknown=bool(schema.get("x-kubernetes-preserve-unknown-fields")),
    )


def apply_defaults(node: Node, value: Any) -> None:
    """Fill the defaults of a structural schema in place: a missing field, or a null one that may not be null, takes
    its default; then whatever is there is looked into."""
    if isinstance(node, ObjectNode) and isinstance(value, dict):
        for name, field in node.fields.items():
            child = field.node
            absent = name not in value or (value[name] is None and not child.nullable)
            if absent and child.has_default:
                value[name] = objects.deep_copy(child.default)
            if name in value:
                apply_defaults(child, value[name])
    elif isinstance(node, MapNode) and isinstance(value, dict):
        for key, item in value.items():
            value[key] = _defaulted(node.values, item)
    elif isinstance(node, ListNode) and isinstance(value, list):
        for index, item in enumerate(value):
            value[index] = _defaulted(node.items, item)


def _defaulted(node: Node, item: Any) -> Any:
    if item is None and not node.nullable and node.has_default:
        item = objects.deep_copy(node.default)
    apply_defaults(node, item)
    return item
