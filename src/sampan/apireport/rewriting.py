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
from sampan.api.versions.manifests import NotConvertible, former_target, is_renamed_only, modernised, retargeted
from sampan.apireport.judging import refusals
from sampan.apireport.sources import Document, documents
from sampan.records import dataclass

_INDENT: Final = 2


@dataclass(frozen=True, slots=True)
class Rewritten:
    """``changed``: how many objects are new; ``left``: what could not be rewritten, and why; ``refused``: what of the
    new is not allowed though it was, and has to be decided by somebody."""

    text: bytes
    changed: int
    left: tuple[str, ...]
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Told:
    left: list[str]
    refused: list[str]


def rewrite(text: bytes, to: Release, *, json: bool = False) -> Rewritten:
    """The file as it should be for the release ``to``: what it removed or deprecates is replaced."""
    pieces: list[bytes] = []
    told = _Told([], [])
    changed = at = 0
    for document in documents(text, json=json):
        if document.value is None:
            continue
        new, count = _document(document, text[document.start : document.end], to, told, json=json)
        if count:
            pieces += [text[at : document.start], new]
            at = document.end
            changed += count
    return Rewritten(b"".join([*pieces, text[at:]]), changed, tuple(told.left), tuple(told.refused))


def _document(document: Document, text: bytes, to: Release, told: _Told, *, json: bool) -> tuple[bytes, int]:
    value = document.value
    assert value is not None
    if not json and _is_line(value, to):
        renamed = _renamed(text, value, told)
        if renamed is not None:
            return renamed, 1
    new, count = _value(value, to, told)
    if not count:
        return text, 0
    if json:
        return (json_text.dumps(new, indent=_INDENT, ensure_ascii=False) + "\n").encode(), count
    import yaml

    return yaml.safe_dump(new, sort_keys=False, allow_unicode=True, width=2**20).encode(), count


def _is_line(value: Obj, to: Release) -> bool:
    """Only its version has another name."""
    if not _is_due(value, to) or former_target(value, to) is not None:
        return False
    return is_renamed_only(str(value["apiVersion"]), str(value["kind"]))


def _value(value: Obj, to: Release, told: _Told) -> tuple[Obj, int]:
    items = value.get("items")
    if str(value.get("kind", "")).endswith("List") and isinstance(items, list):
        made = [_value(item, to, told) if isinstance(item, dict) else (item, 0) for item in items]
        return {**value, "items": [item for item, _ in made]}, sum(count for _, count in made)
    if not _is_due(value, to):
        new = retargeted(value, to)
        return new, int(new is not value)
    try:
        new = retargeted(modernised(value), to)
    except NotConvertible as error:
        told.left.append(f"{value.get('kind')} {_name(value)}: {error}")
        return value, 0
    _judge(new, told)
    return new, 1


def _judge(new: Obj, told: _Told) -> None:
    told.refused.extend(f"{new['kind']} {_name(new)}: {fault}" for fault in refusals(new))


def _is_due(value: Obj, to: Release) -> bool:
    entry = lifecycle(str(value.get("apiVersion")), str(value.get("kind")))
    if entry is None:
        return False
    return any(release is not None and release <= to for release in (entry.deprecated, entry.removed))


def _renamed(text: bytes, value: Obj, told: _Told) -> bytes | None:
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
    if count != 1:
        return None
    _judge(new, told)
    return made


def _name(value: Any) -> str:
    metadata = value.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
