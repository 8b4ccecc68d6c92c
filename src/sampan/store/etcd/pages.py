"""How many entries of a range to ask for at once, of which nobody knows how large they are. Pure."""

from __future__ import annotations

from typing import Final

FIRST_PAGE: Final = 512
_PAGE_BYTES: Final = 4 << 20
_MOST: Final = 10_000


def next_page(page: int, size_bytes: int) -> int:
    """How many entries to ask for next, so that an answer is about ``_PAGE_BYTES``."""
    return max(16, min(_MOST, page * _PAGE_BYTES // max(size_bytes, 1), page * 4))
