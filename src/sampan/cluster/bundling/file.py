"""The file of a bundle: a shell script, and behind it a tar with everything and its checksums.

``sh FILE`` is all that the other machine needs. It is written under another name and renamed once it is whole.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson

from sampan.records import dataclass
from sampan.store.archive.partial import new_partial

FORMAT = "sampan-bundle/1"
_FOLDERS = ("wheels", "debs", "images")


@dataclass(frozen=True, slots=True)
class Contents:
    """Files of each kind. ``python``: what the wheels are made for, as ``python3.11``."""

    wheels: tuple[Path, ...]
    debs: tuple[Path, ...] = ()
    images: tuple[Path, ...] = ()
    python: str = "python3"

    def named(self) -> Iterable[tuple[str, Path]]:
        for folder, paths in zip(_FOLDERS, (self.wheels, self.debs, self.images), strict=True):
            for path in sorted(paths):
                yield f"{folder}/{path.name}", path


def write(path: Path, contents: Contents, manifest: dict[str, Any]) -> int:
    """Gives its size. Raises OSError; then nothing is there under the name."""
    descriptor, partial = new_partial(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_script(contents.python))
            sums: list[str] = []
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                data = orjson.dumps({"format": FORMAT, **manifest}, option=orjson.OPT_INDENT_2) + b"\n"
                _add(tar, "manifest.json", data, sums)
                for folder in _FOLDERS:
                    member = tarfile.TarInfo(folder)
                    member.type, member.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(member)
                for name, source in contents.named():
                    sums.append(f"{_digest(source)}  {name}\n")
                    tar.add(source, name, recursive=False, filter=_plain)
                _add(tar, "SHA256SUMS", "".join(sums).encode(), [])
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o755)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return path.stat().st_size


def _script(python: str) -> bytes:
    text = (files("sampan.cluster.bundling") / "install.sh").read_text()
    lines = text.count("\n") + 1
    return text.replace("@LINES@", str(lines)).replace("@PYTHON@", python).encode()


def _add(tar: tarfile.TarFile, name: str, data: bytes, sums: list[str]) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))
    sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Of whoever made it nothing goes along."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member
