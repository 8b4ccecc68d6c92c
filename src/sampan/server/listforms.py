"""How the bytes of a list are made: of its items, which are the same for every answer, and of what differs.

``lists`` keeps them. The items are made in portions (``portions``), and of a list that was made before only those in
which something changed: of JSON, which is spliced, in turns of the loop; of protobuf, which is encoded, in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import orjson

from sampan.api import errors, protobuf
from sampan.server.portions import Portion, parts
from sampan.server.results import Page
from sampan.server.storage import Versioned, View
from sampan.server.threads import paced
from sampan.server.turns import COPIED_BYTES, value_length
from sampan.store.protocol import EntryDamaged

Warn = Callable[[str], None]
_TAIL: Final = b"]}\n"
#: items of more stored bytes are encoded in a thread
_ENCODED_AT_ONCE: Final = 16 * 1024
#: of stored values: a change costs the encoding of one portion, and every answer the joining of all
_SPLICED_PORTION: Final = 128 * 1024
_ENCODED_PORTION: Final = 128 * 1024
#: what looking at a portion that stays, and at one entry of it, takes, in terms of bytes that are copied
_KEPT_PORTION, _KEPT_ENTRY = 4 * 1024, 512


class ListFormat(Protocol):
    name: str
    #: stored bytes that become one portion
    portion_bytes: int

    def head(self, view: View, page: Page) -> bytes:
        """All that differs between answers of the same items."""
        ...

    async def piece(self, view: View, entries: Sequence[Versioned], warn: Warn) -> bytes:
        """The items of these entries. ``warn`` is told of those that cannot be read."""
        ...

    def parts(self, view: View, page: Page, pieces: Sequence[bytes]) -> list[bytes]:
        """The whole answer, in parts. No piece is empty."""
        ...


async def portions(
    form: ListFormat, view: View, entries: Sequence[Versioned], before: Sequence[Portion], warn: Warn
) -> list[Portion]:
    """A list's items, in key order, in this form; ``before``: what was made of it the last time. Others get their turns
    meanwhile."""
    found: list[Portion] = []
    worked = 0
    for part in parts(entries, before, form.portion_bytes):
        if worked >= COPIED_BYTES:
            await asyncio.sleep(0)
            worked = 0
        if part.kept is not None:
            found.append(part.kept)
            worked += _KEPT_PORTION + _KEPT_ENTRY * (part.end - part.start)
            continue
        some = entries[part.start : part.end]
        found.append(Portion(some[0].key, part.revisions, await form.piece(view, some, warn)))
        worked += form.portion_bytes
    return found


class _Json:
    """Items are spliced from the stored bytes: only for a spliced view."""

    name = "json"
    portion_bytes = _SPLICED_PORTION

    def head(self, view: View, page: Page) -> bytes:
        return b'%s%s,"items":[' % (view.list_head, orjson.dumps(page.metadata()))

    def parts(self, view: View, page: Page, pieces: Sequence[bytes]) -> list[bytes]:
        parts = [self.head(view, page)]
        for piece in pieces:
            parts += (piece, b",")
        parts[-1 if pieces else 1 :] = [_TAIL]
        return parts

    async def piece(self, view: View, entries: Sequence[Versioned], warn: Warn) -> bytes:
        # Views of the stored values, copied once into the whole: a copy of each first takes five times as long.
        skipped = view.storage.head_length
        parts: list[bytes | memoryview] = []
        begin = b'{"metadata":{"resourceVersion":"%d",'
        for entry in entries:
            try:
                value = _value(view, entry)
            except EntryDamaged as error:
                warn(left_out(error))
                continue
            parts.append(begin % entry.revision)
            parts.append(memoryview(value)[skipped:])
            begin = b',{"metadata":{"resourceVersion":"%d",'
        return b"".join(parts)


class _Protobuf:
    """Raises NotAcceptable for a kind without that form."""

    name = "protobuf"
    portion_bytes = _ENCODED_PORTION

    def head(self, view: View, page: Page) -> bytes:
        return orjson.dumps(page.metadata())

    def parts(self, view: View, page: Page, pieces: Sequence[bytes]) -> list[bytes]:
        return _list_form(view).body(page.metadata(), pieces)

    async def piece(self, view: View, entries: Sequence[Versioned], warn: Warn) -> bytes:
        warned: list[str] = []
        heavy = sum(map(value_length, entries)) > _ENCODED_AT_ONCE
        piece = await paced(heavy, self._encoded, _list_form(view), view, entries, warned)
        for text in warned:
            warn(text)
        return piece

    @staticmethod
    def _encoded(form: protobuf.ListForm, view: View, entries: Sequence[Versioned], warned: list[str]) -> bytes:
        """Reads nothing but the values."""
        found = []
        for entry in entries:
            try:
                obj = view.storage.decode(_value(view, entry), entry.revision)
                found.append(form.items([view.from_stored_now(obj)]))
            except EntryDamaged as error:
                warned.append(left_out(error))
            except protobuf.NotEncodable:
                warned.append(left_out(EntryDamaged(entry.key, entry.revision)))
        return b"".join(found)


def _list_form(view: View) -> protobuf.ListForm:
    try:
        return protobuf.ListForm.of(view.kind.api_version, view.kind.list_kind, view.kind.kind)
    except protobuf.NotEncodable as error:
        raise errors.NotAcceptable(str(error)) from error


def left_out(error: EntryDamaged) -> str:
    """One damaged value must not hide the rest; a warning names it."""
    return f"left out, for its stored value is damaged: {error.key.removeprefix('/registry/')}"


def _value(view: View, entry: Versioned) -> bytes:
    """Raises EntryDamaged."""
    value = entry.value
    return view.storage.encode(entry.object()) if value is None else value


JSON: Final[ListFormat] = _Json()
PROTOBUF: Final[ListFormat] = _Protobuf()
