"""Time and randomness as arguments, so that tests, what-if and fault simulation can supply their own.

``SystemClock`` and ``SystemRandom`` are the only places that read the wall clock and the machine's entropy.
Durations and deadlines do not belong here: they run on the event loop's clock.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    def now(self) -> datetime:
        """The present moment, timezone-aware, in UTC."""
        ...


class Random(Protocol):
    """The part of ``random.Random`` that is used; a seeded ``random.Random`` satisfies it."""

    def random(self) -> float: ...
    def randrange(self, stop: int, /) -> int: ...
    def choice(self, seq: Sequence[T], /) -> T: ...
    def getrandbits(self, bits: int, /) -> int: ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


SystemRandom = random.SystemRandom


class FixedClock:
    """A clock that moves only when told to: for tests and virtual time."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def set(self, now: datetime) -> None:
        self._now = now


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, the form of ``metav1.Time``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, the form of ``metav1.MicroTime`` (Leases, Events)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """A moment from RFC 3339, with or without a fraction. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no zone")
    return moment
