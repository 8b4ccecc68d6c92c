"""Regular expressions of users: RE2, so that no text makes them slow (google-re2).

A pattern is compiled once and kept; what it may take is bounded in characters and in RE2's own memory, and what is kept
in number and size.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Final

import re2

MAX_PATTERN: Final = 10_000
#: What RE2 may use for one pattern; beyond it, it refuses the pattern. With less, patterns of moderate size are matched
#: in its slow way: a thousand times slower.
_MEMORY_BYTES: Final = 8 * 1024 * 1024
#: Patterns that are kept, and their instructions all together (some 20 bytes each).
_MOST_KEPT: Final = 1024
_MOST_SIZE: Final = 2_000_000
#: What it costs to compile any pattern, and to find that one is too large.
_COMPILE: Final = 50
_TOO_LARGE: Final = 200_000


class BadPattern(Exception):
    """No pattern; the text is Go's way to say why."""


#: RE2's words for what is wrong, as Go's regexp/syntax has them.
_GO_WORDS: Final = {
    "no argument for repetition operator: ": "missing argument to repetition operator: `{1}`",
    "bad repetition operator: ": "invalid nested repetition operator: `{1}`",
    "invalid repetition size: ": "invalid repeat count: `{1}`",
    "invalid perl operator: ": "invalid or unsupported Perl syntax: `{1}`",
    "pattern too large - compile failed": "expression too large",
    "missing ): ": "missing closing ): `{0}`",
    "missing ]: ": "missing closing ]: `{1}`",
}


class _Kept:
    """Patterns that were compiled, or refused, as long as they are asked for: bounded in number and in size."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._size = 0

    def get(self, pattern: str) -> tuple[Any, int]:
        """What searches, or BadPattern as a value; and what it cost to find out just now, 0 if it was known."""
        with self._lock:
            known = self._found.get(pattern)
            if known is not None:
                self._found.move_to_end(pattern)
                return known[0], 0
        made = _compile(pattern)  # by nobody else's leave: it may take a tenth of a second
        size = _cost_to_compile(made)
        with self._lock:
            if pattern not in self._found:
                self._found[pattern] = made, size
                self._size += size
                while len(self._found) > _MOST_KEPT or (self._size > _MOST_SIZE and len(self._found) > 1):
                    _, (_, less) = self._found.popitem(last=False)
                    self._size -= less
        return made, size


_kept: Final = _Kept()


def compiled(pattern: str) -> Any:
    """What searches. Raises BadPattern."""
    found, _ = _kept.get(pattern)
    if isinstance(found, BadPattern):
        raise BadPattern(*found.args)
    return found


def _compile(pattern: str) -> Any:
    if len(pattern) > MAX_PATTERN:
        return BadPattern("error parsing regexp: expression too long")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError, ValueError) as error:
        return BadPattern(_told(error, pattern))


def _cost_to_compile(made: Any) -> int:
    """In units of a budget: a microsecond or so each."""
    if isinstance(made, BadPattern):
        return _TOO_LARGE if str(made).endswith("expression too large") else _COMPILE
    return int(made.programsize) + _COMPILE


def _told(error: Exception, pattern: str) -> str:
    what = error.args[0] if error.args else ""
    text = what.decode(errors="replace") if isinstance(what, bytes) else str(what)
    for mark, words in _GO_WORDS.items():
        if text.startswith(mark):
            return "error parsing regexp: " + words.format(pattern, text.removeprefix(mark))
    reason, _, where = text.partition(": ")
    return f"error parsing regexp: {reason}: `{where}`" if where else f"error parsing regexp: {reason}"


def steps_cost(pattern: str, length: int) -> int:
    """What a match may cost at worst, by the size of what the pattern was compiled to: a short one may be a large
    program. One that was not known costs what it takes to compile, too; it is done here, one before it is paid."""
    found, first = _kept.get(pattern)
    steps = 0 if isinstance(found, BadPattern) else int(found.programsize) * length // 200
    return first + steps


def is_pattern(text: str) -> bool:
    try:
        compiled(text)
    except BadPattern:
        return False
    return True
