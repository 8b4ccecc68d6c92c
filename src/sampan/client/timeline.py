"""Time for loops: what time it is, how long something took, and when to go on, all by one clock.

Used by every component that reckons with durations. ``Clock`` alone tells the time of day, for API fields; whoever
compares moments, sleeps or sets a timer takes a ``Timeline``. Durations are the event loop's: ``asyncio.sleep``,
``asyncio.timeout`` and ``call_later`` run on it wherever they are used. So a loop whose time is virtual
(``sampan.testing.virtual``) moves everything, and ``VirtualTimeline`` moves the time of day with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from sampan.api.clock import Clock, SystemClock


class Timeline:
    """A ``Clock`` too. ``monotonic``, ``sleep`` and ``call_at`` are for the running loop."""

    def __init__(self, clock: Clock | None = None) -> None:
        """``clock`` tells the time of day; None: the machine's."""
        self._clock = clock or SystemClock()

    @classmethod
    def of(cls, clock: Clock) -> Timeline:
        """``clock`` itself when it is a timeline already."""
        return clock if isinstance(clock, Timeline) else Timeline(clock)

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return self._clock.now()

    def monotonic(self) -> float:
        """Seconds since some moment: for differences, and for ``call_at``."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Until the event is set, but no longer than so many seconds; whether it is."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True

    def call_at(self, moment: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """``moment`` as of ``monotonic``."""
        return asyncio.get_running_loop().call_at(moment, callback)


class VirtualTimeline(Timeline):
    """The time of day follows the loop's time from ``start``: on a virtual loop nothing reads the machine's clock."""

    def __init__(self, start: datetime) -> None:
        super().__init__()
        self._start = start
        self._last = start

    def now(self) -> datetime:
        """After the loop has ended: the last moment that was asked for."""
        try:
            seconds = asyncio.get_running_loop().time()
        except RuntimeError:
            return self._last
        self._last = self._start + timedelta(seconds=seconds)
        return self._last
