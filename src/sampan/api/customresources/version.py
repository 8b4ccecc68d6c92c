"""One version of a custom resource, as the server asks it: structure, defaults, what is wrong.

Made by ``compile_version`` from a definition; cheap to make (nothing is opened before it is needed) and shared by all
who ask for the same schema. Pure, and safe in any thread: what is made on first use is made the same by everybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

import orjson

from sampan.api import errors, schema
from sampan.api.customresources import defaulting, embedded, listtypes, patterns, scale, values
from sampan.api.customresources.parts import Part
from sampan.api.customresources.places import NO_PATH
from sampan.api.errors import FieldError
from sampan.api.schema import Node
from sampan.api.schema.packed import Packed, bare_text
from sampan.api.types import Obj

Errors = list[FieldError]

#: Faults after which rules are not evaluated: they may rely on types, and on what bounds their cost.
_BLOCKING: Final = frozenset(
    ("FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid")
)
_BLOCKED: Final = FieldError(
    "FieldValueInvalid",
    NO_PATH,
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
_EMPTY: Final[Mapping[str, Any]] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


class CompiledVersion:
    """``default``, ``prune`` change the object; the rest does not. Objects are whole, with apiVersion, kind, metadata.
    Generic metadata is not judged here (``sampan.api.metadata``)."""

    __slots__ = ("__weakref__", "_node", "_packed", "_root", "_scale", "api_version", "demanding", "kind")

    def __init__(self, api_version: str, kind: str, text: bytes, scale: scale.Paths | None) -> None:
        packed = Packed(text)
        self.api_version = api_version
        self.kind = kind
        #: Judging an object may take milliseconds however short it is, for its rules or patterns: a thread's work.
        self.demanding = "rules" in packed.traits or patterns.may_be_demanding(text)
        self._scale = scale
        self._packed = packed
        self._root = Part(packed)
        self._node: Node | None = None

    @property
    def node(self) -> Node:
        """Its structure: what decoding prunes and tells as unknown, and what server-side apply merges by."""
        if self._node is None:
            self._node = schema.node_from_openapi(self._packed, type_name=self.kind, root=True)
        return self._node

    @property
    def root(self) -> Part:
        return self._root

    def default(self, obj: Obj) -> None:
        """Of a request, and of what comes from storage."""
        defaulting.apply(self._root, obj)

    def prune(self, obj: Obj) -> None:
        """Drops what the schema does not know, and nulls where there may be none. What is told of a request's unknown
        fields comes from decoding along ``node``."""
        schema.normalise(self.node, obj)

    def validate(self, obj: Obj) -> Errors:
        """Of a new object."""
        if wrong := self._type_meta(obj):
            return wrong
        found = values.validate(self._root, obj) + scale.validate(self._scale, obj)
        found += embedded.validate(self._root, obj) + listtypes.validate(self._root, obj)
        return found + self._rules(found, obj, values.ABSENT)

    def validate_update(self, new: Obj, old: Obj) -> Errors:
        """What is wrong and unchanged is tolerated. ``old`` is in this version."""
        if wrong := self._type_meta(new):
            return wrong
        found = values.validate(self._root, new, old) + scale.validate(self._scale, new)
        found += embedded.validate(self._root, new) + self._repeated(new, old)
        return found + self._rules(found, new, old)

    def validate_status(self, new: Obj, old: Obj) -> Errors:
        """Of a write to /status: of the schema, only what it says of the status."""
        if wrong := self._type_meta(new):
            return wrong
        found: Errors = []
        part = self._root.keywords.properties.get("status")
        if part is not None and "status" in new:
            found += map(_of_status, values.validate(part, new["status"], old.get("status", values.ABSENT)))
        found += scale.validate_status(self._scale, new) + self._repeated(new, old)
        return found + self._rules(found, new, old)

    def _rules(self, found: Errors, obj: Obj, old: Any) -> Errors:
        if "rules" not in self._root.traits:
            return []
        if any(fault.reason in _BLOCKING for fault in found):
            return [_BLOCKED]
        from sampan.api.customresources import rules  # late: expressions are large, and many objects have none

        return rules.validate(self._root, obj, old)

    def _repeated(self, new: Obj, old: Obj) -> Errors:
        found = listtypes.validate(self._root, new)
        return found if found and not listtypes.validate(self._root, old) else []

    def _type_meta(self, obj: Obj) -> Errors:
        return [
            errors.invalid(key, obj.get(key, ""), f"must be {wanted}")
            for key, wanted in (("kind", self.kind), ("apiVersion", self.api_version))
            if obj.get(key) != wanted
        ]


def _of_status(fault: FieldError) -> FieldError:
    if fault.field == NO_PATH:
        return FieldError(fault.reason, "status", fault.detail)
    return FieldError(fault.reason, f"status.{fault.field}" if fault.field else "status", fault.detail)


_made: WeakValueDictionary[bytes, CompiledVersion] = WeakValueDictionary()


def compile_version(definition: Mapping[str, Any], version: str) -> CompiledVersion:
    """The version of this name of a valid definition. KeyError: it has none. Whatever else of the definition changes,
    the same schema gives the same value as long as somebody holds it."""
    spec = definition["spec"]
    found = next((item for item in spec["versions"] if item["name"] == version), None)
    if found is None:
        raise KeyError(version)
    raw = (found.get("schema") or {}).get("openAPIV3Schema")
    paths = (found.get("subresources") or {}).get("scale")
    api_version, kind = f"{spec['group']}/{version}", spec["names"]["kind"]
    text = bare_text(raw if raw is not None else _EMPTY)
    said = orjson.dumps([api_version, kind, paths])
    key = hashlib.blake2b(text, key=hashlib.blake2b(said, digest_size=32).digest()).digest()
    compiled = _made.get(key)
    if compiled is None:
        compiled = CompiledVersion(api_version, kind, text, scale.paths(paths))
        _made[key] = compiled
    return compiled
