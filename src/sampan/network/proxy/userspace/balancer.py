"""Whose turn it is: round robin, and the same endpoint again for a client that is known. Pure; time is given."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.network.proxy.model import Endpoint

#: Clients that are remembered, of one Service's port.
_CLIENTS = 10_000


class Balancer:
    """``affinity_seconds`` 0: clients are not remembered."""

    def __init__(self) -> None:
        self.endpoints: tuple[Endpoint, ...] = ()
        self.affinity_seconds = 0
        self._turn = 0
        self._known: dict[str, tuple[Endpoint, float]] = {}

    def set(self, endpoints: Sequence[Endpoint], affinity_seconds: int) -> None:
        self.endpoints = tuple(endpoints)
        self.affinity_seconds = affinity_seconds
        if not affinity_seconds:
            self._known.clear()

    def order(self, client: str, now: float) -> list[Endpoint]:
        """Every endpoint, the one to try first first."""
        count = len(self.endpoints)
        self._turn += 1
        turned = [self.endpoints[(self._turn + index) % count] for index in range(count)]
        endpoint, until = self._known.get(client, (None, 0.0))
        if endpoint in turned and now < until:
            turned.remove(endpoint)
            turned.insert(0, endpoint)
        return turned

    def chosen(self, client: str, endpoint: Endpoint, now: float) -> None:
        """The client has been given to this endpoint."""
        if not self.affinity_seconds:
            return
        self._known.pop(client, None)  # the oldest come first
        self._known[client] = endpoint, now + self.affinity_seconds
        if len(self._known) > _CLIENTS:
            del self._known[next(iter(self._known))]
