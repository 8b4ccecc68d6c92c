"""How old a resourceVersion may be for exact reads and continue tokens: five to ten minutes, as upstream's.

The store may keep history for much longer, for time travel. But a client that pages must be told to list again as
early here as anywhere else, or it is never seen to forget. ``tick`` runs every five minutes, as upstream's compaction.
"""

from __future__ import annotations

from typing import Final

#: upstream's ``--etcd-compaction-interval``
INTERVAL_SECONDS: Final = 300.0


class Horizon:
    """Invariant: ``oldest`` was the store's revision at the tick before the last one; 0 until there were two."""

    __slots__ = ("_newest", "oldest")

    def __init__(self) -> None:
        self.oldest = 0
        self._newest = 0

    def tick(self, revision: int) -> None:
        """``revision``: the store's, now."""
        self.oldest, self._newest = self._newest, revision
