"""How much history etcd keeps for us: what is older than a time goes, and more while its database is too big.

Every server of a cluster looks; they come to the same revision, and whoever is second finds nothing left to do.
"""

from __future__ import annotations

from typing import Final

from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Retention:
    """``size_bytes``: of what is in use of etcd's database. Its quota is 2 GiB unless it was started with another."""

    seconds: float = 24 * 3600
    size_bytes: int = 1 << 30
    check_every_seconds: float = 300


#: of the history, so much goes when the database is too big
_PART: Final = 8


def plan_compaction(oldest: int, current: int, by_time: int | None, used_bytes: int, retention: Retention) -> int:
    """The revision to compact to; 0: none. ``by_time``: the newest one that is old enough to go, None: none is."""
    floor = by_time or 0
    if used_bytes > retention.size_bytes:
        floor = max(floor, oldest + (current - oldest + _PART - 1) // _PART)
    return floor if floor > oldest else 0
