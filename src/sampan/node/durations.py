"""Durations as Go writes them (``1h2m3.5s``), in seconds. Pure."""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_LONGEST = 2**63 / 1e9
_CHARACTERS = 64


def parse_duration(text: str) -> float:
    """Raises ValueError, in the words of ``time.ParseDuration``."""
    rest, sign = text[:_CHARACTERS], 1.0
    if rest[:1] in ("+", "-"):
        rest, sign = rest[1:], -1.0 if rest[0] == "-" else 1.0
    if rest == "0":
        return 0.0
    total, place = 0.0, 0
    while (found := _PART.match(rest, place)) is not None:
        total += float(found[1]) * _UNITS[found[2]]
        place = found.end()
    if place == 0 or place < len(rest) or len(text) > _CHARACTERS or total >= _LONGEST:
        if re.fullmatch(r"\d+\.?\d*", rest):
            raise ValueError(f'time: missing unit in duration "{text[:_CHARACTERS]}"')
        raise ValueError(f'time: invalid duration "{text[:_CHARACTERS]}"')
    return sign * total


def show_duration(seconds: float) -> str:
    """As Go prints it: ``1m30s``, ``1h0m0s``, ``1.5s``, ``20ms``."""
    if seconds < 0:
        return f"-{show_duration(-seconds)}"
    if seconds < 1:
        return f"{round(seconds * 1000, 6):g}ms" if seconds else "0s"
    minutes, rest = divmod(round(seconds, 9), 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{round(rest, 9):g}s"
    if hours:
        return f"{hours}h{minutes}m{shown}"
    return f"{minutes}m{shown}" if minutes else shown
