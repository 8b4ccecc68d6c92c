"""The compiled structure of the built-in kinds: definitions by name, as raw OpenAPI and as nodes.

``load()`` is called once a process (the result is kept); reading the file costs a few milliseconds, because
definitions stay bytes until asked for. Used by the server (decoding, patches), by OpenAPI output (raw definitions)
and by tests. The data file is written by ``tools/compile_schema.py`` and never edited.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sampan.api.schema import former, scalars
from sampan.api.schema.nodes import AnyNode, Field, ListNode, MapNode, Node, ObjectNode, Presence, ScalarNode
from sampan.api.schema.overlay import SPECIAL

Raw = dict[str, Any]

_DATA = "data/kubernetes-1.37.json"
_PRESENCE = "data/presence-1.37.json"
_TYPES = "data/types-1.37.json"
_SCALARS = {
    ("string", ""): scalars.STRING,
    ("string", "byte"): scalars.BYTES,
    ("string", "date-time"): scalars.TIME,
    ("boolean", ""): scalars.BOOL,
    ("integer", "int32"): scalars.INT32,
    ("integer", "int64"): scalars.INT64,
    ("integer", ""): scalars.INT64,
    ("number", "double"): scalars.NUMBER,
    ("number", ""): scalars.NUMBER,
}


class GroupVersionKind(NamedTuple):
    group: str
    version: str
    kind: str


def go_type_name(definition: str) -> str:
    """``io.k8s.api.core.v1.Container`` is ``v1.Container`` in Go's error texts."""
    return ".".join(definition.rsplit(".", 2)[-2:])


def _by_name(data: bytes) -> dict[str, bytes]:
    """The lines of a data file, unparsed, by the definition that each is of."""
    lines: dict[str, bytes] = {}
    for line in data.splitlines()[1:-1]:
        name, _, body = line.partition(b":")
        lines[name[1:-1].decode()] = body.removesuffix(b",")
    return lines


class Schema:
    """All definitions of one Kubernetes version. Raw definitions are shared: read-only. ``presence``: what Go's structs
    write of each field; ``types``: named types, defaults and enumerations (see ``tools/compile_go_types.py``)."""

    def __init__(self, data: bytes, presence: bytes, types: bytes) -> None:
        self._lines = _by_name(data)
        self._presence = _by_name(presence)
        self._types = _by_name(types)
        self._nodes: dict[str, Node] = {}
        self._leaves: dict[tuple[str, str, str], ScalarNode] = {}

    def names(self) -> Iterable[str]:
        """Of what upstream publishes; those of former versions are known, and not listed."""
        return self._lines.keys()

    def __contains__(self, name: object) -> bool:
        return name in self._lines or (isinstance(name, str) and former.exists(name, self._lines.__contains__))

    def base(self, name: str) -> str | None:
        """The published definition that one of a former version is like (``former``)."""
        return former.base_of(name, self._lines.__contains__) if name not in self._lines else None

    def raw(self, name: str) -> Raw:
        """The definition as OpenAPI has it, without prose; references are bare definition names. Parsed anew each
        time. KeyError: there is none of this name.
        """
        line = self._lines.get(name)
        if line is None:
            return former.derive(name, self._lines.__contains__, self.raw)
        definition: Raw = orjson.loads(line)
        return definition

    def definitions(self) -> Iterator[tuple[str, Raw]]:
        """Every definition, one parsed at a time."""
        return ((name, self.raw(name)) for name in self._lines)

    def properties(self, name: str) -> Mapping[str, Raw]:
        properties: dict[str, Raw] = self.raw(name).get("properties", {})
        return properties

    def kinds(self) -> Iterator[tuple[GroupVersionKind, str]]:
        """(group, version, kind) and definition name of all that have one; shared types (DeleteOptions) come many
        times.
        """
        marker = b'"x-kubernetes-group-version-kind"'
        for name, line in self._lines.items():
            if marker in line:
                for gvk in self.raw(name)["x-kubernetes-group-version-kind"]:
                    yield GroupVersionKind(gvk["group"], gvk["version"], gvk["kind"]), name

    def definition(self, name: str) -> Node:
        """The node of a definition. KeyError: there is none of this name."""
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = (
                SPECIAL[name](self.definition) if name in SPECIAL else self._build_definition(name)
            )
        return node

    def _build_definition(self, name: str) -> Node:
        raw = self.raw(name)
        if raw.get("type", "object") != "object":
            return self._build(raw)

        def fields() -> dict[str, Field]:
            presence, types = self.presence(name), self.go_types(name)
            return {
                key: self._field(schema, presence.get(key, "omitted"), types.get(key, ""))
                for key, schema in raw.get("properties", {}).items()
            }

        return ObjectNode(
            name,
            name.rpartition(".")[2],
            go_type_name(name),
            fields,
            required=tuple(raw.get("required", ())),
            map_type=raw.get("x-kubernetes-map-type", "granular"),
        )

    def presence(self, name: str) -> dict[str, Presence]:
        """Of the fields of a definition; those that are not there are omitted when empty."""
        if name not in self._lines:
            base = self.base(name)
            return former.presence(name, self.presence(base) if base is not None else {})
        facts: dict[Presence, list[str]] = orjson.loads(self._presence.get(name, b"{}"))
        return {key: found for found, keys in facts.items() for key in keys}

    def _said(self, name: str, what: str) -> dict[str, Any]:
        base = self.base(name)
        said: dict[str, Any] = orjson.loads(self._types.get(base or name, b"{}")).get(what, {})
        return said if base is None else former.said(name, said)

    def go_types(self, name: str) -> dict[str, str]:
        """Of the fields of a definition, where a scalar, list or map in it has a name of its own: ``[]`` and ``map[K]``
        around the full name of a Go type."""
        return self._said(name, "types")

    def defaults(self, name: str) -> dict[str, Any]:
        """Defaults that the types themselves state; most are code (``api/groups``)."""
        return self._said(name, "defaults")

    def enum(self, go_type: str) -> list[str]:
        """The values of an enumeration by the type's full name; empty: it is none."""
        name = go_type if go_type in self._types else former.base_of(go_type, self._types.__contains__)
        values: list[str] = orjson.loads(self._types.get(name or "", b"{}")).get("enum", [])
        return values

    def _field(self, raw: Raw, presence: Presence, go_type: str) -> Field:
        strategy = raw.get("x-kubernetes-patch-strategy", "")
        return Field(
            self._build(raw, go_type),
            frozenset(strategy.split(",")) if strategy else frozenset(),
            raw.get("x-kubernetes-patch-merge-key", ""),
            presence,
            raw.get("x-kubernetes-map-type", "") if "$ref" in raw else "",
        )

    def _build(self, raw: Raw, go_type: str = "") -> Node:
        """``go_type``: of what it holds, if its name is not that of its JSON type."""
        if "$ref" in raw:
            return self.definition(raw["$ref"])
        kind = raw.get("type", "")
        below = go_type.partition("]")[2]
        if kind == "array":
            return ListNode(
                self._build(raw["items"], below),
                list_type=raw.get("x-kubernetes-list-type", "atomic"),
                list_keys=tuple(raw.get("x-kubernetes-list-map-keys", ())),
                go_type=_own_name(go_type),
            )
        if kind == "object":
            if "additionalProperties" not in raw:
                return AnyNode("map[string]interface {}")
            return MapNode(
                self._build(raw["additionalProperties"], below),
                map_type=raw.get("x-kubernetes-map-type", "granular"),
                key_type=go_type_name(go_type[len("map[") : go_type.index("]")]) if below else "string",
                go_type=_own_name(go_type),
            )
        return self._leaf(kind, raw.get("format", ""), go_type) if kind else AnyNode("interface {}")

    def _leaf(self, kind: str, form: str, go_type: str) -> ScalarNode:
        key = (kind, form, go_type)
        leaf = self._leaves.get(key)
        if leaf is None:
            leaf = self._leaves[key] = ScalarNode(_SCALARS[kind, form], go_type_name(go_type) if go_type else "")
        return leaf


def _own_name(go_type: str) -> str:
    """Of a list or map whose type has a name of its own; else empty."""
    return "" if "]" in go_type else go_type_name(go_type)


@lru_cache(maxsize=1)
def load() -> Schema:
    """The schema of this version's built-in kinds; read once a process."""
    here = Path(__file__).parent
    return Schema(*((here / name).read_bytes() for name in (_DATA, _PRESENCE, _TYPES)))
