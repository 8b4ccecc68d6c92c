"""Long lists, a part at a time: between two parts the event loop has its turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

#: what takes some microseconds each comes to a few milliseconds
AT_A_TIME: Final = 250


async def parts_of(items: Sequence[T], size: int = AT_A_TIME) -> AsyncIterator[Sequence[T]]:
    """All of them, in order."""
    for start in range(0, len(items), size):
        if start:
            await asyncio.sleep(0)
        yield items[start : start + size]
