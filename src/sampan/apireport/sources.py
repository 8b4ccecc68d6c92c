"""Manifests as they lie in files: documents with their text, so that one can be replaced and the rest stays as it is.

Pure. Bounded by what the API server itself would read: a document that it would refuse is told as unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Final

from sampan.api import schema
from sampan.api.errors import BadRequest
from sampan.api.types import Obj
from sampan.records import dataclass

#: Longer files are no manifests.
MOST_BYTES: Final = 16 * 1024 * 1024
SUFFIXES: Final = (".yaml", ".yml", ".json")
_SEPARATOR = re.compile(rb"^---(?:[ \t].*)?\r?\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """``start`` and ``end``: where its text lies in the file. ``value`` None: it holds nothing; ``fault``: it cannot be
    read, and why."""

    number: int
    start: int
    end: int
    value: Obj | None
    fault: str = ""


def is_template(path: PurePath, charts: frozenset[PurePath]) -> bool:
    """Whether a file is no manifest before Helm has made one of it. ``charts``: folders with a Chart.yaml."""
    return any(parent.name == "templates" and parent.parent in charts for parent in path.parents)


def documents(text: bytes, *, json: bool = False) -> Iterator[Document]:
    """The documents of a file, in order, from 1 on."""
    if len(text) > MOST_BYTES:
        yield Document(1, 0, len(text), None, f"longer than {MOST_BYTES // 2**20} MiB")
        return
    spans = [(0, len(text))] if json else _spans(text)
    for number, (start, end) in enumerate(spans, start=1):
        piece = text[start:end]
        if not piece.strip():
            continue
        try:
            value = schema.parse_json(piece)[0] if json else schema.parse_yaml(piece)[0]
        except BadRequest as error:
            fault = "a template of Helm or another program" if b"{{" in piece else error.message
            yield Document(number, start, end, None, fault)
            continue
        if isinstance(value, dict):
            yield Document(number, start, end, value)
        elif value is not None:
            yield Document(number, start, end, None, "not an object")


def _spans(text: bytes) -> list[tuple[int, int]]:
    cuts = [(match.start(), match.end()) for match in _SEPARATOR.finditer(text)]
    starts = [0, *(end for _, end in cuts)]
    ends = [*(start for start, _ in cuts), len(text)]
    return list(zip(starts, ends, strict=True))


def objects_in(value: Obj) -> Iterator[Obj]:
    """The object, or those of a list of them."""
    items = value.get("items")
    if str(value.get("kind", "")).endswith("List") and isinstance(items, list):
        kind, version = str(value["kind"]).removesuffix("List"), value.get("apiVersion")
        for item in items:
            if isinstance(item, dict):
                yield item if item.get("kind") else {"apiVersion": version, "kind": kind, **item}
    else:
        yield value
