"""Whether the defaults in a schema are values that the schema allows (apiextensions ``schema/defaulting``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sampan.api import errors, schema
from sampan.api.customresources import embedded, parts, rules, values
from sampan.api.customresources.paths import Path
from sampan.api.customresources.places import NO_PATH
from sampan.api.customresources.schemarules import Tagged
from sampan.api.errors import FieldError
from sampan.api.objects import deep_copy

Schema = Mapping[str, Any]

_META: Final = frozenset(("metadata", "apiVersion", "kind"))


#: (schema with a default, where that stands, ``meta`` of ``_walk``)
Visit = Callable[[Schema, Path, "tuple[str, ...] | None"], None]


def judge(root: Schema, path: Path) -> Tagged:
    """All but rules."""
    found: Tagged = []
    _walk(root, path, lambda part, where, meta: _default(part, where, found, meta), root=True, meta=None)
    return found


def judge_rules(root: Schema, path: Path) -> Tagged:
    """Whether defaults hold to the rules, of a schema that is right otherwise."""
    found: Tagged = []

    def visit(part: Schema, where: Path, meta: tuple[str, ...] | None) -> None:
        faults = rules.validate(parts.root_of(part), deep_copy(part["default"]), root=False)
        found.extend(("", _at(fault, where)) for fault in faults)

    _walk(root, path, visit, root=True, meta=None)
    return found


def _walk(part: Schema, path: Path, visit: Visit, *, root: bool, meta: tuple[str, ...] | None) -> None:
    """``meta``: the way to this from the resource whose type or metadata it is of; None: it is of none. Defaults
    below ``additionalProperties`` are not judged: there may be none in metadata."""
    is_resource = root or bool(part.get("x-kubernetes-embedded-resource"))
    if is_resource:
        meta = None
    if part.get("default") is not None:
        visit(part, path.child("default"), meta)
    items = part.get("items")
    if isinstance(items, Mapping):
        _walk(items, path.child("items"), visit, root=False, meta=(*meta, "") if meta is not None else None)
    properties = part.get("properties")
    if properties:
        below = path.child("properties")
        for name, field in properties.items():
            inside = (*(meta or ()), name) if meta is not None or (is_resource and name in _META) else None
            if "default" in field or "properties" in field or "items" in field:
                _walk(field, below.key(name), visit, root=False, meta=inside)


def _default(part: Schema, path: Path, found: Tagged, meta: tuple[str, ...] | None) -> None:
    value = part["default"]
    if meta is not None:
        problem = _metadata_problem(meta, value)
        if problem:
            found.append(("", errors.invalid(str(path), value, f"must result in valid metadata: {problem}")))
            return
    else:
        node = schema.node_from_openapi(part, root=False)
        if schema.unknown_fields(node, value):
            found.append(("pruned", errors.invalid(str(path), value, "must not have unknown fields")))
    compiled = parts.root_of(part)
    faults = embedded.validate(compiled, value) or values.validate(compiled, value)
    found += (("", _at(fault, path)) for fault in faults)


def _metadata_problem(way: tuple[str, ...], value: Any) -> str:
    """Of a resource that holds nothing but this value."""
    built: Any = deep_copy(value)
    for name in reversed(way):
        built = {name: built} if name else [built]
    built = {"apiVersion": "validation/v1", "kind": "Validation", **built}
    return ", ".join(fault.message() for fault in embedded.resource(built, None))


def _at(fault: FieldError, path: Path) -> FieldError:
    where = str(path) if fault.field in ("", NO_PATH) else f"{path}.{fault.field}".replace(".[", "[")
    return FieldError(fault.reason, where, fault.detail)
