"""What a program of the machine reads at its standard input."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stdin(text: str) -> Iterator[int]:
    """A file in memory, for the time in which the program is started. A pipe breaks when the program ends before it has
    read, as those do that only list: asyncio overlooks that, uvloop raises RuntimeError."""
    if not text:
        yield asyncio.subprocess.DEVNULL
        return
    with os.fdopen(os.memfd_create("input"), "w+b") as file:
        file.write(text.encode())
        file.seek(0)
        yield file.fileno()
