"""A structural schema as it is walked: one ``Part`` for each schema in it, opened when a value first comes to it.

Everything that is asked of a custom resource's values (validation, defaults, uniqueness, rules) walks these. A part
that no object has reached is compressed text (``schema/packed.py``); leaves that say the same are one part.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sampan.api.customresources import checks
from sampan.api.customresources.checks import Check
from sampan.api.customresources.places import Key
from sampan.api.schema.packed import Packed, pack


class Keywords:
    """What a schema says, opened. ``types`` has two for int-or-string, none where any is right."""

    __slots__ = (
        "additional", "all_of", "any_of", "default", "defaulted", "embedded", "enum", "enum_texts", "forbids_others",
        "format", "items", "list_keys", "list_type", "map_type", "max_items", "max_properties", "min_items",
        "min_properties", "not_", "nullable", "numbers", "one_of", "preserve", "properties", "required", "rules",
        "texts", "types",
    )  # fmt: skip

    def __init__(self, raw: Mapping[str, Any]) -> None:
        kind = raw.get("type") or ""
        self.types: tuple[str, ...] = (
            ("integer", "string") if raw.get("x-kubernetes-int-or-string") else (kind,) if kind else ()
        )
        self.nullable = bool(raw.get("nullable"))
        self.default: Any = raw.get("default")
        self.format = checks.known_format(raw.get("format") or "", self.types)
        self.enum, self.enum_texts = checks.enumerated(raw.get("enum"))
        self.texts: tuple[Check, ...] = checks.of_texts(raw)
        self.numbers: tuple[Check, ...] = checks.of_numbers(raw)
        self.max_items, self.min_items = raw.get("maxItems"), raw.get("minItems")
        self.max_properties, self.min_properties = raw.get("maxProperties"), raw.get("minProperties")
        self.required: tuple[str, ...] = tuple(raw.get("required") or ())
        self.properties: dict[str, Part] = {
            name: part_of(packed) for name, packed in (raw.get("properties") or {}).items()
        }
        #: The fields in or below which there is a default.
        self.defaulted = tuple(one for one in self.properties.items() if "default" in one[1].traits)
        additional = raw.get("additionalProperties")
        self.additional: Part | None = part_of(additional) if isinstance(additional, Packed) else None
        self.forbids_others = additional is False
        items = raw.get("items")
        self.items: Part | None = part_of(items) if isinstance(items, Packed) else None
        self.all_of, self.any_of, self.one_of = (_parts(raw.get(key)) for key in ("allOf", "anyOf", "oneOf"))
        not_ = raw.get("not")
        self.not_: Part | None = part_of(not_) if isinstance(not_, Packed) else None
        self.list_type: str = raw.get("x-kubernetes-list-type") or ""
        self.list_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = raw.get("x-kubernetes-map-type") or ""
        self.preserve = bool(raw.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded = bool(raw.get("x-kubernetes-embedded-resource"))
        self.rules: tuple[Mapping[str, Any], ...] = tuple(raw.get("x-kubernetes-validations") or ())

    def below(self, key: str) -> tuple[Part | None, str]:
        """The schema of a field or map entry, and the step to it."""
        part = self.properties.get(key)
        return (part, key) if part is not None else (self.additional, Key(key))


class Part:
    __slots__ = ("_keywords", "compiled", "packed", "traits")

    def __init__(self, packed: Packed) -> None:
        self.packed = packed
        self._keywords: Keywords | None = None
        #: What ``rules`` made of its rules, once it was asked to.
        self.compiled: Any = None
        #: What may stand in it or below: ``default``, ``rules``, ``embedded``, ``lists``, ``pattern``.
        self.traits = packed.traits

    @property
    def keywords(self) -> Keywords:
        found = self._keywords
        if found is None:
            found = self._keywords = Keywords(self.packed.open())
        return found


def root_of(schema: Mapping[str, Any]) -> Part:
    return Part(pack(schema))


def part_of(packed: Packed) -> Part:
    return _shared(packed) if packed.small else Part(packed)


@lru_cache(maxsize=4096)
def _shared(packed: Packed) -> Part:
    return Part(packed)


def _parts(packed: list[Packed] | None) -> tuple[Part, ...]:
    return tuple(map(part_of, packed or ()))
