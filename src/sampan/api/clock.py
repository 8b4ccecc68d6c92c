"""Time and randomness as arguments, so that tests, what-if and fault simulation can supply their own.

``SystemClock`` and ``SystemRandom`` are the only places that read the wall clock and the machine's entropy.
Durations and deadlines do not belong here: they run on the event loop's clock.
"""

from __future__ import annotations

import os
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


#: Random bytes read ahead, in pieces of ``_PIECE``. Each is taken by one caller only, and by none after a fork.
_pieces: list[bytes] = []
_PIECE = 16
_READ_AHEAD = 64
os.register_at_fork(after_in_child=_pieces.clear)


class SystemRandom(random.SystemRandom):
    """The machine's entropy, read ahead: a read lets other threads run, which costs a busy server far more than the
    bits themselves."""

    def getrandbits(self, bits: int, /) -> int:
        if not 0 < bits <= 8 * _PIECE:
            return super().getrandbits(bits)
        try:
            piece = _pieces.pop()
        except IndexError:
            data = os.urandom(_PIECE * (_READ_AHEAD + 1))
            piece = data[:_PIECE]
            _pieces.extend(data[at : at + _PIECE] for at in range(_PIECE, len(data), _PIECE))
        return int.from_bytes(piece) >> (8 * _PIECE - bits)

    def random(self) -> float:
        return self.getrandbits(53) * 2.0**-53


#: the bits of a UUID that say which kind it is
_UUID_MASK = ~(0xF << 76) & ~(0x3 << 62)
_UUID_VERSION = 4 << 76 | 2 << 62


def random_uuid(random: Random) -> str:
    """The text of a random UUID (RFC 9562, version 4)."""
    bits = random.getrandbits(128)
    digits = "%032x" % (bits & _UUID_MASK | _UUID_VERSION)
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


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
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="seconds")[:19] + "Z"


def format_micro_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, the form of ``metav1.MicroTime`` (Leases, Events)."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def parse_time(text: str) -> datetime:
    """A moment from RFC 3339, with or without a fraction. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f'time "{text}" has no zone')
    return moment


def parse_day(text: str) -> datetime:
    """The beginning of a day in UTC, from ``2006-01-02`` and nothing else. Raises ValueError. (``strptime`` would read
    it too, with half a MiB of tables.)"""
    given = text.split("-")
    if [len(each) for each in given] != [4, 2, 2] or not text.isascii() or not all(map(str.isdigit, given)):
        raise ValueError(f'"{text}" is no day')
    year, month, day = map(int, given)
    return datetime(year, month, day, tzinfo=UTC)
