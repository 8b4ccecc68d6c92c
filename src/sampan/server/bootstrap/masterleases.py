"""Which API servers of a cluster live: one entry in the store for each, which ends by itself when it is not renewed.

Upstream's lease reconciler (``--endpoint-reconciler-type=lease``), with its keys and its times, so the endpoints of the
``kubernetes`` Service lose a server that was killed once its entry has run out, and one that ends in order at once.
Only where several servers may share a store; asked by ``keep``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Final

import orjson

from sampan.store.protocol import Change, RevisionConflict, Store

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
        return sort_addresses(entry.key.removeprefix(PREFIX) for entry in found.entries)

    def on_change(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Calls ``changed`` when a server came or went; renewals are no news."""

        def look(change: Change) -> None:
            if change.entry is None or change.previous is None:
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
