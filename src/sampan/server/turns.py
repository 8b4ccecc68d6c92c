"""Work on thousands of entries that stays on the event loop, because they are the loop's: in turns that others get
between. What is worked on is a snapshot of immutable entries, so that it does not matter what happens meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar

from sampan.server.threads import aside
from sampan.store.protocol import EntryDamaged

T = TypeVar("T")

#: so much is copied in a turn: a millisecond or two
COPIED_BYTES: Final = 2 * 1024 * 1024
#: so much is decoded in a turn: five milliseconds
DECODED_BYTES: Final = 512 * 1024
#: what an entry costs besides its value
_ENTRY_BYTES = 1000
#: the interpreter lets others go on while it joins more than this in a thread
_LONG_BYTES = 1024 * 1024


async def turns(entries: Sequence[T], most_bytes: int) -> AsyncIterator[Sequence[T]]:
    """The entries in portions of about ``most_bytes``, each in a turn of its own."""
    start, size = 0, 0
    for at, entry in enumerate(entries):
        size += _ENTRY_BYTES + value_length(entry)
        if size >= most_bytes and at + 1 < len(entries):
            yield entries[start : at + 1]
            await asyncio.sleep(0)
            start, size = at + 1, 0
    if start < len(entries):
        yield entries[start:] if start else entries


def value_length(entry: object) -> int:
    """Bytes of the stored value; 0 where there is none, or it is damaged."""
    try:
        return len(getattr(entry, "value", None) or b"")
    except EntryDamaged:
        return 0


async def joined(parts: Sequence[bytes]) -> bytes:
    """The parts as one; where that takes long, while the loop goes on."""
    if sum(map(len, parts)) < _LONG_BYTES:
        return b"".join(parts)
    return await aside(b"".join, parts)
