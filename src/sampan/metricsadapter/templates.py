"""The part of Go's templates that rules of metrics use: ``<<.Series>>``, ``<<index .LabelValuesByName "name">>``. Pure.

Whatever else Go's language has (pipelines, conditions, loops) is refused when the rules are read, with its own text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from sampan.records import dataclass

_ACTION: Final = re.compile(r"<<(.*?)>>", re.DOTALL)
_FIELD: Final = re.compile(r"\s*\.([A-Za-z]+)\s*")
_INDEX: Final = re.compile(r'\s*index\s+\.([A-Za-z]+)\s+"([^"\\]*)"\s*')


class TemplateError(ValueError):
    """The message names what stands there and what could."""


@dataclass(frozen=True, slots=True)
class Template:
    """``pieces``: texts, and between them (field, key); key "" is the field itself."""

    texts: tuple[str, ...]
    actions: tuple[tuple[str, str], ...]

    def fill(self, values: Mapping[str, str], maps: Mapping[str, Mapping[str, str]] | None = None) -> str:
        said = [self.texts[0]]
        for (name, key), text in zip(self.actions, self.texts[1:], strict=True):
            said += [(maps or {})[name].get(key, "") if key else values[name], text]
        return "".join(said)


def parse(text: str, fields: Sequence[str], maps: Sequence[str] = ()) -> Template:
    """``fields``: what may stand alone, ``maps``: what may be indexed. Raises TemplateError."""
    texts, actions, end = [], [], 0
    for found in _ACTION.finditer(text):
        texts.append(text[end : found.start()])
        end = found.end()
        actions.append(_action(found[1], fields, maps))
    texts.append(text[end:])
    if any("<<" in each for each in texts):
        raise TemplateError(f"{_shown(text)} has a << without its >>")
    return Template(tuple(texts), tuple(actions))


def _action(text: str, fields: Sequence[str], maps: Sequence[str]) -> tuple[str, str]:
    if (field := _FIELD.fullmatch(text)) and field[1] in fields:
        return field[1], ""
    if (index := _INDEX.fullmatch(text)) and index[1] in maps and index[2]:
        return index[1], index[2]
    can = [f"<<.{name}>>" for name in fields] + [f'<<index .{name} "label">>' for name in maps]
    raise TemplateError(f"<<{_shown(text)}>> is not understood; there are {', '.join(can)}")


def _shown(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."
