"""Patterns of schemas: RE2 finds them in time linear in the text, whatever they say.

What still costs is a large program on a long text: their product has a limit here, and ``may_be_demanding`` tells which
schemas are better not used on the event loop.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from sampan.cel.patterns import BadPattern, compiled

#: Instructions times characters of text: about a second in RE2's slowest way.
_MOST_STEPS: Final = 100_000_000

#: A pattern in the text of a schema: one so long, or with repetition so high or so often, may be a large program.
_IN_SCHEMA: Final = re.compile(rb'"pattern":"((?:[^"\\]|\\.)*)"')
_MANY: Final = re.compile(rb"\{\d*,?\d{3,}\}|(?:\{\d+(?:,\d*)?\}[^{]*){4}")
_LONG: Final = 300

#: Instructions of all patterns of a definition together: RE2 compiles some 700,000 a second, and holds the interpreter.
_MOST_INSTRUCTIONS: Final = 400_000
#: what RE2 makes at least before it finds a pattern too large
_REFUSED_INSTRUCTIONS: Final = 130_000


class Unusable(ValueError):
    """A pattern that is none, or cannot be matched against this text; the message begins ``pattern is ...``."""


def fault(pattern: str) -> str:
    """Why this is no pattern, in Go's words; empty: it is one."""
    try:
        compiled(pattern)
    except BadPattern as problem:
        return str(problem)
    return ""


def may_be_demanding(schema: bytes) -> bool:
    """Whether a match of one of the patterns in a schema's text may take milliseconds."""
    return any(len(pattern) > _LONG or _MANY.search(pattern) for pattern in _IN_SCHEMA.findall(schema))


def are_too_many(schemas: bytes) -> bool:
    """Whether compiling the patterns in these schemas' text takes too long; none is compiled after that is known."""
    left = _MOST_INSTRUCTIONS
    for written in dict.fromkeys(_IN_SCHEMA.findall(schemas)):
        try:
            left -= compiled(orjson.loads(b'"%s"' % written)).programsize
        except BadPattern as problem:
            left -= _REFUSED_INSTRUCTIONS if str(problem).endswith("too large") else 0
        if left < 0:
            return True
    return False


def found(pattern: str, text: str) -> bool:
    """Whether it matches somewhere in the text. Raises Unusable."""
    try:
        program = compiled(pattern)
    except BadPattern as problem:
        raise Unusable(f"pattern is invalid: {problem}") from None
    if program.programsize * len(text) > _MOST_STEPS:
        raise Unusable("pattern is too expensive for a value of this length")
    return program.search(text) is not None
