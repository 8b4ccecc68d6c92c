"""Defaults of a structural schema, in place (apiextensions ``schema/defaulting/algorithm.go``)."""

from __future__ import annotations

from typing import Any

from sampan.api.customresources.parts import Part
from sampan.api.objects import deep_copy


def apply(part: Part, value: Any) -> None:
    """A field that is missing, or null where it may not be, takes its default; then whatever is there is looked into.
    What is not there has no fields to fill. Idempotent."""
    if "default" not in part.traits:
        return
    keywords = part.keywords
    if type(value) is dict:
        for name, field in keywords.properties.items():
            if "default" not in field.traits:
                continue
            known = field.keywords
            if known.default is not None and (name not in value or (value[name] is None and not known.nullable)):
                value[name] = deep_copy(known.default)
            if name in value:
                apply(field, value[name])
        other = keywords.additional
        if other is not None and "default" in other.traits:
            for name in value:
                if name not in keywords.properties:
                    value[name] = _item(other, value[name])
    elif type(value) is list and keywords.items is not None and "default" in keywords.items.traits:
        for index, item in enumerate(value):
            value[index] = _item(keywords.items, item)


def _item(part: Part, item: Any) -> Any:
    """Of a list or map: a null that may not be one takes the default, if there is one."""
    if item is None and not part.keywords.nullable and part.keywords.default is not None:
        item = deep_copy(part.keywords.default)
    apply(part, item)
    return item
