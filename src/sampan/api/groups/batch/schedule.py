"""Is a text a cron schedule? The grammar of CronJobs (robfig/cron's standard parser), as messages, without a clock."""

from __future__ import annotations

import re

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
_DURATION = re.compile(r"([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h))+")


def problem(schedule: str) -> str:
    """What is wrong with it, or "" when nothing is."""
    text = schedule.strip()
    if not text:
        return "empty spec string"
    if text.startswith("@"):
        if text in _DESCRIPTORS:
            return ""
        if text.startswith("@every "):
            ok = _DURATION.fullmatch(text.removeprefix("@every "))
            return "" if ok else f"failed to parse duration {text}"
        return f"unrecognized descriptor: {text}"
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for field, (low, high, words) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if found := _part_problem(part, low, high, words):
                return found
    return ""


_DIGITS = re.compile(r"[0-9]{1,9}", re.ASCII)


def _number(text: str, words: dict[str, int]) -> int | None:
    if text.lower() in words:
        return words[text.lower()]
    return int(text) if _DIGITS.fullmatch(text) else None


def _part_problem(part: str, low: int, high: int, words: dict[str, int]) -> str:
    """``a``, ``a-b``, ``*``, each optionally with ``/step``."""
    span, slash, step = part.partition("/")
    if slash and not _number(step, {}):
        return f"step of range should be a positive number: {part}"
    if span in ("*", "?"):
        return ""
    first, dash, last = span.partition("-")
    start = _number(first, words)
    end = _number(last, words) if dash else start
    if start is None or end is None:
        return f"failed to parse int from {first if start is None else last}: invalid syntax"
    if start < low:
        return f"beginning of range ({start}) below minimum ({low}): {part}"
    if end > high:
        return f"end of range ({end}) above maximum ({high}): {part}"
    if start > end:
        return f"beginning of range ({start}) beyond end of range ({end}): {part}"
    return ""
