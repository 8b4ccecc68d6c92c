"""The CRI log format: ``<RFC 3339 time> <stdout|stderr> <P|F>[:tags] <text>``. Pure.

``P`` marks a part of a long line whose rest follows, ``F`` the end of a line.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal

from sampan.api.clock import parse_time
from sampan.records import dataclass

Stream = Literal["All", "Stdout", "Stderr"]

_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")
_STREAMS = (b"stdout", b"stderr")


@dataclass(frozen=True, slots=True)
class Line:
    """``time`` is as written; ``text`` has no line end."""

    time: bytes
    stream: bytes
    partial: bool
    text: bytes

    def moment(self) -> datetime:
        return parse_time(self.time.decode())


def parse_line(raw: bytes) -> Line | None:
    """None: not a line of this format (torn by a crash, or written by someone else)."""
    parts = raw.split(b" ", 3)
    if len(parts) < 3 or parts[1] not in _STREAMS or not _TIME.fullmatch(parts[0]):
        return None
    partial = parts[2].split(b":", 1)[0] == b"P"
    return Line(parts[0], parts[1], partial, parts[3] if len(parts) == 4 else b"")


def fixed_time(time: bytes) -> bytes:
    """With nine digits of fraction, as ``kubectl logs --timestamps`` shows it, so that columns align."""
    match = _TIME.fullmatch(time)
    if match is None:
        return time
    seconds, fraction, zone = match.groups()
    return seconds + b"." + (fraction or b"")[:9].ljust(9, b"0") + zone


class LineWriter:
    """Turns parsed lines into output bytes. Keeps whether the last one was partial: only line starts are stamped."""

    def __init__(self, *, timestamps: bool = False, since: datetime | None = None, stream: Stream = "All") -> None:
        self._timestamps = timestamps
        self._since = since
        self._stream = b"" if stream == "All" else stream.lower().encode()
        self._at_start = True

    def render(self, raw: bytes) -> bytes:
        """b"" for what is filtered out or not in the format."""
        line = parse_line(raw)
        if line is None or (self._stream and line.stream != self._stream):
            return b""
        if self._since is not None:
            if line.moment() < self._since:
                return b""
            self._since = None  # times only grow: from here on nothing needs comparing
        stamp = fixed_time(line.time) + b" " if self._timestamps and self._at_start else b""
        self._at_start = not line.partial
        return stamp + line.text + (b"" if line.partial else b"\n")
