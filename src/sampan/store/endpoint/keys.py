"""Keys as etcd has them (bytes, from one key up to another) on a store whose keys are text. Pure.

The order of code points is the order of UTF-8's bytes, so a range means the same in both.
"""

from __future__ import annotations

from itertools import takewhile

from sampan.records import dataclass

#: as the end of a range: everything from its start on
_NO_END = b"\0"


def successor(prefix: bytes) -> bytes:
    """The first key after all that start with ``prefix``; a zero byte: there is none."""
    cut = prefix.rstrip(b"\xff")
    return cut[:-1] + bytes([cut[-1] + 1]) if cut else _NO_END


def text(key: bytes) -> str | None:
    """None: no key of a store is named so."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


def _readable(prefix: bytes) -> str:
    """As much of it as is text."""
    try:
        return prefix.decode()
    except UnicodeDecodeError as error:
        return prefix[: error.start].decode()


@dataclass(frozen=True, slots=True)
class KeyRange:
    """``end`` None: the one key ``start``; b"": all from ``start`` on; else up to ``end``, without it."""

    start: bytes
    end: bytes | None

    @classmethod
    def of(cls, key: bytes, range_end: bytes) -> KeyRange:
        if not range_end:
            return cls(key, None)
        return cls(key, b"" if range_end == _NO_END else range_end)

    def __contains__(self, key: str) -> bool:
        data = key.encode()
        if self.end is None:
            return data == self.start
        return self.start <= data and (not self.end or data < self.end)

    @property
    def prefix(self) -> str:
        """What all keys of it start with."""
        if self.end is None or (self.is_prefix and self.start != _NO_END):
            return _readable(self.start)
        same = takewhile(lambda pair: pair[0] == pair[1], zip(self.start, self.end, strict=False))
        return _readable(bytes(byte for byte, _ in same))

    @property
    def is_prefix(self) -> bool:
        """Whether it is exactly the keys that start with ``prefix``, so that the store's own counts hold."""
        if self.start == _NO_END and self.end == b"":
            return True  # how everything is asked for
        return bool(self.end) and self.end == successor(self.start) and text(self.start) is not None
