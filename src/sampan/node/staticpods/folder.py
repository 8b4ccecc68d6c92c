"""Reads a folder of manifests again and again. Blocking; ``keeper`` calls it in a thread.

Files whose names begin with a dot, folders and whatever else is no file are left alone. What a look takes is bounded:
so many files, so many bytes of each; a file that is as it was is not read again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from sampan.api.faults import cause
from sampan.api.types import Obj
from sampan.node.staticpods.manifests import BadManifest, read
from sampan.records import dataclass

FILES_LIMIT = 250
FILE_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class File:
    """``stamp``: when it is another, the file may be another. ``pod`` is what it gave when it last was good."""

    stamp: tuple[int, int, int]
    pod: Obj | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    files: Mapping[str, File] = field(default_factory=dict)
    #: Why the folder as a whole could not be read, or not all of it.
    fault: str = ""

    def pods(self) -> list[Obj]:
        return [file.pod for file in self.files.values() if file.pod is not None]


def look(folder: Path, before: Look, node_name: str, seen: str) -> Look:
    """A folder that is not there is empty; one that cannot be read is as it was. A file that is no longer good leaves
    what ran from it as it was: it may be half written."""
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return Look()
    except OSError as error:
        return Look(before.files, f"{folder}: {cause(error)}")
    fault = f"{folder}: of {len(names)} files only the first {FILES_LIMIT} are read" if len(names) > FILES_LIMIT else ""
    found: dict[str, File] = {}
    for name in names[:FILES_LIMIT]:
        file = _file(folder / name, before.files.get(name), node_name, seen)
        if file is not None:
            found[name] = file
    return Look(found, fault)


def _file(path: Path, before: File | None, node_name: str, seen: str) -> File | None:
    kept = before.pod if before is not None else None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        return File((0, 0, 0), kept, f"{path}: {cause(error)}")
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        stamp = status.st_mtime_ns, status.st_size, status.st_ino
        if before is not None and before.stamp == stamp:
            return before
        if status.st_size > FILE_LIMIT_BYTES:
            return File(stamp, kept, f"{path}: it has more than {FILE_LIMIT_BYTES} bytes")
        return File(stamp, read(os.pread(descriptor, FILE_LIMIT_BYTES, 0), str(path), node_name, seen))
    except BadManifest as error:
        return File(stamp, kept, f"{path}: {error}")
    except OSError as error:
        return File((0, 0, 0), kept, f"{path}: {cause(error)}")
    finally:
        os.close(descriptor)
