"""What the expressions of mutating policies give, as changes of an object: a part of it, or a JSON Patch. Pure.

Sources: apiserver ``policy/mutating/patch``, ``cel/mutation``.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from sampan.api.apply.checking import check
from sampan.api.apply.merging import merge
from sampan.api.apply.shapes import DEDUCED, Keyed, Leaf, Shape, Values, shape_of
from sampan.api.schema import Node
from sampan.api.types import Obj
from sampan.cel.costs import parts
from sampan.cel.errors import CostExceeded
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
    _check_size(value)
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


def _check_size(value: Any) -> None:
    """A short expression can make a value that is in itself many times: as JSON that is written out. Raises
    BadMutation."""
    try:
        parts(value)
    except CostExceeded:
        raise BadMutation("the value is too large") from None


# ApplyConfiguration


def applied(value: Any, live: Obj, node: Node | None, *, custom: bool = False) -> Obj:
    """The object with what the configuration says. ``live`` is not changed. Raises BadMutation."""
    if not isinstance(value, Made) or value.name != "Object":
        raise BadMutation("type mismatch: ApplyConfiguration.expression must evaluate to Object")
    _check_size(value)
    shape = shape_of(node, custom=custom) if node is not None else DEDUCED
    config = _configuration(value, "Object", 0)
    if (fault := check(shape, config)) is not None:
        raise BadMutation(f"error applying patch: failed to convert configuration to typed object: {fault}")
    atomic = sorted(_atomics(shape, config, ""))
    if atomic:
        told = f"may not mutate atomic arrays, maps or structs: {', '.join(atomic)}"
        raise BadMutation(f"error applying patch: invalid ApplyConfiguration: {told}")
    merged: Obj = merge(shape, live, {**config, **{key: live[key] for key in ("apiVersion", "kind") if key in live}})
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


def _atomics(shape: Shape, config: Any, path: str) -> set[str]:
    """Paths of what can only be set as a whole: a policy that sets a part of it would remove the rest."""
    if isinstance(config, list):
        if not isinstance(shape, Keyed | Values):
            return {path}
        inner = shape.items
        return {found for index, item in enumerate(config) for found in _atomics(inner, item, f"{path}[{index}]")}
    if not isinstance(config, dict) or not config:
        return set()
    if isinstance(shape, Leaf):
        return {path}
    return {found for key, item in config.items() for found in _atomics(_below(shape, key), item, f"{path}.{key}")}


def _below(shape: Shape, key: str) -> Shape:
    found = shape.field(key)
    return found[1] if found is not None else DEDUCED
