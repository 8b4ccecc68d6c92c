"""Random values of the schema's nodes, and random changes of objects: seeded. For the tests of this folder."""

from __future__ import annotations

import copy
import os
import random
from typing import Any

from sampan.api import schema
from sampan.api.schema import AnyNode, ListNode, MapNode, Node, ObjectNode, ScalarNode

TEXTS = (
    "a", "b-1", "x.io/y", "web", "10.0.0.1", "example.com", "8080", "50%", "/data", "v1", "", "node", "2001:db8::1",
    "a" * 70, "é", "1Gi", "Never", "*", "kubernetes.io/x",
)  # fmt: skip
LEAVES: dict[str, tuple[Any, ...]] = {
    "bool": (True, False),
    "int32": (1, 0, -1, 80, 3600, 65536, 2**31 - 1),
    "int64": (1, 0, -1, 30, 2**40),
    "number": (0.5, 1, 0),
    "bytes": ("", "YQ=="),
    "time": ("2024-02-29T01:02:03Z",),
    "microtime": ("2024-02-29T01:02:03.000004Z",),
    "quantity": ("1", "0", "100m", "1Gi", "-1"),
    "int-or-string": (1, 0, "25%", "http", 8080, "0%"),
}
#: what a change leaves alone: the object would be another one
IDENTITY = frozenset(("kind", "apiVersion", "name", "namespace", "generateName", "uid", "managedFields"))
SERVERS = frozenset(("resourceVersion", "creationTimestamp", "generation", "selfLink", "deletionTimestamp"))
_DEEPEST = 4
#: another one draws other objects
SEED = os.environ.get("SAMPAN_FUZZ_SEED", "")


class Maker:
    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed + SEED)

    def value(self, node: Node, values: list[str] | None = None, depth: int = 0) -> Any:
        """A small value of this type: few of its fields. ``values``: of an enumeration."""
        rng = self.rng
        if isinstance(node, ScalarNode):
            if node.scalar.name == "string":
                return rng.choice(values if values and rng.random() < 0.9 else TEXTS)
            return rng.choice(LEAVES[node.scalar.name])
        if depth > _DEEPEST:
            return [] if isinstance(node, ListNode) else {}
        if isinstance(node, ListNode):
            return [self.value(node.items, values, depth + 1) for _ in range(rng.choice((0, 1, 1, 1, 2)))]
        if isinstance(node, MapNode):
            keys = rng.sample(("a", "x.io/y", "cpu", "memory", ""), rng.choice((0, 1, 1, 2)))
            return {key: self.value(node.values, values, depth + 1) for key in keys}
        if isinstance(node, ObjectNode):
            required = [name for name in node.required if name in node.fields]
            extra = rng.sample(sorted(node.fields), min(len(node.fields), rng.choice((0, 1, 1, 2))))
            return {name: self.field(node, name, depth + 1) for name in dict.fromkeys([*required, *extra])}
        return rng.choice(({}, {"a": [1, None, ""]})) if isinstance(node, AnyNode) else True

    def field(self, node: ObjectNode, name: str, depth: int = 0) -> Any:
        return self.value(node.fields[name].node, enumeration(node, name), depth)

    def changed(self, node: ObjectNode, obj: dict[str, Any]) -> dict[str, Any]:
        """A copy with another value of one field, at any depth, or with the field taken away or made empty."""
        result = copy.deepcopy(obj)
        self._change(node, result, top=True)
        return result

    def _change(self, node: Node, value: Any, *, top: bool = False) -> None:
        rng = self.rng
        if isinstance(node, ObjectNode) and isinstance(value, dict):
            below = [key for key in value if key in node.fields and isinstance(value[key], dict | list) and value[key]]
            if below and rng.random() < (1.0 if top and rng.random() < 0.9 else 0.7):
                key = rng.choice(sorted(below))
                return self._change(node.fields[key].node, value[key])
            names = sorted(
                name for name in node.fields if name not in IDENTITY | SERVERS and (name != "metadata" or not top)
            )
            if not names:
                return None
            name, roll = rng.choice(names), rng.random()
            if roll < 0.1:
                value.pop(name, None)
            elif roll < 0.2:
                value[name] = node.fields[name].node.zero()
            else:
                value[name] = self.field(node, name)
        elif isinstance(node, ListNode) and isinstance(value, list) and value:
            return self._change(node.items, rng.choice(value))
        elif isinstance(node, MapNode) and isinstance(value, dict):
            value[rng.choice(("a", "x.io/y", "cpu"))] = self.value(node.values)
        return None

    def hostile(self, node: ObjectNode, obj: dict[str, Any]) -> Any:
        """The same, with values of any type anywhere."""
        result = self.changed(node, obj)
        for _ in range(self.rng.choice((1, 1, 3))):
            holder: Any = result
            while isinstance(holder, dict | list) and holder:
                keys = sorted(holder) if isinstance(holder, dict) else range(len(holder))
                key = self.rng.choice(list(keys))
                if self.rng.random() < 0.4 or not isinstance(holder[key], dict | list):
                    holder[key] = copy.deepcopy(self.rng.choice(ODD))
                    break
                holder = holder[key]
        return result


ODD: tuple[Any, ...] = (
    None, "", 0, -1, 2**63, 1e300, True, [], {}, [None], [[]], [{}], {"": None}, {"a": {"b": []}}, "\x00",
    "\ud7ff\U0010ffff",
    ["a", 1], {"$patch": "delete"}, "a" * 5000, [{"name": "a"}, {"name": "a"}], [1] * 300,
)  # fmt: skip


def keyed(node: Node, value: Any) -> bool:
    """Whether elements of lists that are merged by keys have them, each its own, and what no type describes holds no
    list: else nothing can be merged into it."""
    if isinstance(node, ObjectNode) and isinstance(value, dict):
        return all(_keyed(node, name, item) for name, item in value.items() if name in node.fields)
    if isinstance(node, ListNode) and isinstance(value, list):
        keys = [tuple(str(item.get(key)) for key in node.list_keys) for item in value if node.list_keys]
        whole = node.list_type != "set" or len({str(item) for item in value}) == len(value)
        return whole and len(set(keys)) == len(keys) and all(keyed(node.items, item) for item in value)
    if isinstance(node, AnyNode):
        return not (isinstance(value, dict) and any(isinstance(item, list) for item in value.values()))
    return not isinstance(node, MapNode) or all(keyed(node.values, item) for item in value.values())


def _keyed(node: ObjectNode, name: str, value: Any) -> bool:
    field = node.fields[name]
    if field.merge_key and isinstance(value, list):
        keys = [item.get(field.merge_key) for item in value]
        if None in keys or len(set(map(str, keys))) < len(keys):
            return False
    return keyed(field.node, value)


def enumeration(node: ObjectNode, name: str) -> list[str]:
    loaded = schema.load()
    if node.name not in loaded:
        return []
    go_type = loaded.go_types(node.name).get(name, "")
    return loaded.enum(go_type.rpartition("]")[2]) if go_type else []
