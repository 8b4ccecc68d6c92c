"""What a write of a definition or of a custom resource is warned of, though it is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sampan.api import errors, metadata
from sampan.api.customresources import formats
from sampan.api.types import Obj

#: More help nobody.
_MOST: Final = 20
_ADVICE: Final = (
    "prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer "
    "writers"
)


def of_object(new: Obj, old: Obj | None) -> list[str]:
    """Of finalizers that it did not have before."""
    before = _finalizers(old) if old is not None else set()
    added = sorted(_finalizers(new) - before)
    return [
        f"metadata.finalizers: {errors.quoted(name)}: {_ADVICE}"
        for name in added
        if "/" not in name and name not in metadata.STANDARD_FINALIZERS
    ][:_MOST]


def _finalizers(obj: Obj) -> set[str]:
    return set((obj.get("metadata") or {}).get("finalizers") or ())


def of_definition(new: Obj, old: Obj | None) -> list[str]:
    """Of formats that nobody checks, where they are new."""
    before = set(_unknown_formats(old)) if old is not None else set()
    added = (name for name in _unknown_formats(new) if name not in before)
    return [f"unrecognized format {errors.quoted(name)}" for name in dict.fromkeys(added)][:_MOST]


def _unknown_formats(definition: Obj) -> Iterator[str]:
    for version in (definition.get("spec") or {}).get("versions") or ():
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is not None:
            yield from _in_schema(schema)


def _in_schema(schema: Mapping[str, Any]) -> Iterator[str]:
    left = [schema]
    while left:
        part = left.pop()
        name = part.get("format")
        if name and formats.normalised(name) not in formats.KNOWN and name not in formats.OF_NUMBERS:
            yield name
        left += (part.get("properties") or {}).values()
        left += (part[key] for key in ("items", "additionalProperties", "not") if isinstance(part.get(key), Mapping))
        for key in ("allOf", "anyOf", "oneOf"):
            left += part.get(key) or ()
