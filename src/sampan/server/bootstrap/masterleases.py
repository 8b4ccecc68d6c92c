"""Which API servers of a cluster live: one entry in the store for each, which ends by itself when it is not renewed.

Upstream's lease reconciler (``--endpoint-reconciler-type=lease``), with its keys and its times, so the endpoints of the
``kubernetes`` Service lose a server that was killed once its entry has run out, and one that ends in order at once.
Whether it has is judged as in an election: by who looks, on its own clock, from when it saw the last renewal; so
neither clocks that differ nor a store that deletes late keep a dead server in. Only where several servers may share a
store; asked by ``keep``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Final

import orjson

from sampan.store.protocol import Change, Entry, RevisionConflict, Store

PREFIX: Final = "/registry/masterleases/"
#: upstream's ``DefaultEndpointReconcilerTTL``; an entry is renewed every ten seconds
TTL_SECONDS: Final = 15.0


class MasterLeases:
    """``address``: this server's own, under which others are told of it; "": nobody but its own machine reaches it.

    Invariant: once ``left``, this server writes no entry any more."""

    def __init__(self, store: Store, address: str) -> None:
        self._store, self._address = store, address
        self._writing = asyncio.Lock()
        self._renewals = 0
        self._left = False
        #: of each entry the revision of its last renewal, and when this server saw it
        self._seen: dict[str, tuple[int, float]] = {}

    async def renew(self) -> None:
        """Raises StoreUnavailable."""
        async with self._writing:
            if self._left or not self._address:
                return
            self._renewals += 1
            await self._store.commit(self._key(), None, self._value(), ttl_seconds=TTL_SECONDS)

    async def leave(self) -> None:
        """This server ends: others need not wait for it. Raises StoreUnavailable."""
        async with self._writing:
            self._left = True
            if self._address:
                try:
                    await self._store.commit(self._key(), None, None)
                except RevisionConflict:
                    return  # it has run out

    async def living(self) -> tuple[str, ...]:
        """The addresses of all that live, in order. Raises StoreUnavailable."""
        found = await self._store.range(PREFIX)
        for gone in self._seen.keys() - {entry.key for entry in found.entries}:
            del self._seen[gone]
        for entry in found.entries:
            self._note(entry)
        now = asyncio.get_running_loop().time()
        lasting = (key for key, (_, seen) in self._seen.items() if now - seen < TTL_SECONDS or key == self._key())
        return sort_addresses(key.removeprefix(PREFIX) for key in lasting)

    def next_end(self) -> float:
        """When the next of the others runs out, on the loop's clock, unless it is renewed; those that have are past."""
        now = asyncio.get_running_loop().time()
        ends = (seen + TTL_SECONDS for key, (_, seen) in self._seen.items() if key != self._key())
        return min((end for end in ends if end > now), default=math.inf)

    def _note(self, entry: Entry) -> None:
        revision, _ = self._seen.get(entry.key, (0, 0.0))
        if entry.revision > revision:
            self._seen[entry.key] = entry.revision, asyncio.get_running_loop().time()

    def on_change(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Calls ``changed`` when a server came or went; renewals are no news."""

        def look(change: Change) -> None:
            known = self._seen.get(change.key)
            again = known is not None and asyncio.get_running_loop().time() - known[1] >= TTL_SECONDS
            if change.entry is not None:
                self._note(change.entry)
            if change.entry is None or change.previous is None or again:
                changed()

        return self._store.add_listener(PREFIX, look)

    def _key(self) -> str:
        return PREFIX + self._address

    def _value(self) -> bytes:
        """What upstream keeps there: Endpoints whose generation grows with each renewal."""
        return orjson.dumps(
            {
                "kind": "Endpoints",
                "apiVersion": "v1",
                "metadata": {"generation": self._renewals},
                "subsets": [{"addresses": [{"ip": self._address}]}],
            }
        )


def sort_addresses(found: Iterable[str]) -> tuple[str, ...]:
    """Those that are addresses, each once: as numbers, the first family first."""
    parsed = {}
    for text in found:
        try:
            parsed[text] = ip_address(text)
        except ValueError:
            continue  # nothing that a server of ours or upstream's writes
    return tuple(sorted(parsed, key=lambda text: (parsed[text].version, int(parsed[text]))))
