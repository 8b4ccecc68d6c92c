"""Manifests written anew: each document in the version to use instead, all others as they were, to the byte. Pure.

Where only the name of the version changes, only that line does, and comments stay. Any other document is written from
its values: its comments are lost, since no parser that the product ships keeps them.
"""

from __future__ import annotations

import json as json_text
import re
from typing import Any, Final

from sampan.api.types import Obj
from sampan.api.versions.lifecycle import Release, lifecycle
from sampan.api.versions.manifests import NotConvertible, is_renamed_only, modernised
from sampan.apireport.sources import Document, documents
from sampan.records import dataclass

_INDENT: Final = 2


@dataclass(frozen=True, slots=True)
class Rewritten:
    """``changed``: how many objects are new; ``left``: what could not be rewritten, and why."""

    text: bytes
    changed: int
    left: tuple[str, ...]


def rewrite(text: bytes, to: Release, *, json: bool = False) -> Rewritten:
    """The file as it should be for the release ``to``: what it removed or deprecates is replaced."""
    pieces: list[bytes] = []
    left: list[str] = []
    changed = at = 0
    for document in documents(text, json=json):
        if document.value is None:
            continue
        new, count = _document(document, text[document.start : document.end], to, left, json=json)
        if count:
            pieces += [text[at : document.start], new]
            at = document.end
            changed += count
    return Rewritten(b"".join([*pieces, text[at:]]), changed, tuple(left))


def _document(document: Document, text: bytes, to: Release, left: list[str], *, json: bool) -> tuple[bytes, int]:
    value = document.value
    assert value is not None
    if _is_due(value, to) and is_renamed_only(str(value["apiVersion"]), str(value["kind"])) and not json:
        renamed = _renamed(text, value, left)
        if renamed is not None:
            return renamed, 1
    new, count = _value(value, to, left)
    if not count:
        return text, 0
    if json:
        return (json_text.dumps(new, indent=_INDENT, ensure_ascii=False) + "\n").encode(), count
    import yaml

    return yaml.safe_dump(new, sort_keys=False, allow_unicode=True, width=2**20).encode(), count


def _value(value: Obj, to: Release, left: list[str]) -> tuple[Obj, int]:
    items = value.get("items")
    if str(value.get("kind", "")).endswith("List") and isinstance(items, list):
        made = [_value(item, to, left) if isinstance(item, dict) else (item, 0) for item in items]
        return {**value, "items": [item for item, _ in made]}, sum(count for _, count in made)
    if not _is_due(value, to):
        return value, 0
    try:
        return modernised(value), 1
    except NotConvertible as error:
        left.append(f"{value.get('kind')} {_name(value)}: {error}")
        return value, 0


def _is_due(value: Obj, to: Release) -> bool:
    entry = lifecycle(str(value.get("apiVersion")), str(value.get("kind")))
    if entry is None:
        return False
    return any(release is not None and release <= to for release in (entry.deprecated, entry.removed))


def _renamed(text: bytes, value: Obj, left: list[str]) -> bytes | None:
    """The document with another ``apiVersion:`` line; None: it is not written that plainly."""
    try:
        new = modernised(value)
    except NotConvertible:
        return None  # told by who looks at the values
    if new["kind"] != value["kind"]:
        return None
    old = re.escape(str(value["apiVersion"]).encode())
    pattern = re.compile(rb"""^(apiVersion:[ \t]*["']?)""" + old + rb"""(["']?[ \t]*(?:#.*)?)$""", re.MULTILINE)
    found = text.replace(b"\r\n", b"\n") if b"\r\n" in text else text
    made, count = pattern.subn(rb"\g<1>" + new["apiVersion"].encode() + rb"\g<2>", found)
    return made if count == 1 else None


def _name(value: Any) -> str:
    metadata = value.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
