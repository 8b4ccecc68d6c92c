"""The JSONPath of printer columns (client-go ``util/jsonpath``, missing keys allowed), compiled once and run on rows.

``compile_path(".status.conditions[?(@.type=='Ready')].status")`` gives a function from an object to what is there.
Pure. What a path may find, and look at on the way, is bounded, so that none makes a table slow: beyond it, it finds
nothing.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

#: values that one step may lead to
MOST_FOUND: Final = 2000
#: values that all steps together may look at, those of filters too
MOST_LOOKED_AT: Final = 10_000
MOST_CHARACTERS: Final = 4096
#: filters in filters
_DEEPEST: Final = 16


class Patience:
    """How many values may still be looked at."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MOST_LOOKED_AT

    def spend(self, values: int) -> None:
        self.left -= values
        if self.left < 0:
            raise _SpentError


class _SpentError(Exception):
    pass


Find: TypeAlias = Callable[[Any, Patience], list[Any]]
#: from one value to those a step further
Step: TypeAlias = Callable[[Any, Patience], Iterator[Any]]

_NAME = re.compile(r"(?:[^\s.\[\]{}()@$?,'\"=<>!*:\\|]|\\.)+")
_SLICE = re.compile(r"\s*(-?\d*)\s*(?::\s*(-?\d*)\s*)?(?::\s*(-?\d*)\s*)?$")
_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_COMPARED = re.compile(r"==|!=|<=|>=|<|>")


class BadPath(ValueError):
    """The text is no JSONPath."""


def compile_path(text: str) -> Find:
    """Raises BadPath."""
    if len(text) > MOST_CHARACTERS:
        raise BadPath("the path is too long")
    inner = _path(text, 0)

    def find(value: Any, patience: Patience) -> list[Any]:
        try:
            return inner(value, patience)
        except _SpentError:
            return []

    return find


def _path(text: str, depth: int) -> Find:
    if depth > _DEEPEST:
        raise BadPath("filters are nested too deep")
    steps = _steps(text.strip(), depth)

    def find(value: Any, patience: Patience) -> list[Any]:
        found = [value]
        for step in steps:
            further: list[Any] = []
            for one in found:
                for below in step(one, patience):
                    patience.spend(1)
                    further.append(below)
                    if len(further) > MOST_FOUND:
                        return []
            found = further
        return found

    return find


def _steps(text: str, depth: int) -> list[Step]:
    steps: list[Step] = []
    at = 1 if text[:1] in ("$", "@") else 0
    while at < len(text):
        if text.startswith("..", at):
            steps.append(_descend)
            at += 2
            if text[at : at + 1] not in ("[", ""):
                at = _field(text, at, steps)
        elif text[at] == ".":
            at += 1
            if text[at : at + 1] not in ("[", ""):
                at = _field(text, at, steps)
        elif text[at] == "[":
            end = _closing(text, at)
            steps.append(_bracket(text[at + 1 : end].strip(), depth))
            at = end + 1
        elif not steps:
            at = _field(text, at, steps)
        else:
            raise BadPath(f"unexpected {text[at]} in the path")
    return steps


def _field(text: str, at: int, steps: list[Step]) -> int:
    """Reads one name; where it ends."""
    if text[at] == "*":
        steps.append(_children)
        return at + 1
    found = _NAME.match(text, at)
    if found is None:
        raise BadPath(f"unexpected {text[at]} in the path")
    steps.append(_key(re.sub(r"\\(.)", r"\1", found.group())))
    return found.end()


def _closing(text: str, at: int) -> int:
    """Where the bracket that opens at ``at`` is closed, quotes and brackets in it aside."""
    depth, quote = 0, ""
    position = at
    while position < len(text):
        character = text[position]
        if quote:
            if character == "\\":
                position += 1
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
            if not depth:
                return position
        position += 1
    raise BadPath("a bracket is not closed")


def _bracket(inner: str, depth: int) -> Step:
    if inner == "*":
        return _children
    if inner.startswith("?"):
        condition = inner[1:].strip()
        if not (condition.startswith("(") and condition.endswith(")")):
            raise BadPath("a filter stands in parentheses")
        return _filter(condition[1:-1].strip(), depth)
    if inner[:1] in ("'", '"') or "," in inner:
        return _union([part.strip() for part in _split(inner)])
    return _slice(inner)


def _split(inner: str) -> list[str]:
    """The parts between commas that are in no quotes."""
    return [part for part in re.findall(r"""(?:[^,'"]|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")+""", inner) if part.strip()]


def _union(parts: list[str]) -> Step:
    steps = [_key(_unquoted(part)) if part[:1] in ("'", '"') else _slice(part) for part in parts]

    def step(value: Any, patience: Patience) -> Iterator[Any]:
        for one in steps:
            yield from one(value, patience)

    return step


def _unquoted(text: str) -> str:
    if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0]:
        raise BadPath(f"{text} is not quoted well")
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _slice(text: str) -> Step:
    found = _SLICE.match(text)
    if found is None or not text:
        raise BadPath(f"{text or 'nothing'} is no index")
    if ":" not in text:
        return _index(int(found.group(1)))
    start, end, step = (int(part) if part else None for part in found.groups())
    if step is not None and step <= 0:
        raise BadPath("a step must be > 0")

    def take(value: Any, patience: Patience) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[start:end:step]

    return take


def _index(at: int) -> Step:
    def step(value: Any, patience: Patience) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= at < len(value):
            yield value[at]

    return step


def _key(name: str) -> Step:
    def step(value: Any, patience: Patience) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _children(value: Any, patience: Patience) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _descend(value: Any, patience: Patience) -> Iterator[Any]:
    """The value and all below it."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, dict | list):
            patience.spend(len(one))
            waiting.extend(reversed(list(_children(one, patience))))


def _filter(condition: str, depth: int) -> Step:
    compared = _COMPARED.search(_without_texts(condition))
    if compared is None:
        exists = _operand(condition, depth)

        def having(value: Any, patience: Patience) -> Iterator[Any]:
            for item in _children(value, patience):
                patience.spend(1)
                if exists(item, patience):
                    yield item

        return having
    left = _operand(condition[: compared.start()].strip(), depth)
    right = _operand(condition[compared.end() :].strip(), depth)
    compare = _OPERATORS[compared.group()]

    def step(value: Any, patience: Patience) -> Iterator[Any]:
        for item in _children(value, patience):
            patience.spend(1)
            if _holds(compare, left(item, patience), right(item, patience)):
                yield item

    return step


def _without_texts(condition: str) -> str:
    """The condition with what is quoted blanked out."""
    return re.sub(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", lambda found: " " * len(found.group()), condition)


def _operand(text: str, depth: int) -> Find:
    """A path from the item (``@.type``), or a constant."""
    if text.startswith(("@", "$", ".")):
        return _path(text, depth + 1)
    if text[:1] in ("'", '"'):
        constant: Any = _unquoted(text)
    elif text in ("true", "false"):
        constant = text == "true"
    else:
        try:
            constant = float(text) if "." in text or "e" in text.lower() else int(text)
        except ValueError:
            raise BadPath(f"{text or 'nothing'} cannot be compared") from None
    return lambda item, patience: [constant]


def _holds(compare: Callable[[Any, Any], bool], left: list[Any], right: list[Any]) -> bool:
    """Only values of one type can be compared, and only where there is one on each side."""
    if len(left) != 1 or len(right) != 1:
        return False
    one, other = left[0], right[0]
    numbers = type(one) in (int, float) and type(other) in (int, float)
    if type(one) is not type(other) and not numbers:
        return False
    return type(one) in (str, bool, int, float) and bool(compare(one, other))
