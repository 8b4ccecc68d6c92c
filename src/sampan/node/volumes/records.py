"""A record on disk for each volume that is published or staged: what to undo, written before it is done.

A record is replaced by a rename, so a crash of the agent leaves the old one or the new one. It is not flushed to the
disk: a machine that crashes loses its mounts too, and directories are found without records. Synchronous.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from sampan.node import wholefile

_VERSION = 1
_LIMIT_BYTES = 64 * 1024
_SUFFIX = ".json"
#: in the directory of a staged volume
RECORD = "record.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One volume: of a pod, or staged (then ``pod`` and ``volume`` are "")."""

    plugin: str
    pod: str = ""
    volume: str = ""
    stage_id: str = ""
    size_bytes: int | None = None
    data: Mapping[str, str] = field(default_factory=dict)


class DamagedRecord(ValueError):
    """Nobody can say what it recorded."""


def write(path: Path, record: Record) -> None:
    """Nothing is written when the same is there. Raises OSError; ValueError when it is too long."""
    encoded = orjson.dumps({"version": _VERSION, **asdict(record)})
    if len(encoded) > _LIMIT_BYTES:
        raise ValueError(f'the record of volume "{record.volume}" is longer than {_LIMIT_BYTES} bytes')
    if _read(path) == encoded:
        return
    wholefile.replace(path, encoded, directory_mode=0o750)


def read(path: Path) -> Record | None:
    """None: there is none. Raises DamagedRecord, OSError."""
    encoded = _read(path)
    if encoded is None:
        return None
    try:
        return _decoded(orjson.loads(encoded))
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedRecord(f"the record {path} cannot be read") from error


def names(directory: Path) -> Iterator[str]:
    """Of the volumes that have a record in this directory, in order."""
    try:
        found = sorted(entry.name for entry in os.scandir(directory) if entry.name.endswith(_SUFFIX))
    except FileNotFoundError:
        return
    for name in found:
        if not name.startswith("."):
            yield name.removesuffix(_SUFFIX)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_LIMIT_BYTES + 1)


def _decoded(found: dict[str, Any]) -> Record:
    if found["version"] != _VERSION:
        raise ValueError("of another version")
    record = Record(**{name: found[name] for name in Record.__dataclass_fields__})
    texts = [record.plugin, record.pod, record.volume, record.stage_id, *record.data, *record.data.values()]
    if not all(isinstance(text, str) for text in texts) or not isinstance(record.size_bytes, int | None):
        raise TypeError("not a record")
    return record
