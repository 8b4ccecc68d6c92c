"""How much of something may be under way: in all, and for one client, so that none takes the share of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable


class Gate:
    """Invariant: ``used`` is the sum of what the clients have entered and not left."""

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._entered: Counter[Hashable] = Counter()
        self.used = 0

    @property
    def full(self) -> bool:
        return self.used >= self._total

    def has_share(self, client: Hashable) -> bool:
        """Whether the client has as much under way as one may have."""
        return self._entered.get(client, 0) >= self._each

    def enter(self, client: Hashable) -> bool:
        """Whether there was room. Who entered must ``leave``."""
        if self.full or self._entered[client] >= self._each:
            if not self._entered[client]:
                del self._entered[client]
            return False
        self._entered[client] += 1
        self.used += 1
        return True

    def leave(self, client: Hashable) -> None:
        self.used -= 1
        self._entered[client] -= 1
        if not self._entered[client]:
            del self._entered[client]
