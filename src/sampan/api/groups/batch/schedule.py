"""The grammar of CronJobs' schedules (robfig/cron's standard parser): what one says, or in its words why it is none.

Pure and without a clock; when a schedule falls due is the CronJob controller's to reckon.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: i + 1 for i, name in enumerate(_MONTH_NAMES)}
_DAYS = {name: i for i, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
_DESCRIPTORS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ZONES: Final = ("TZ=", "CRON_TZ=")
_EVERY: Final = "@every "

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
#: a number of a duration, and what follows it up to the next
_DURATION_PART = re.compile(r"([0-9]*)(\.[0-9]*)?([^0-9.]*)", re.ASCII)
_SECOND: Final = 10**9
#: in nanoseconds
_UNITS: Final = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 10**6,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}
_LONGEST_DURATION: Final = 2**63 - 1


class ScheduleFault(ValueError):
    """What is wrong, in the parser's words."""


@dataclass(frozen=True, slots=True)
class Field:
    """``every``: a star stands in it, so of the two fields for days the other one decides alone."""

    values: frozenset[int]
    every: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    """``fields``: minute, hour, day of the month, month, day of the week (0: Sunday). ``zone``: None when the text
    names none. ``every_seconds``: of ``@every``, which has no fields; else 0."""

    fields: tuple[Field, ...]
    zone: str | None = None
    every_seconds: int = 0


def problem(schedule: str) -> str:
    """What is wrong with it, or "" when nothing is."""
    try:
        parse(schedule)
    except ScheduleFault as fault:
        return str(fault)
    return ""


def parse(text: str) -> Schedule:
    """Raises ScheduleFault."""
    if not text:
        raise ScheduleFault("empty spec string")
    zone = None
    if text.startswith(_ZONES):
        zone, text = _split_zone(text)
    if text.startswith(_EVERY):
        return Schedule((), zone, _every_seconds(text))
    if text.startswith("@"):
        if text not in _DESCRIPTORS:
            raise ScheduleFault(f"unrecognized descriptor: {text}")
        text = _DESCRIPTORS[text]
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ScheduleFault(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    return Schedule(tuple(_field(*each) for each in zip(fields, _FIELDS, strict=True)), zone)


def _field(text: str, limits: tuple[int, int, dict[str, int]]) -> Field:
    parts = [_part(part, *limits) for part in filter(None, text.split(","))]
    values = frozenset(value for found, _ in parts for value in found)
    return Field(values, any(every for _, every in parts))


def _split_zone(text: str) -> tuple[str, str]:
    zone, space, rest = text.partition("=")[2].partition(" ")
    if not space:
        raise ScheduleFault("invalid schedule format: runtime error: slice bounds out of range [:-1]")
    try:
        if zone not in ("", "UTC", "Local"):
            ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleFault(f"provided bad location {zone}: unknown time zone {zone}") from None
    return zone, rest.strip()


def _every_seconds(text: str) -> int:
    """At least one; fractions are cut off."""
    duration = text.removeprefix(_EVERY)
    if fault := _duration_problem(duration):
        raise ScheduleFault(f"failed to parse duration {text}: {fault}")
    return 1 if duration.startswith("-") else max(1, _nanoseconds(duration) // _SECOND)


def _nanoseconds(duration: str) -> int:
    """Of a well-formed one, without its sign."""
    total = 0
    for number, fraction, unit in _DURATION_PART.findall(duration.lstrip("+-")):
        if unit:
            digits = fraction[1:19]
            total += int(number or 0) * _UNITS[unit] + int(digits or 0) * _UNITS[unit] // 10 ** len(digits)
    return total


def _duration_problem(text: str) -> str:
    """What Go's ``time.ParseDuration`` says of it, or ""."""
    rest, quoted = text[1:] if text[:1] in ("+", "-") else text, f'"{text}"'
    if rest == "0":
        return ""
    if not rest:
        return f"time: invalid duration {quoted}"
    for number, fraction, unit in _DURATION_PART.findall(rest):
        if not number and not fraction and not unit:
            continue
        if not number and fraction in ("", "."):
            return f"time: invalid duration {quoted}"
        if not unit:
            return f"time: missing unit in duration {quoted}"
        if unit not in _UNITS:
            return f'time: unknown unit "{unit}" in duration {quoted}'
        if len(number.lstrip("0")) > 19:
            return f"time: invalid duration {quoted}"
    return "" if _nanoseconds(text) <= _LONGEST_DURATION else f"time: invalid duration {quoted}"


def _number(text: str, words: dict[str, int]) -> int:
    if text.lower() in words:
        return words[text.lower()]
    if not _INTEGER.fullmatch(text):
        raise ScheduleFault(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise ScheduleFault(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)


def _part(part: str, low: int, high: int, words: dict[str, int]) -> tuple[range, bool]:
    """``a``, ``a-b``, ``*``, each optionally with ``/step``: the values, and whether it is a star without a step."""
    span, *steps = part.split("/")
    limits = span.split("-")
    every = limits[0] in ("*", "?")
    if every:
        start, end = low, high
    else:
        start = end = _number(limits[0], words)
        if len(limits) == 2:
            end = _number(limits[1], words)
        elif len(limits) > 2:
            raise ScheduleFault(f"too many hyphens: {part}")
    if len(steps) > 1:
        raise ScheduleFault(f"too many slashes: {part}")
    step = _number(steps[0], {}) if steps else 1
    if steps and len(limits) == 1:
        end = high
    if start < low:
        raise ScheduleFault(f"beginning of range ({start}) below minimum ({low}): {part}")
    if end > high:
        raise ScheduleFault(f"end of range ({end}) above maximum ({high}): {part}")
    if start > end:
        raise ScheduleFault(f"beginning of range ({start}) beyond end of range ({end}): {part}")
    if step == 0:
        raise ScheduleFault(f"step of range should be a positive number: {part}")
    return range(start, end + 1, step), every and step == 1
