"""How the bytes of a list are made: of its items, which are the same for every answer, and of what differs.

``lists`` keeps them. The items are made in portions: of JSON, which is spliced, in turns of the loop; of protobuf,
which is encoded, in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import orjson

from sampan.api import errors, protobuf
from sampan.server.results import Page
from sampan.server.storage import Versioned, View
from sampan.server.threads import paced
from sampan.server.turns import COPIED_BYTES, DECODED_BYTES, turns, value_length
from sampan.store.protocol import EntryDamaged

Warn = Callable[[str], None]
_TAIL: Final = b"]}\n"
#: items of more stored bytes are encoded in a thread
_ENCODED_AT_ONCE: Final = 16 * 1024


class ListFormat(Protocol):
    name: str

    def head(self, view: View, page: Page) -> bytes:
        """All that differs between answers of the same items."""
        ...

    async def pieces(self, view: View, entries: Sequence[Versioned], warn: Warn) -> list[bytes]:
        """The items of these entries; no piece is empty. ``warn`` is told of those that cannot be read."""
        ...

    def parts(self, view: View, page: Page, pieces: Sequence[bytes]) -> list[bytes]:
        """The whole answer, in parts."""
        ...


class _Json:
    """Items are spliced from the stored bytes: only for a spliced view."""

    name = "json"

    def head(self, view: View, page: Page) -> bytes:
        return b'%s%s,"items":[' % (view.list_head, orjson.dumps(page.metadata()))

    def parts(self, view: View, page: Page, pieces: Sequence[bytes]) -> list[bytes]:
        parts = [self.head(view, page)]
        for piece in pieces:
            parts += (piece, b",")
        parts[-1 if pieces else 1 :] = [_TAIL]
        return parts

    async def pieces(self, view: View, entries: Sequence[Versioned], warn: Warn) -> list[bytes]:
        pieces = []
        async for portion in turns(entries, COPIED_BYTES):
            piece = self._join(view, portion, warn)
            if piece:
                pieces.append(piece)
        return pieces

    @staticmethod
    def _join(view: View, entries: Sequence[Versioned], warn: Warn) -> bytes:
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

    def head(self, view: View, page: Page) -> bytes:
        return orjson.dumps(page.metadata())

    def parts(self, view: View, page: Page, pieces: Sequence[bytes]) -> list[bytes]:
        return _list_form(view).body(page.metadata(), pieces)

    async def pieces(self, view: View, entries: Sequence[Versioned], warn: Warn) -> list[bytes]:
        form, pieces = _list_form(view), []
        async for portion in turns(entries, DECODED_BYTES):
            warned: list[str] = []
            heavy = sum(map(value_length, portion)) > _ENCODED_AT_ONCE
            piece = await paced(heavy, self._encoded, form, view, portion, warned)
            for text in warned:
                warn(text)
            if piece:
                pieces.append(piece)
        return pieces

    @staticmethod
    def _encoded(form: protobuf.ListForm, view: View, entries: Sequence[Versioned], warned: list[str]) -> bytes:
        """Reads nothing but the values."""
        found = []
        for entry in entries:
            try:
                value = _value(view, entry)
                obj = view.storage.decode(value, entry.revision)
                found.append(form.items([view.from_stored_now(obj)]))
            except EntryDamaged as error:
                warned.append(left_out(error))
            except protobuf.NotEncodable:
                warned.append(left_out(EntryDamaged(getattr(entry, "key", ""), entry.revision)))
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
