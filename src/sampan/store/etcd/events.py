"""etcd's events of one revision as what the store tells: a change of an entry, when entries end, the moment. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sampan.records import dataclass
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.protocol import Change, Entry

_DELETE = pb.Event.DELETE


@dataclass(slots=True)
class Told:
    """What one revision brought. ``changes``: one, unless somebody else's transaction changed several entries.
    ``ends``: keys and what is noted of their end, None: no longer noted. ``time_ms`` 0: not told. ``offset``: what is
    noted of it now, b"": nothing, None: not told."""

    changes: Sequence[Change]
    ends: Sequence[tuple[str, bytes | None]] = ()
    time_ms: int = 0
    offset: bytes | None = None


def entry_of(layout: Layout, kv: Any) -> Entry | None:
    key = layout.key(kv.key)
    return None if key is None else Entry(key, kv.value, kv.mod_revision, kv.create_revision)


def read(layout: Layout, events: Sequence[Any]) -> Told:
    told = Told([])
    changes: list[Change] = []
    ends: list[tuple[str, bytes | None]] = []
    for event in events:
        kv = event.kv
        deleted = event.type == _DELETE
        key = layout.key(kv.key)
        if key is not None:
            previous = entry_of(layout, event.prev_kv) if event.HasField("prev_kv") else None
            entry = None if deleted else Entry(key, kv.value, kv.mod_revision, kv.create_revision)
            changes.append(Change(key, kv.mod_revision, entry, previous))
            continue
        ended = layout.ended(kv.key)
        if ended is not None:
            ends.append((ended, None if deleted else kv.value))
        elif kv.key == layout.time and not deleted:
            told.time_ms = number(kv.value)
        elif kv.key == layout.offset:
            told.offset = b"" if deleted else kv.value
    told.changes, told.ends = changes, ends
    return told


def number(value: bytes) -> int:
    """0 where somebody wrote no number there."""
    return int(value) if value.isdigit() and len(value) < 20 else 0


def read_end(value: bytes) -> tuple[int, str]:
    """The moment, in milliseconds, and whose it is to see to it; 0: it is no such note."""
    moment, _, identity = value.partition(b" ")
    return number(moment), identity.decode(errors="replace")
