"""The API servers of a cluster as one client sees them: which to ask first, and which were not there lately. Pure.

Shared by the HTTP transports of a process, on one event loop. Each client prefers one server, not all the same one, and
comes back to it: a server that was not there is tried again after a pause that grows, by a request that goes to the
next one if it still is not. Time is an argument, in seconds of any clock that only goes forward.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

#: before a server that was not there is asked first again: twice as long after each failure
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 30.0
#: more than any cluster has; a list is somebody else's word
MOST = 32


class Servers:
    """Base URLs without a slash at the end. Invariant: there is at least one, the ``near`` one among them if any."""

    def __init__(self, urls: Iterable[str], *, near: str = "", place: str = "") -> None:
        """``near`` is always there, and asked first. ``place``: whose list it is (a node's name); it decides the order
        of the others, so that many clients spread. "": as they are given."""
        self._near, self._place = near, place
        self._urls: tuple[str, ...] = ()
        #: of those that were not there: until when, and the pause after the next failure
        self._away: dict[str, tuple[float, float]] = {}
        if not self.update(urls):
            raise ValueError("there is no API server to ask")

    def __len__(self) -> int:
        return len(self._urls)

    @property
    def urls(self) -> tuple[str, ...]:
        """The preferred one first."""
        return self._urls

    def update(self, urls: Iterable[str]) -> bool:
        """From now on it is these; without any, all stays as it is. Whether something changed."""
        found = dict.fromkeys(url.rstrip("/") for url in urls if url)
        if not found and self._urls:
            return False
        if self._near:
            found.pop(self._near, None)
        ordered = sorted(found, key=self._rank) if self._place else list(found)
        chosen = tuple(([self._near] if self._near else []) + ordered)[:MOST]
        if chosen == self._urls or not chosen:
            return False
        self._urls = chosen
        self._away = {url: away for url, away in self._away.items() if url in chosen}
        return True

    def order(self, now: float) -> tuple[str, ...]:
        """All, in the order in which they are to be asked: those that were not there lately come last."""
        if not self._away:
            return self._urls
        return tuple(sorted(self._urls, key=lambda url: self._until(url, now)))

    def failed(self, url: str, now: float) -> None:
        """It was not there. What fails at the same time is one failure."""
        until, pause = self._away.get(url, (0.0, FIRST_PAUSE_SECONDS))
        if url in self._urls and until <= now:
            self._away[url] = now + pause, min(2 * pause, LONGEST_PAUSE_SECONDS)

    def answered(self, url: str) -> None:
        if self._away:
            self._away.pop(url, None)

    def _until(self, url: str, now: float) -> float:
        until = self._away.get(url, (0.0, 0.0))[0]
        return until if until > now else 0.0

    def _rank(self, url: str) -> bytes:
        """By rendezvous hashing: who goes leaves the order of the others as it is."""
        return hashlib.sha256(f"{self._place} {url}".encode()).digest()
