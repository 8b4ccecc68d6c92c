"""Where a connection stands. Declarations."""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    IDLE = enum.auto()  # between requests; nothing of the next has come
    HEAD = enum.auto()  # a head has begun
    BUSY = enum.auto()  # a request is being answered
    DRAIN = enum.auto()  # answered; the rest of its body is read away
    LINGER = enum.auto()  # answered for the last time; what comes is dropped until the peer ends
    UPGRADED = enum.auto()  # handed over
    CLOSED = enum.auto()


# Members of an enumeration cost a look-up each time; the hot path compares with these.
IDLE, HEAD, BUSY, DRAIN, LINGER, UPGRADED, CLOSED = Phase
NEVER = float("inf")

__all__ = ["BUSY", "CLOSED", "DRAIN", "HEAD", "IDLE", "LINGER", "NEVER", "UPGRADED", "Phase"]
