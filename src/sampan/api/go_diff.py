"""How upstream's refusals show what changed in a whole struct: a unified diff of two indented JSON texts. Pure.

Go's names of the fields are the caller's to give. Source: apimachinery ``util/diff`` as built into v1.37's server.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

#: of either text: those of a pod of a dozen containers
_MOST_LINES: Final = 2000
#: Pairs of equal lines that are looked at: some milliseconds. Texts that repeat themselves have very many.
_MOST_PAIRS: Final = 20_000
_CONTEXT: Final = 3
#: what Go's encoder does not write as it is
_ESCAPES: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def diff(old: Any, new: Any) -> str:
    """Empty when the texts are the same, or would take long to compare."""
    before, after = _lines(old), _lines(new)
    if before == after or max(len(before), len(after)) > _MOST_LINES:
        return ""
    try:
        return "".join(_unified(before, after))
    except _TooMuchError:
        return ""


class _TooMuchError(Exception):
    """The texts have too much in common in too many ways."""


class _Bounded(difflib.SequenceMatcher[str]):
    """Gives up when it has looked at too many pairs."""

    def __init__(self, before: list[str], after: list[str]) -> None:
        super().__init__(None, before, after)
        self._lines = len(before)
        places: Any = self.b2j  # type: ignore[attr-defined]  # where each line is, but for those that are everywhere
        pairs = sum(len(places.get(line, ())) for line in before)
        self._pairs_a_line = 1 + pairs / len(before)
        self._left = float(_MOST_PAIRS)

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        self._left -= ((self._lines if ahi is None else ahi) - alo) * self._pairs_a_line
        if self._left < 0:
            raise _TooMuchError
        return super().find_longest_match(alo, ahi, blo, bhi)


def _unified(before: list[str], after: list[str]) -> Iterator[str]:
    for group in _Bounded(before, after).get_grouped_opcodes(_CONTEXT):
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@\n"
        for tag, begin, end, new_begin, new_end in group:
            if tag == "equal":
                yield from (f" {line}" for line in before[begin:end])
                continue
            yield from (f"-{line}" for line in before[begin:end])
            yield from (f"+{line}" for line in after[new_begin:new_end])


def _range(begin: int, end: int) -> str:
    length = end - begin
    if length == 1:
        return f"{begin + 1}"
    return f"{begin + 1 if length else begin},{length}"


def _lines(value: Any) -> list[str]:
    text = json.dumps(value, indent=1, ensure_ascii=False).translate(_ESCAPES)
    return [f"{line}\n" for line in text.split("\n")]


def capitalised(value: Any) -> Any:
    """For structs whose layout nobody wrote down: what is there, each name with a capital."""
    if isinstance(value, Mapping):
        return {key[:1].upper() + key[1:]: capitalised(item) for key, item in value.items()}
    return [capitalised(item) for item in value] if isinstance(value, list) else value
