"""Regular expressions of users: RE2, so that no text makes them slow (google-re2).

A pattern is compiled once and kept; what it may take is bounded in characters and in RE2's own memory.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import re2

MAX_PATTERN: Final = 10_000
#: What RE2 may use for one pattern; beyond it, it refuses the pattern. With less, patterns of moderate size are matched
#: in its slow way: a thousand times slower.
_MEMORY_BYTES: Final = 8 * 1024 * 1024


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


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """What searches. Raises BadPattern."""
    if len(pattern) > MAX_PATTERN:
        raise BadPattern("error parsing regexp: expression too long")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError, ValueError) as error:
        raise BadPattern(_told(error, pattern)) from None


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
    program. 0 for no pattern."""
    try:
        return int(compiled(pattern).programsize) * length // 200
    except BadPattern:
        return 0


def is_pattern(text: str) -> bool:
    try:
        compiled(text)
    except BadPattern:
        return False
    return True
