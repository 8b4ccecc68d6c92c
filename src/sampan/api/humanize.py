"""Durations as people read them in tables (apimachinery ``util/duration``): ``5s``, ``2m3s``, ``3h5m``, ``2d4h``."""

from __future__ import annotations

from datetime import datetime, timedelta

from sampan.api.clock import parse_time

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def human_duration(duration: timedelta | float) -> str:
    """Two units where that helps, else one; seconds are truncated. Slightly negative is ``0s`` (clocks differ)."""
    total = duration.total_seconds() if isinstance(duration, timedelta) else duration
    seconds = int(total)
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    minutes = seconds // _MINUTE
    if minutes < 10:
        return _two(minutes, "m", seconds % _MINUTE, "s")
    if minutes < 3 * 60:
        return f"{minutes}m"
    hours = seconds // _HOUR
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = seconds // _DAY
    if hours < 24 * 8:
        return _two(days, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{days}d"
    if hours < 24 * 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def short_human_duration(seconds: float) -> str:
    """One unit (apimachinery ``ShortHumanDuration``), as kubeadm shows what is left of a life."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < _DAY:
        return f"{whole // _HOUR}h"
    if whole < 365 * _DAY:
        return f"{whole // _DAY}d"
    return f"{whole // (365 * _DAY)}y"


def since(timestamp: str | None, now: datetime) -> str:
    """The age of a moment as the API writes it, ``<unknown>`` when there is none."""
    if not timestamp:
        return "<unknown>"
    return human_duration(now - parse_time(timestamp))


def until(timestamp: str | None, now: datetime) -> str:
    if not timestamp:
        return "<unknown>"
    return human_duration(parse_time(timestamp) - now)


def go_duration(seconds: float) -> str:
    """As Go prints a duration of milliseconds and more (``time.Duration.String``): ``15.063s``, ``1m0s``, ``250ms``."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    whole, rest = divmod(milliseconds, 1000)
    minutes, left = divmod(whole, _MINUTE)
    text = f"{left}.{rest:03}".rstrip("0").rstrip(".") if rest else str(left)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{text}s"
    return f"{minutes}m{text}s" if minutes else f"{text}s"
