"""Lists of type set and map hold nothing twice (apiextensions ``schema/listtype``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from sampan.api import errors
from sampan.api.customresources.checks import key_of
from sampan.api.customresources.parts import Keywords, Part
from sampan.api.customresources.places import Place, name
from sampan.api.errors import FieldError

Errors = list[FieldError]


def validate(part: Part, value: Any, place: Place = None) -> Errors:
    found: Errors = []
    _walk(part, value, place, found)
    return found


def _walk(part: Part, value: Any, place: Place, found: Errors) -> None:
    if "lists" not in part.traits:
        return
    keywords = part.keywords
    if type(value) is list:
        if keywords.list_type == "set":
            found += _set(value, place)
        elif keywords.list_type == "map":
            found += _map(keywords, value, place)
        if keywords.items is not None:
            for index, item in enumerate(value):
                _walk(keywords.items, item, (place, index), found)
    elif type(value) is dict:
        for key, item in value.items():
            below, step = keywords.below(key)
            if below is not None:
                _walk(below, item, (place, step), found)


def _set(value: list[Any], place: Place) -> Errors:
    return [errors.duplicate(name((place, index)), value[index]) for index in repeated(list(map(key_of, value)))]


def _map(keywords: Keywords, value: list[Any], place: Place) -> Errors:
    for index, item in enumerate(value):
        if item is not None and type(item) is not dict:
            text = "must be an object for an array of list-type map"
            return [errors.invalid(name((place, index)), item, text)]
    shown = [{key: item[key] for key in keywords.list_keys if key in item} if item else {} for item in value]
    return [errors.duplicate(name((place, index)), shown[index]) for index in repeated(list(map(key_of, shown)))]


def repeated(keys: Sequence[Hashable]) -> list[int]:
    """Indexes of second appearances."""
    seen: Counter[Hashable] = Counter()
    twice = []
    for index, key in enumerate(keys):
        seen[key] += 1
        if seen[key] == 2:
            twice.append(index)
    return twice
