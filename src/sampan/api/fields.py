"""Field selectors: ``metadata.name=a,spec.nodeName!=b`` (apimachinery ``fields``).

Which fields a kind knows is the kind's business (``Kind.selectable_names``); this knows only the grammar.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Hashable, Mapping

from sampan.api.types import Obj
from sampan.records import dataclass

_OPERATOR = re.compile(r"!=|==|=")
_SPECIAL = re.compile(r"[\\,=]")


class FieldSelectorError(ValueError):
    """A selector that cannot be used; the message is what the API answers with a 400."""


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    field: str
    equal: bool
    value: str

    def matches(self, values: Mapping[str, str]) -> bool:
        return (values.get(self.field, "") == self.value) == self.equal

    def __str__(self) -> str:
        return f"{self.field}{'=' if self.equal else '!='}{escape(self.value)}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All requirements hold; none: everything matches. ``matches`` is made for the selector once."""

    requirements: tuple[FieldRequirement, ...] = ()
    matches: Callable[[Mapping[str, str]], bool] = dataclasses.field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "matches", _matcher(self.requirements))

    @property
    def everything(self) -> bool:
        return not self.requirements

    def exact(self, field: str) -> str | None:
        """The only value that this field may have, when the selector pins it (``metadata.name=x``)."""
        for requirement in self.requirements:
            if requirement.field == field and requirement.equal:
                return requirement.value
        return None

    def key(self) -> Hashable:
        """The same for selectors that say the same in another order."""
        return tuple(sorted({(r.field, r.equal, r.value) for r in self.requirements}))

    def fields(self) -> tuple[str, ...]:
        return tuple(requirement.field for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


def _matcher(requirements: tuple[FieldRequirement, ...]) -> Callable[[Mapping[str, str]], bool]:
    if not requirements:
        return lambda values: True
    tests = tuple((requirement.field, requirement.value, requirement.equal) for requirement in requirements)

    def matches(values: Mapping[str, str]) -> bool:
        for name, value, equal in tests:  # noqa: SIM110 (a generator takes twice as long)
            if (values.get(name, "") == value) is not equal:
                return False
        return True

    return matches


EVERYTHING = FieldSelector()


def escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def _unescape(value: str) -> str:
    if not _SPECIAL.search(value):
        return value
    result: list[str] = []
    characters = iter(value)
    for character in characters:
        if character == "\\":
            following = next(characters, None)
            if following is None or following not in "\\,=":
                sequence = f"\\{following or ''}"
                raise FieldSelectorError(f"invalid field selector: invalid escape sequence: {sequence}")
            result.append(following)
        elif character in ",=":
            # Upstream prints the number of the character.
            raise FieldSelectorError(f"invalid field selector: unescaped character in value: {ord(character)}")
        else:
            result.append(character)
    return "".join(result)


def _terms(text: str) -> list[str]:
    """Splits at commas that are not escaped."""
    if "\\" not in text:
        return text.split(",")
    terms, start, escaped = [], 0, False
    for index, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            terms.append(text[start:index])
            start = index + 1
    terms.append(text[start:])
    return terms


def _split(term: str) -> tuple[str, str, str] | None:
    found = _OPERATOR.search(term)
    return (term[: found.start()], found[0], term[found.end() :]) if found else None


def parse(text: str) -> FieldSelector:
    """Raises FieldSelectorError."""
    requirements = []
    for term in _terms(text):
        if not term:
            continue
        parts = _split(term)
        if parts is None:
            raise FieldSelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
        field, operator, value = parts
        requirements.append(FieldRequirement(field, operator != "!=", _unescape(value)))
    return FieldSelector(tuple(requirements)) if requirements else EVERYTHING


def check_supported(selector: FieldSelector, namespaced: bool, names: Collection[str]) -> None:
    """Refuses fields that the kind does not offer. ``names``: ``Kind.selectable_names``. Raises FieldSelectorError."""
    for field in selector.fields():
        if field == "metadata.name" or (field == "metadata.namespace" and namespaced) or field in names:
            continue
        raise FieldSelectorError(f"field label not supported: {field}")


def object_fields(obj: Obj, own: Mapping[str, str]) -> dict[str, str]:
    """The values a selector is matched against: metadata and the kind's own (``Kind.selectable_fields(obj)``)."""
    metadata = obj.get("metadata", {})
    return {"metadata.name": metadata.get("name", ""), "metadata.namespace": metadata.get("namespace", ""), **own}
