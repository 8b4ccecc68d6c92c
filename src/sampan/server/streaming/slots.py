"""How many connections to backends may be open at once: for each user, for each backend, and in all.

A connection is refused at once when a bound is reached (429) and never waits, so that one user's hundreds of followed
logs cannot stop another's first. Every stream costs two sockets and the buffers on both sides of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from sampan.api.errors import TooManyRequests

MAX_PER_USER = 512
MAX_PER_BACKEND = 1024
MAX_IN_ALL = 4096


class Slots:
    """Invariant: every count is the number of ``release`` functions given out for it and not called yet."""

    def __init__(
        self, *, per_user: int = MAX_PER_USER, per_backend: int = MAX_PER_BACKEND, in_all: int = MAX_IN_ALL
    ) -> None:
        self._per_user, self._per_backend, self._in_all = per_user, per_backend, in_all
        self._users: Counter[str] = Counter()
        self._backends: Counter[str] = Counter()
        self.taken = 0

    def take(self, user: str, backend: str) -> Callable[[], None]:
        """Counts one connection in; call what is returned when it has ended (calling again is harmless).

        Raises TooManyRequests.
        """
        if self._users[user] >= self._per_user:
            raise _too_many(f"user {user} has", self._per_user)
        if self._backends[backend] >= self._per_backend:
            raise _too_many(f"{backend} has", self._per_backend)
        if self.taken >= self._in_all:
            raise _too_many("this server has", self._in_all)
        self._users[user] += 1
        self._backends[backend] += 1
        self.taken += 1
        released = False

        def release() -> None:
            nonlocal released
            if not released:
                released = True
                self.taken -= 1
                _count_out(self._users, user)
                _count_out(self._backends, backend)

        return release


def _count_out(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]  # else every user who ever came would stay


def _too_many(who: str, limit: int) -> TooManyRequests:
    return TooManyRequests(f"too many open connections: {who} {limit} already, end some first")
