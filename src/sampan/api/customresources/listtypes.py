"""Lists of type set and map hold nothing twice (apiextensions ``schema/listtype``)."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from sampan.api import errors
from sampan.api.customresources.bounds import EnoughError, Told
from sampan.api.customresources.checks import key_of
from sampan.api.customresources.parts import Keywords, Part
from sampan.api.customresources.places import Place, name
from sampan.api.errors import FieldError

Errors = list[FieldError]


def validate(part: Part, value: Any, place: Place = None) -> Errors:
    told = Told()
    with contextlib.suppress(EnoughError):
        _walk(part, value, place, told)
    return told.found


def _walk(part: Part, value: Any, place: Place, told: Told) -> None:
    if "lists" not in part.traits:
        return
    keywords = part.keywords
    if type(value) is list:
        if keywords.list_type == "set":
            _set(value, place, told)
        elif keywords.list_type == "map":
            _map(keywords, value, place, told)
        if keywords.items is not None:
            for index, item in enumerate(value):
                _walk(keywords.items, item, (place, index), told)
    elif type(value) is dict:
        for key, item in value.items():
            below, step = keywords.below(key)
            if below is not None:
                _walk(below, item, (place, step), told)


def _set(value: list[Any], place: Place, told: Told) -> None:
    for index in repeated(list(map(key_of, value))):
        told.add(errors.duplicate(name((place, index)), value[index]))


def _map(keywords: Keywords, value: list[Any], place: Place, told: Told) -> None:
    for index, item in enumerate(value):
        if item is not None and type(item) is not dict:
            text = "must be an object for an array of list-type map"
            told.add(errors.invalid(name((place, index)), item, text))
            return
    shown = [{key: item[key] for key in keywords.list_keys if key in item} if item else {} for item in value]
    for index in repeated(list(map(key_of, shown))):
        told.add(errors.duplicate(name((place, index)), shown[index]))


def repeated(keys: Sequence[Hashable]) -> list[int]:
    """Indexes of second appearances."""
    seen: Counter[Hashable] = Counter()
    twice = []
    for index, key in enumerate(keys):
        seen[key] += 1
        if seen[key] == 2:
            twice.append(index)
    return twice
