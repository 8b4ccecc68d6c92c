"""Writes down the last day on which the token of a Secret was used (label ``legacy-token-last-used``), and counts.

``serviceaccount`` notes a use while it judges a token; a loop of the server writes the labels, each at most once a day,
so that nobody who asks waits for a write. Upstream: LegacyServiceAccountTokenTracking.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from sampan.api.clock import Clock
from sampan.api.errors import ApiError
from sampan.api.resources import SECRETS
from sampan.api.transport import Call, Transport
from sampan.api.types import Obj
from sampan.metrics.families import Family
from sampan.server.authn import legacy

log = logging.getLogger(__name__)

#: uses that wait to be written down; what comes while there are so many is noted when the token is judged again
MOST_WAITING: Final = 1000
_COUNTS: Final = {
    "legacy_auto_token_uses": "Cumulative auto-generated legacy tokens used",
    "legacy_manual_token_uses": "Cumulative manually created legacy tokens used",
    "invalid_legacy_auto_token_uses": "Cumulative invalid auto-generated legacy tokens used",
}


class TokenUses:
    """Invariant: ``_waiting`` holds at most ``MOST_WAITING``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[tuple[str, str], tuple[str, str]] = {}  # namespace and name: UID and day
        self._changed = asyncio.Event()
        self._counts = dict.fromkeys(_COUNTS, 0)

    def used(self, secret: Obj, count: str) -> None:
        """``count``: one of ``_COUNTS``."""
        self._counts[count] += 1
        day = legacy.day_of_use(secret, self._clock.now())
        if day is not None and len(self._waiting) < MOST_WAITING:
            meta = secret["metadata"]
            self._waiting[meta["namespace"], meta["name"]] = meta["uid"], day
            self._changed.set()

    async def run(self, writer: Transport) -> None:
        """Runs until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            waiting, self._waiting = self._waiting, {}
            for (namespace, name), (uid, day) in waiting.items():
                try:
                    await self._write(writer, namespace, name, uid, day)
                except ApiError as error:  # the next use is noted again
                    log.info("last use of the token in secret %s/%s: %s", namespace, name, error)

    @staticmethod
    async def _write(writer: Transport, namespace: str, name: str, uid: str, day: str) -> None:
        """Raises ApiError: somebody else's Secret has the name by now, too."""
        body = {"metadata": {"uid": uid, "labels": {legacy.LAST_USED: day}}}
        path = SECRETS.path(namespace, name)
        await writer.call(Call("PATCH", path, body=body, content_type="application/merge-patch+json"))

    def copy(self) -> Callable[[], Iterable[Family]]:
        counts = dict(self._counts)
        return lambda: [
            Family("counter", f"serviceaccount_{name}", _COUNTS[name], (), {(): counts[name]}) for name in _COUNTS
        ]
