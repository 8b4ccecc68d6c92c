"""Timestamps and durations as texts (RFC 3339, Go's time.ParseDuration), and the parts of a moment."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from sampan.cel.errors import EvaluationError
from sampan.cel.operators import duration, timestamp
from sampan.cel.values import Duration, Timestamp

_SECOND: Final = 10**9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_UNITS: Final = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_OFFSET: Final = re.compile(r"([+-]?)(\d\d?):(\d\d)", re.ASCII)
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}", re.ASCII)

#: Longer texts are no moments.
_MAX_TEXT: Final = 64


def parse_timestamp(text: str) -> Timestamp:
    """Raises ValueError for what is none, EvaluationError for one out of range."""
    match = _RFC3339.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = (int(match.group(place)) for place in range(1, 7))
    offset = timedelta()
    if match.group(9):
        if int(match.group(10)) > 23 or int(match.group(11)) > 59:
            raise ValueError(text)
        offset = timedelta(hours=int(match.group(10)), minutes=int(match.group(11)))
        offset = -offset if match.group(9) == "-" else offset
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC) - _EPOCH - offset
    fraction = int((match.group(7) or "").ljust(9, "0")[:9])
    return timestamp((moment.days * 86400 + moment.seconds) * _SECOND + fraction)


def parse_duration(text: str) -> Duration:
    """Raises ValueError for what is none, EvaluationError for one out of range."""
    if len(text) > _MAX_TEXT:
        raise ValueError(text)
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return Duration(0)
    total, at = 0, 0
    while at < len(rest):
        match = _PART.match(rest, at)
        if match is None:
            raise ValueError(text)
        whole, _, fraction = match.group(1).partition(".")
        unit = _UNITS[match.group(2)]
        total += int(whole or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        at = match.end()
    if not at:
        raise ValueError(text)
    return duration(sign * total)


def show_timestamp(value: Timestamp) -> str:
    seconds, ns = divmod(value.ns, _SECOND)
    shown = _moment(seconds * _SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return f"{shown}{_fraction(ns)}Z"


def show_duration(value: Duration) -> str:
    seconds, ns = divmod(abs(value.ns), _SECOND)
    return f"{'-' if value.ns < 0 else ''}{seconds}{_fraction(ns)}s"


def _fraction(ns: int) -> str:
    return f".{ns:09d}".rstrip("0") if ns else ""


def _moment(ns: int, zone: tzinfo) -> datetime:
    try:
        return (_EPOCH + timedelta(microseconds=ns // 1000)).astimezone(zone)
    except OverflowError:
        raise EvaluationError("timestamp overflow") from None


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """A zone by its name or offset. Raises EvaluationError."""
    if name in ("UTC", ""):
        return UTC
    match = _OFFSET.fullmatch(name)
    if match is not None:
        hours, minutes = int(match.group(2)), int(match.group(3))
        if hours < 24 and minutes < 60:
            offset = timedelta(hours=hours, minutes=minutes)
            return timezone(-offset if match.group(1) == "-" else offset)
    elif len(name) <= _MAX_TEXT and _ZONE.fullmatch(name):
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            pass
    raise EvaluationError(f"unknown time zone {name}")


Part = Callable[[datetime], int]

#: Parts of a moment by the name of their function; the day of the year is counted from 0, as months are.
PARTS: Final[dict[str, Part]] = {
    "getFullYear": lambda moment: moment.year,
    "getMonth": lambda moment: moment.month - 1,
    "getDayOfYear": lambda moment: moment.timetuple().tm_yday - 1,
    "getDayOfMonth": lambda moment: moment.day - 1,
    "getDate": lambda moment: moment.day,
    "getDayOfWeek": lambda moment: moment.isoweekday() % 7,
    "getHours": lambda moment: moment.hour,
    "getMinutes": lambda moment: moment.minute,
    "getSeconds": lambda moment: moment.second,
    "getMilliseconds": lambda moment: moment.microsecond // 1000,
}


def part_of(part: Part) -> Callable[..., int]:
    def get(value: Timestamp, zone: str = "UTC") -> int:
        return part(_moment(value.ns, zone_of(zone)))

    return get
