"""Finds keys that stand twice in one object of a JSON text. Called by ``json_text`` when no cheap proof excludes them.

Reads tokens instead of building values: it can stop at the limit, and it never holds the interpreter for long in one
call. The text must be valid JSON, no deeper than the caller allows.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from sampan.api.schema import paths
from sampan.api.schema.paths import MAX_STRICT_ERRORS

#: Repetitions after which nothing more is looked for, whether they gave new paths or the same.
_MAX_REPEATS: Final = 1000

#: A string with the colon that makes it a key, or a mark of structure. Numbers and literals are skipped.
_TOKEN = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?|[{}\[\],]', re.DOTALL)


class _Frame:
    """An object (``seen``: its keys so far, as written) or a list (``index``: of the present element)."""

    __slots__ = ("index", "key", "seen")

    def __init__(self, is_object: bool) -> None:
        self.seen: set[bytes] | None = set() if is_object else None
        self.key = b""
        self.index = 0


def find_duplicates(body: bytes) -> list[str]:
    """Paths such as ``spec.containers[0].image``, each once, in the order of the text."""
    found: dict[str, None] = {}
    repeats = 0
    stack: list[_Frame] = []
    frame = _Frame(is_object=False)
    for match in _TOKEN.finditer(body):
        key, colon = match.groups()
        if colon is not None:
            if b"\\" in key:
                key = _plain(key)
            seen = frame.seen
            assert seen is not None
            frame.key = key
            if key in seen:
                found[_path(stack)] = None
                repeats += 1
                if len(found) >= MAX_STRICT_ERRORS or repeats >= _MAX_REPEATS:
                    break
            else:
                seen.add(key)
        elif key is None:
            mark = match[0]
            if mark == b",":
                frame.index += 1
            elif mark == b"{" or mark == b"[":
                frame = _Frame(mark == b"{")
                stack.append(frame)
            else:
                stack.pop()
                frame = stack[-1] if stack else frame
    return list(found)


def _plain(key: bytes) -> bytes:
    """A key without escapes, so that equal ones are equal."""
    text: str = orjson.loads(b'"%s"' % key)
    return text.encode()


def _path(stack: list[_Frame]) -> str:
    return paths.join(frame.index if frame.seen is None else frame.key.decode() for frame in stack)
