"""Whether a custom resource's values are what its schema says (kube-openapi ``validation/validate``, v1.37 words).

One walk tells all faults, each with the reason and words of upstream. With the object as it was before (``old``) it
tolerates what is wrong and unchanged (KEP-4008): a value that equals the one it came from is not told about. Values
correspond by field, by map key, by the keys of a list of type map, and by index in a list of no declared type.

Bounded: a walk takes so many steps and tells so many faults, and then says that it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from sampan.api import errors
from sampan.api.customresources import bounds, checks, formats
from sampan.api.customresources.parts import Keywords, Part
from sampan.api.customresources.places import NO_PATH, Place, name
from sampan.api.errors import FieldError

Errors = list[FieldError]

#: What of an object is not there to compare with.
ABSENT: Final = object()

_MOST_STEPS: Final = 2_000_000
#: of all faults that are found on the way, counted at each level above them, too
_MOST_CHARACTERS: Final = 4 * bounds.MOST_CHARACTERS

_JSON_TYPES: Final = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "object", list: "array"}
_INT64: Final = 2**63
_EXACT: Final = 2**53
#: How Go's decoder holds a number, where a format was wanted.
_GO_FORMATS: Final = {int: "int64", float: "float64"}


def validate(part: Part, value: Any, old: Any = ABSENT, place: Place = None) -> Errors:
    """All faults of ``value``. ``old``: what it is an update of."""
    walk = _Walk()
    try:
        found, _ = walk.examine(part, value, place, old)
    except _TooLongError:
        text = "the value is too large for its schema: validation was given up"
        return [errors.invalid(name(place), "", text)]
    return list(dict.fromkeys(found))


class _TooLongError(Exception):
    pass


def same(new: Any, old: Any) -> bool:
    """The same JSON. ``1`` and ``true`` differ, order of keys does not."""
    if new != old:
        return False
    return orjson.dumps(new, option=orjson.OPT_SORT_KEYS) == orjson.dumps(old, option=orjson.OPT_SORT_KEYS)


class _Walk:
    """``examine`` gives the faults of a value, and how much of the schema it fits: of several alternatives, upstream
    tells the faults of the one that fits best."""

    __slots__ = ("room", "steps")

    def __init__(self) -> None:
        self.steps, self.room = _MOST_STEPS, _MOST_CHARACTERS

    def examine(self, part: Part, value: Any, place: Place, old: Any, *, ratchets: bool = True) -> tuple[Errors, int]:
        self.steps -= 1
        if self.steps < 0:
            raise _TooLongError
        keywords = part.keywords
        found: Errors = []
        fits = 1
        if keywords.types:
            fits += self._type(keywords, value, place, found)
        if value is None:
            _enum(keywords, value, place, found)
        else:
            if keywords.all_of or keywords.any_of or keywords.one_of or keywords.not_ is not None:
                fits += self._alternatives(keywords, value, place, old, found)
            kind = type(value)
            if kind is str:
                _text(keywords, value, place, found)
            elif kind is int or kind is float:
                for check in keywords.numbers:
                    if fault := check(value, place):
                        found.append(fault)
            elif kind is list:
                fits += self._list(keywords, value, place, old, found)
            _enum(keywords, value, place, found)
            if kind is dict:
                fits += self._object(keywords, value, place, old, found)
            fits += 3
        if found:
            self.room -= sum(map(bounds.length, found))
            if self.room < 0:
                raise _TooLongError
        if found and ratchets and old is not ABSENT and same(value, old):
            return [], fits
        return found, fits

    def _type(self, keywords: Keywords, value: Any, place: Place, found: Errors) -> int:
        if value is None:
            if keywords.nullable:
                return 2
            found.append(_wrong_type(name(place), ",".join(keywords.types), "null"))
            return 0
        kind = _json_type(value)
        types = keywords.types
        if kind in types or (kind == "integer" and "number" in types) or (kind == "whole" and _takes_whole(types)):
            return 2
        if kind == "whole":
            kind = "number"
        where = name(place)
        if keywords.format and kind != "string" and kind != "array":
            found.append(_wrong_type(where, keywords.format, _GO_FORMATS.get(type(value), "")))
        else:
            found.append(_wrong_type(where, ",".join(types), kind))
        return 1

    def _list(self, keywords: Keywords, value: list[Any], place: Place, old: Any, found: Errors) -> int:
        fits = 2
        items = keywords.items
        if items is not None:
            before = correspondents(keywords, value, old)
            for index, item in enumerate(value):
                faults, count = self.examine(items, item, (place, index), before[index] if before else ABSENT)
                fits += count
                if faults and _is_enough(found, faults):
                    break
        if keywords.min_items is not None and len(value) < keywords.min_items:
            where = name(place)
            text = f"{where} in body should have at least {keywords.min_items} items"
            found.append(errors.invalid(where, len(value), text))
        if keywords.max_items is not None and len(value) > keywords.max_items:
            found.append(errors.too_many(name(place), len(value), keywords.max_items))
        return fits

    def _object(self, keywords: Keywords, value: dict[str, Any], place: Place, old: Any, found: Errors) -> int:
        least, most = keywords.min_properties, keywords.max_properties
        if least is not None and len(value) < least:
            where = name(place)
            found.append(errors.invalid(where, len(value), f"{where} in body should have at least {least} properties"))
            return 0
        if most is not None and len(value) > most:
            found.append(errors.too_many(name(place), len(value), most))
            return 0
        fits = 1
        properties, additional = keywords.properties, keywords.additional
        before = old if type(old) is dict else None
        for key, item in value.items():
            part = properties.get(key)
            if part is None:
                part = additional
                if part is None:
                    if keywords.forbids_others:
                        where = name(place)
                        found.append(errors.invalid(where, key, f"{where}.{key} in body is a forbidden property"))
                    continue
            was = before.get(key, ABSENT) if before is not None else ABSENT
            faults, count = self.examine(part, item, (place, key), was)
            fits += count
            if faults and _is_enough(found, faults):
                break
        for key in keywords.required:
            if key not in value:
                found.append(errors.required(name((place, key))))
        return fits

    def _alternatives(self, keywords: Keywords, value: Any, place: Place, old: Any, found: Errors) -> int:
        """anyOf, oneOf, allOf, not: what is told of them is not forgiven for being unchanged; what is below is."""
        fits = 2
        if keywords.any_of:
            best: tuple[Errors, int] | None = None
            for part in keywords.any_of:
                result = self.examine(part, value, place, old, ratchets=False)
                if not result[0]:
                    best = result
                    break
                if best is None or result[1] > best[1]:
                    best = result
            assert best is not None
            if best[0]:
                found.append(_failed(place, "must validate at least one schema (anyOf)"))
            found += best[0]
            fits += best[1]
        if keywords.one_of:
            fits += self._one_of(keywords.one_of, value, place, old, found)
        if keywords.all_of:
            valid = 0
            for part in keywords.all_of:
                faults, count = self.examine(part, value, place, old, ratchets=False)
                valid += not faults
                found += faults
                fits += count
            if valid != len(keywords.all_of):
                none = "" if valid else ". None validated"
                found.append(_failed(place, f"must validate all the schemas (allOf){none}"))
        if keywords.not_ is not None and not self.examine(keywords.not_, value, place, old, ratchets=False)[0]:
            found.append(_failed(place, "must not validate the schema (not)"))
        return fits

    def _one_of(self, parts: tuple[Part, ...], value: Any, place: Place, old: Any, found: Errors) -> int:
        results = [self.examine(part, value, place, old, ratchets=False) for part in parts]
        valid = [result for result in results if not result[0]]
        if len(valid) == 1:
            return valid[0][1]
        told = f"Found {len(valid)} valid alternatives" if valid else "Found none valid"
        found.append(_failed(place, f"must validate one and only one schema (oneOf). {told}"))
        if valid:
            return 0
        best = max(results, key=lambda result: result[1])
        found += best[0]
        return best[1]


def _json_type(value: Any) -> str:
    """As Go's decoder has it: an integer that no int64 holds is a float64. ``whole``: a float64 that counts as integer
    too, because no other integer is as near."""
    kind = _JSON_TYPES.get(type(value), "")
    if kind == "integer" and not -_INT64 <= value < _INT64:
        return "number"
    return "whole" if kind == "number" and value.is_integer() and abs(value) < _EXACT else kind


def _takes_whole(types: tuple[str, ...]) -> bool:
    return "integer" in types or "number" in types


def _is_enough(found: Errors, more: Errors) -> bool:
    found += more
    return len(found) > bounds.MOST_FAULTS


def _wrong_type(where: str, wanted: str, got: str) -> FieldError:
    detail = f'Invalid value: "{got}": {where} in body must be of type {wanted}: "{got}"'
    return FieldError("FieldValueTypeInvalid", where, detail)


def _failed(place: Place, text: str) -> FieldError:
    return FieldError("FieldValueInvalid", NO_PATH, f'Invalid value: "": {orjson.dumps(name(place)).decode()} {text}')


def _text(keywords: Keywords, value: str, place: Place, found: Errors) -> None:
    for check in keywords.texts:
        if fault := check(value, place):
            found.append(fault)
            break
    if keywords.format and len(keywords.types) < 2 and not formats.matches(keywords.format, value):
        where = name(place)
        wrong = errors.invalid(where, value, "")
        detail = f"{wrong.detail}: {where} in body must be of type {keywords.format}: {errors.quoted(value)}"
        found.append(FieldError("FieldValueTypeInvalid", where, detail))


def _enum(keywords: Keywords, value: Any, place: Place, found: Errors) -> None:
    if keywords.enum is None:
        return
    if value is None:
        listed = ", ".join(map(errors.quoted, keywords.enum_texts))
        detail = f'Unsupported value: "null": supported values: {listed}'
        found.append(FieldError("FieldValueNotSupported", name(place), detail))
    elif checks.key_of(value) not in keywords.enum:
        found.append(errors.not_supported(name(place), value, keywords.enum_texts))


def correspondents(keywords: Keywords, new: list[Any], old: Any) -> list[Any] | None:
    """For each item the one it was; None: for none of them."""
    if type(old) is not list or keywords.list_type in ("set", "atomic"):
        return None
    if keywords.list_type == "map":
        return list(_by_keys(keywords.list_keys, new, old))
    return [old[index] if index < len(old) else ABSENT for index in range(len(new))]


def _by_keys(keys: tuple[str, ...], new: list[Any], old: list[Any]) -> Iterable[Any]:
    index = {identity(keys, item): item for item in reversed(old) if type(item) is dict}
    for item in new:
        yield index.get(identity(keys, item), ABSENT) if type(item) is dict else ABSENT


def identity(keys: tuple[str, ...], item: dict[str, Any]) -> tuple[Any, ...]:
    """What tells an item of a list of type map from the others."""
    return tuple(checks.key_of(item[key]) if key in item else ABSENT for key in keys)
