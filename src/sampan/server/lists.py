"""The bytes of whole lists, kept until something in them changes.

Clients list the same things again and again: every controller at its start, every dashboard each few seconds. A list's
items are joined once for each question and form, and joined anew only after a change below its prefix.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from sampan.server.results import Page
from sampan.server.storage import Versioned, View
from sampan.store.protocol import EntryDamaged

#: of all lists that are kept; the ones asked for longest ago go first
LIMIT_BYTES: Final = 48 * 1024 * 1024
#: a list that fills more of the memo than this would only push out the others
LIMIT_ONE_BYTES: Final = 16 * 1024 * 1024
#: what a list costs besides its bytes: the question, and its place
_OVERHEAD_BYTES = 1024


class ListMemo:
    """Invariant: ``_bytes`` is the cost of all that is kept, and at most ``limit_bytes``."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[tuple[object, ...], tuple[int, bytes]] = OrderedDict()
        self._bytes = 0

    @property
    def kept_bytes(self) -> int:
        return self._bytes

    def items(self, view: View, page: Page, warn: Callable[[str], None]) -> bytes:
        """The items of a spliced view's page, joined by commas. ``warn`` is told of entries that cannot be read."""
        if page.question is None:
            return _join(view, page.entries(), warn)
        kept = self.kept(view, page)
        if kept is not None:
            return kept
        question = (view.kind.group, *page.question)
        warned: list[str] = []
        joined = _join(view, page.entries(), warned.append)
        for text in warned:
            warn(text)
        if not warned:
            self._keep(question, page.version, joined)
        return joined

    def kept(self, view: View, page: Page) -> bytes | None:
        """The same, if it is at hand."""
        if page.question is None:
            return None
        question = (view.kind.group, *page.question)
        kept = self._kept.get(question)
        if kept is None or kept[0] != page.version:
            return None
        self._kept.move_to_end(question)
        return kept[1]

    def _keep(self, question: tuple[object, ...], version: int, joined: bytes) -> None:
        before = self._kept.pop(question, None)
        if before is not None:
            self._bytes -= _cost(before[1])
        if len(joined) > LIMIT_ONE_BYTES:
            return
        self._kept[question] = (version, joined)
        self._bytes += _cost(joined)
        while self._bytes > self._limit:
            _, (_, gone) = self._kept.popitem(last=False)
            self._bytes -= _cost(gone)

    def clear(self) -> None:
        self._kept.clear()
        self._bytes = 0


def _cost(joined: bytes) -> int:
    return len(joined) + _OVERHEAD_BYTES


def _join(view: View, entries: Sequence[Versioned], warn: Callable[[str], None]) -> bytes:
    item = view.item
    try:
        return b",".join([item(entry.value, entry.revision) for entry in entries])  # type: ignore[arg-type]  # not of a dry run
    except EntryDamaged:
        found = []
        for entry in entries:
            try:
                found.append(item(entry.value or b"", entry.revision))
            except EntryDamaged as error:
                warn(f"left out, for its stored value is damaged: {error.key.removeprefix('/registry/')}")
        return b",".join(found)
