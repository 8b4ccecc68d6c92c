"""Structure of objects: what fields a kind has, of what types, and decoding by it.

``load().definition("io.k8s.api.apps.v1.Deployment")`` gives a node; ``decode(node, value)`` makes a parsed body what
the API keeps; ``parse_json`` and ``parse_yaml`` parse bodies. ``node_from_openapi`` builds the same nodes from a
CRD's schema.
"""

from typing import Any

from sampan.api.schema.catalog import GroupVersionKind, Schema, go_type_name, load
from sampan.api.schema.decoding import (
    Decoded,
    check,
    decode,
    duplicate_field_message,
    normalise,
    unknown_field_message,
    unknown_fields,
    wrong_type_message,
)
from sampan.api.schema.json_text import MAX_DEPTH, json_fault, parse_json
from sampan.api.schema.nodes import AnyNode, Field, ListNode, MapNode, Node, ObjectNode, ScalarNode
from sampan.api.schema.structural import node_from_openapi

__all__ = [
    "MAX_DEPTH",
    "AnyNode",
    "Decoded",
    "Field",
    "GroupVersionKind",
    "ListNode",
    "MapNode",
    "Node",
    "ObjectNode",
    "ScalarNode",
    "Schema",
    "check",
    "decode",
    "duplicate_field_message",
    "go_type_name",
    "json_fault",
    "load",
    "node_from_openapi",
    "normalise",
    "parse_json",
    "parse_yaml",
    "unknown_field_message",
    "unknown_fields",
    "wrong_type_message",
]


def parse_yaml(body: bytes) -> tuple[Any, list[str]]:
    """See ``yaml_text.parse_yaml``; PyYAML is imported on first use, because it takes longer than all else here."""
    from sampan.api.schema import yaml_text

    return yaml_text.parse_yaml(body)
