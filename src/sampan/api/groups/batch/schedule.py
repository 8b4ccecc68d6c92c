"""Is a text a cron schedule? The grammar of CronJobs (robfig/cron's standard parser), as messages, without a clock."""

from __future__ import annotations

import re
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
_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_ZONES: Final = ("TZ=", "CRON_TZ=")
_EVERY: Final = "@every "

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
#: a number of a duration, and what follows it up to the next
_DURATION_PART = re.compile(r"([0-9]*)(\.[0-9]*)?([^0-9.]*)", re.ASCII)
_UNITS: Final = ("ns", "us", "µs", "μs", "ms", "s", "m", "h")


class _Fault(ValueError):
    """What is wrong, in the parser's words."""


def problem(schedule: str) -> str:
    """What is wrong with it, or "" when nothing is."""
    try:
        _check(schedule)
    except _Fault as fault:
        return str(fault)
    return ""


def _check(text: str) -> None:
    if not text:
        raise _Fault("empty spec string")
    if text.startswith(_ZONES):
        text = _without_zone(text)
    if text.startswith("@"):
        _check_descriptor(text)
        return
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise _Fault(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    for field, (low, high, words) in zip(fields, _FIELDS, strict=True):
        for part in filter(None, field.split(",")):
            _check_part(part, low, high, words)


def _without_zone(text: str) -> str:
    zone, space, rest = text.partition("=")[2].partition(" ")
    if not space:
        raise _Fault("invalid schedule format: runtime error: slice bounds out of range [:-1]")
    try:
        if zone not in ("", "UTC", "Local"):
            ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _Fault(f"provided bad location {zone}: unknown time zone {zone}") from None
    return rest.strip()


def _check_descriptor(text: str) -> None:
    if text in _DESCRIPTORS:
        return
    if not text.startswith(_EVERY):
        raise _Fault(f"unrecognized descriptor: {text}")
    if fault := _duration_problem(text.removeprefix(_EVERY)):
        raise _Fault(f"failed to parse duration {text}: {fault}")


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
    return ""


def _number(text: str, words: dict[str, int]) -> int:
    if text.lower() in words:
        return words[text.lower()]
    if not _INTEGER.fullmatch(text):
        raise _Fault(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise _Fault(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)


def _check_part(part: str, low: int, high: int, words: dict[str, int]) -> None:
    """``a``, ``a-b``, ``*``, each optionally with ``/step``."""
    span, *steps = part.split("/")
    limits = span.split("-")
    if limits[0] in ("*", "?"):
        start, end = low, high
    else:
        start = end = _number(limits[0], words)
        if len(limits) == 2:
            end = _number(limits[1], words)
        elif len(limits) > 2:
            raise _Fault(f"too many hyphens: {part}")
    if len(steps) > 1:
        raise _Fault(f"too many slashes: {part}")
    step = _number(steps[0], {}) if steps else 1
    if steps and len(limits) == 1:
        end = high
    if start < low:
        raise _Fault(f"beginning of range ({start}) below minimum ({low}): {part}")
    if end > high:
        raise _Fault(f"end of range ({end}) above maximum ({high}): {part}")
    if start > end:
        raise _Fault(f"beginning of range ({start}) beyond end of range ({end}): {part}")
    if step == 0:
        raise _Fault(f"step of range should be a positive number: {part}")
