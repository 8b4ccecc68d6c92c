"""Where a store's entries and its own notes stand among etcd's keys. Pure.

With the prefix ``/registry``::

    /registry-clients/<identity>/<n>   what ``transactions`` tells a repeated write by
    /registry-sampan/bump              written by who wants to see its own event
    /registry-sampan/ends/<key>        when an entry with a time to live ends: ``<milliseconds> <identity>``
    /registry-sampan/moving            of a store that is being moved here (``store.archive.etcdside``)
    /registry-sampan/offset            what the store's revisions are above etcd's, where they are (``numbering``)
    /registry-sampan/time              the moment of a revision, at most once a second
    /registry-sampan/other/...         entries whose keys do not begin with what the prefix stands for; they have no end
    /registry/...                      the entries

The names are chosen so that one range holds all that a follower needs, and not the first.
"""

from __future__ import annotations

from typing import Final


class Layout:
    __slots__ = (
        "_entries",
        "_lead",
        "_other",
        "_root",
        "_strip",
        "bump",
        "clients",
        "ends",
        "follow",
        "follow_end",
        "moving",
        "offset",
        "others",
        "time",
    )

    def __init__(self, prefix: str, strip: str = "") -> None:
        self._root = prefix
        self._strip: Final = strip
        self._lead = len(strip)
        self._entries = prefix.encode() + b"/"
        own = prefix.encode() + b"-sampan/"
        self.bump = own + b"bump"
        self.time = own + b"time"
        self.moving = own + b"moving"
        self.offset = own + b"offset"
        self._other = own + b"other"
        #: the range of entries whose keys do not begin with what the prefix stands for
        self.others = (self._other, prefix_end(self._other))
        self.ends = own + b"ends"
        self.clients = prefix.encode() + b"-clients/"
        #: the range that a follower watches
        self.follow, self.follow_end = own, prefix_end(self._entries)

    def of(self, key: str) -> bytes:
        """Where the store's key stands."""
        if not key.startswith(self._strip):
            return self._other + key.encode()
        return (self._root + key[self._lead :]).encode()

    def range_of(self, prefix: str, after: str | None = None) -> tuple[bytes, bytes]:
        """The range of a prefix of the store's keys, of what sorts after ``after``."""
        if not prefix.startswith(self._strip) and not self._strip.startswith(prefix):
            start, end = self._other + prefix.encode(), prefix_end(self._other + prefix.encode())
            return (start if after is None else max(start, self.of(after) + b"\x00")), end
        start = self._root.encode() + prefix[self._lead :].encode()
        end = prefix_end(start) if len(prefix) > self._lead else self.follow_end
        start = max(start, self._entries) if len(prefix) <= self._lead else start
        if after is not None:
            start = max(start, self.of(after) + b"\x00")
        return start, end

    def key(self, where: bytes) -> str | None:
        """The store's key that stands there; None: something else does."""
        if where.startswith(self._other + b"/"):
            try:
                return where[len(self._other) :].decode()
            except UnicodeDecodeError:
                return None
        if not where.startswith(self._entries):
            return None
        return self._text(where[len(self._entries) - 1 :])

    def end_of(self, key: str) -> bytes:
        """Where it stands when the entry ends."""
        if not key.startswith(self._strip):
            return self._other + b"-ends" + key.encode()
        return self.ends + key[self._lead :].encode()

    def ended(self, where: bytes) -> str | None:
        """The key whose end stands there; None: something else does."""
        if not where.startswith(self.ends + b"/"):
            return None
        return self._text(where[len(self.ends) :])

    def _text(self, rest: bytes) -> str | None:
        try:
            return self._strip + rest.decode()
        except UnicodeDecodeError:  # whoever wrote that, it was no store of ours
            return None


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all that begin with ``prefix``."""
    for at in range(len(prefix) - 1, -1, -1):
        if prefix[at] < 0xFF:
            return prefix[:at] + bytes([prefix[at] + 1])
    return b"\x00"  # etcd's word for: to the end
