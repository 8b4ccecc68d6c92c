"""Durations as Go writes them: ``15s``, ``1m30.5s``, ``100ms``. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(h|ms|m|s|us|µs|μs|ns)", re.ASCII)
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
#: more characters than any duration that somebody means
_LONGEST: Final = 64
#: Go's durations are whole nanoseconds in 64 bits: 292 years, either way.
_LONGEST_SECONDS: Final = (2**63 - 1) // 10**9


def span(seconds: float) -> timedelta:
    """Of seconds that somebody wrote, however many: at most what Go has, so that dates stay dates."""
    return timedelta(seconds=max(-_LONGEST_SECONDS, min(seconds, _LONGEST_SECONDS)))


def parse(duration: str) -> float:
    """Seconds, never fewer than none. Raises ValueError for what is no duration."""
    if duration == "0":
        return 0.0
    if len(duration) > _LONGEST or _WHOLE.fullmatch(duration) is None:
        raise ValueError(f'time: invalid duration "{duration[:_LONGEST]}"')
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(duration))
