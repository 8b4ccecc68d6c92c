"""What the expressions of mutating policies give, as changes of an object: a part of it, or a JSON Patch. Pure.

Sources: apiserver ``policy/mutating/patch``, ``cel/mutation``.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from sampan.api.schema import ListNode, MapNode, Node, ObjectNode
from sampan.api.types import Obj
from sampan.cel.times import show_duration, show_timestamp
from sampan.cel.values import Duration, Made, Optional, Timestamp, UInt, from_key

_MAX_DEPTH: Final = 100
#: Operations of one patch.
_MAX_OPERATIONS: Final = 10_000


class BadMutation(Exception):
    """The value is no change; the text is upstream's."""


# JSON Patch


def operations_of(value: Any) -> list[Any]:
    """The operations of a JSON Patch. Raises BadMutation."""
    if not isinstance(value, list) or len(value) > _MAX_OPERATIONS:
        raise BadMutation("type mismatch: JSONPatchType.expression must evaluate to array")
    return [_operation(each) for each in value]


def _operation(value: Any) -> Obj:
    if not isinstance(value, Made) or value.name != "JSONPatch":
        raise BadMutation("type mismatch: JSONPatchType.expression must evaluate to array of JSONPatch")
    return {key: _json(item, 0) for key, item in value.content.items() if item is not None or key == "value"}


def _json(value: Any, depth: int) -> Any:
    """A value as JSON. Raises BadMutation."""
    if depth > _MAX_DEPTH:
        raise BadMutation("value is nested too deeply")
    if value is None or isinstance(value, bool | str | float):
        return value
    if isinstance(value, UInt):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, list):
        return [_json(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_key(key): _json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, Made):
        return {key: _json(item, depth + 1) for key, item in value.content.items()}
    if isinstance(value, Optional) and value.present:
        return _json(value.value, depth + 1)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Timestamp):
        return show_timestamp(value)
    if isinstance(value, Duration):
        return show_duration(value)
    raise BadMutation("type mismatch: the value cannot be written as JSON")


def _key(key: Any) -> str:
    found = from_key(key)
    if not isinstance(found, str):
        raise BadMutation("type mismatch: keys of objects must be strings")
    return found


# ApplyConfiguration


def applied(value: Any, live: Obj, node: Node | None) -> Obj:
    """The object with what the configuration says. ``live`` is not changed. Raises BadMutation."""
    if not isinstance(value, Made) or value.name != "Object":
        raise BadMutation("type mismatch: ApplyConfiguration.expression must evaluate to Object")
    config = _configuration(value, "Object", 0)
    atomic = sorted(_atomics(node, config, ""))
    if atomic:
        told = f"may not mutate atomic arrays, maps or structs: {', '.join(atomic)}"
        raise BadMutation(f"error applying patch: invalid ApplyConfiguration: {told}")
    merged: Obj = _merged(node, live, {**config, **{key: live[key] for key in ("apiVersion", "kind") if key in live}})
    return merged


def _configuration(value: Any, path: str, depth: int) -> Any:
    """As JSON; objects are named by where they are. Raises BadMutation."""
    if isinstance(value, Made):
        if value.name != path:
            told = f'unexpected type name "{value.name}", expected "{path}", which matches field name path from root'
            raise BadMutation(f"type mismatch: {told} Object type")
        if depth > _MAX_DEPTH:
            raise BadMutation("value is nested too deeply")
        return {key: _configuration(item, f"{path}.{key}", depth + 1) for key, item in value.content.items()}
    if isinstance(value, list):
        return [_configuration(item, path, depth + 1) for item in value]
    return _json(value, depth)


def _atomics(node: Node | None, config: Any, path: str) -> set[str]:
    """Paths of what can only be set as a whole: a policy that sets a part of it would remove the rest."""
    if isinstance(config, list):
        if not isinstance(node, ListNode) or node.list_type == "atomic":
            return {path}
        items = node.items
        return {found for index, item in enumerate(config) for found in _atomics(items, item, f"{path}[{index}]")}
    if not isinstance(config, dict) or not config:
        return set()
    if isinstance(node, ObjectNode | MapNode) and node.map_type == "atomic":
        return {path}
    return {found for key, item in config.items() for found in _atomics(_below(node, key), item, f"{path}.{key}")}


def _below(node: Node | None, key: str) -> Node | None:
    if isinstance(node, MapNode):
        return node.values
    field = node.fields.get(key) if isinstance(node, ObjectNode) else None
    return field.node if field is not None else None


def _merged(node: Node | None, live: Any, config: Any) -> Any:
    """``config`` holds nothing atomic: objects are merged by field, lists by what tells their items apart."""
    if isinstance(config, dict) and isinstance(live, dict):
        changed = {
            key: _merged(_below(node, key), live[key], item) if key in live else item for key, item in config.items()
        }
        return {**live, **changed}
    if isinstance(config, list) and isinstance(live, list) and isinstance(node, ListNode):
        return _items(node, live, config)
    return config


def _items(node: ListNode, live: list[Any], config: list[Any]) -> list[Any]:
    wanted = {_identity(node, item): item for item in config}
    merged = []
    for item in live:
        found = wanted.pop(_identity(node, item), _ABSENT)
        merged.append(item if found is _ABSENT else _merged(node.items, item, found))
    return [*merged, *wanted.values()]


_ABSENT: Final = object()


def _identity(node: ListNode, item: Any) -> Any:
    if node.list_type == "set":
        return (type(item).__name__, str(item))
    return tuple(str(item.get(key)) for key in node.list_keys) if isinstance(item, dict) else str(item)
