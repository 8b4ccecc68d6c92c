"""The bytes of whole lists, kept until something in them changes.

Clients list the same things again and again: every controller at its start, every dashboard each few seconds. A list's
items are joined once for each question and format, and after a change below its prefix only the portion in which
something changed is made anew; as long as not even the revision has changed, the whole answer is the one that was given
last. What takes longer than a few milliseconds is done in turns, or in a thread. How a list is made of its items is in
``listforms``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from sampan.server.listforms import JSON, ListFormat, portions
from sampan.server.portions import Portion
from sampan.server.results import Page
from sampan.server.storage import View
from sampan.server.turns import joined

#: of all lists that are kept; the ones asked for longest ago go first
LIMIT_BYTES: Final = 48 * 1024 * 1024
#: a list that fills more of the memo than this would only push out the others
LIMIT_ONE_BYTES: Final = 16 * 1024 * 1024
#: what a list costs besides its bytes and its question
_OVERHEAD_BYTES = 1024
#: what a parsed question takes for each character of it
_QUESTION_FACTOR = 32
#: so much is copied at once
_COPIED_AT_ONCE = 256 * 1024


class _Kept:
    """``portions``: the items as the format has them. ``body``: the last answer made of them, under this ``head``."""

    __slots__ = ("body", "head", "items_bytes", "pieces", "portions", "question_bytes", "used", "version")

    def __init__(self, version: int, portions: Sequence[Portion], question_bytes: int) -> None:
        self.version, self.portions, self.question_bytes = version, portions, question_bytes
        self.pieces = [portion.piece for portion in portions]
        self.items_bytes = sum(portion.cost for portion in portions)
        self.head = self.body = b""
        self.used = True

    @property
    def cost(self) -> int:
        return self.items_bytes + len(self.body) + self.question_bytes + _OVERHEAD_BYTES


class ListMemo:
    """Invariant: ``_bytes`` is the cost of all that is kept, and at most ``limit_bytes``."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES, limit_one_bytes: int = LIMIT_ONE_BYTES) -> None:
        self._limit, self._limit_one = limit_bytes, limit_one_bytes
        self._kept: OrderedDict[tuple[object, ...], _Kept] = OrderedDict()
        self._bytes = 0

    @property
    def kept_bytes(self) -> int:
        return self._bytes

    async def body(self, view: View, page: Page, warn: Callable[[str], None], form: ListFormat = JSON) -> bytes:
        """The bytes of a page (in JSON of a spliced view only). ``warn`` is told of entries that cannot be read.

        Raises what the form does."""
        body = self.body_now(view, page, form)
        if body is not None:
            return body
        head = form.head(view, page)
        kept = self._find(view, page, form)
        if kept is None:
            warned: list[str] = []
            found = await portions(form, view, await page.entries(), self._before(view, page, form), warned.append)
            for text in warned:
                warn(text)
            if warned or page.question is None or sum(len(portion.piece) for portion in found) > self._limit_one:
                return await joined(form.parts(view, page, [each.piece for each in found if each.piece]))
            kept = _Kept(page.version, found, _question_bytes(page.question))
        body = await joined(form.parts(view, page, kept.pieces))
        self._keep(view, page, form, kept, head, body)
        return body

    def body_now(self, view: View, page: Page, form: ListFormat = JSON) -> bytes | None:
        """The same, if it is at hand."""
        kept = self._find(view, page, form)
        if kept is None:
            return None
        head = form.head(view, page)
        if kept.head != head:
            if kept.items_bytes > _COPIED_AT_ONCE:
                return None
            self._keep(view, page, form, kept, head, b"".join(form.parts(view, page, kept.pieces)))
        return kept.body

    def _before(self, view: View, page: Page, form: ListFormat) -> Sequence[Portion]:
        """What was made of the same list when something in it was another."""
        question = _question(view, page, form)
        kept = self._kept.get(question) if question is not None else None
        return kept.portions if kept is not None else ()

    def _find(self, view: View, page: Page, form: ListFormat) -> _Kept | None:
        question = _question(view, page, form)
        if question is None:
            return None
        kept = self._kept.get(question)
        if kept is None or kept.version != page.version:
            return None
        self._kept.move_to_end(question)
        kept.used = True
        return kept

    def _keep(self, view: View, page: Page, form: ListFormat, kept: _Kept, head: bytes, body: bytes) -> None:
        question = _question(view, page, form)
        if question is None:
            return
        before = self._kept.get(question)
        if before is not None:
            if before.version > kept.version:
                return  # somebody who asked later was answered sooner
            del self._kept[question]
            self._bytes -= before.cost
        kept.head, kept.body = head, body
        self._kept[question] = kept
        self._bytes += kept.cost
        while self._bytes > self._limit:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= gone.cost

    def forget_unused(self) -> None:
        """Lets go of what nobody has asked for since the last time; lists that are out of date are among it."""
        for question, kept in [*self._kept.items()]:
            if not kept.used:
                del self._kept[question]
                self._bytes -= kept.cost
            kept.used = False


def _question(view: View, page: Page, form: ListFormat) -> tuple[object, ...] | None:
    return None if page.question is None else (form.name, view.kind.group, *page.question)


def _question_bytes(question: tuple[object, ...]) -> int:
    return _QUESTION_FACTOR * sum(len(str(part)) for part in question)
