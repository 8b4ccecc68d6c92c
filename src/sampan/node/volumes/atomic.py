"""Writing the files of a volume so that readers see all of an update or nothing of it (upstream AtomicWriter).

A payload goes to a new directory ``..<time>.<random>``; the symlink ``..data`` is switched to it by one rename, and
the visible names are symlinks through ``..data``. Synchronous; used by configMap, secret, downwardAPI and projected
volumes; one writer a volume at a time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from sampan.node.volumes.errors import SetupError
from sampan.records import dataclass

DATA = "..data"
_NEW_DATA = "..data_tmp"


@dataclass(frozen=True, slots=True)
class ProjectedFile:
    """``uid``: the owner, when it is not root."""

    data: bytes
    mode: int
    uid: int | None = None


#: relative path to file
Payload = Mapping[str, ProjectedFile]


def check_path(path: str) -> None:
    """Raises SetupError for a path that would leave the volume or touch our own names."""
    if not path:
        raise SetupError("invalid path: must not be empty")
    if path.startswith("/"):
        raise SetupError(f"invalid path: must be relative path: {path}")
    if ".." in path.split("/"):
        raise SetupError(f'invalid path: must not contain "..": {path}')
    if path.startswith(".."):
        raise SetupError(f'invalid path: must not start with "..": {path}')


def write_payload(
    target: Path, payload: Payload, now: datetime, own: Callable[[Path], None] = lambda directory: None
) -> bool:
    """Makes ``target`` show exactly ``payload``; False when it did already.

    ``own(directory)`` sets ownership of the new directory before anyone can see it. A crash at any point leaves the
    old or the new content, and at most a directory that the next write sweeps.
    """
    for path in payload:
        check_path(path)
    current = _current(target)
    if current is not None and _is_same(current, payload):
        _link_visible(target, payload)  # a crash may have come between the switch and the names
        return False
    fresh = Path(tempfile.mkdtemp(prefix=now.strftime("..%Y_%m_%d_%H_%M_%S."), dir=target))
    try:
        fresh.chmod(0o755)
        _write_files(fresh, payload)
        own(fresh)
        new_link = target / _NEW_DATA
        new_link.unlink(missing_ok=True)
        new_link.symlink_to(fresh.name)
        new_link.replace(target / DATA)
    except BaseException:  # a name with a NUL is a ValueError; what is left would grow with every try
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _link_visible(target, payload)
    _sweep(target, fresh.name, payload)
    return True


def _current(target: Path) -> Path | None:
    try:
        return target / (target / DATA).readlink()
    except OSError:
        return None


def _is_same(directory: Path, payload: Payload) -> bool:
    present = {
        str(Path(folder, name).relative_to(directory)) for folder, _, names in os.walk(directory) for name in names
    }
    if present != {os.path.normpath(path) for path in payload}:
        return False
    return all((directory / path).read_bytes() == file.data for path, file in payload.items())


def _write_files(directory: Path, payload: Payload) -> None:
    for path, file in payload.items():
        full = directory / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(file.data)
        full.chmod(file.mode)  # not at creation: the umask would take part of it away
        if file.uid is not None:
            os.chown(full, file.uid, -1)


def _tops(payload: Payload) -> set[str]:
    return {os.path.normpath(path).split("/", 1)[0] for path in payload}


def _link_visible(target: Path, payload: Payload) -> None:
    for name in _tops(payload):
        link = target / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")


def _sweep(target: Path, keep: str, payload: Payload) -> None:
    """Removes names that went away, and every directory of an earlier write."""
    tops = _tops(payload)
    for entry in list(os.scandir(target)):
        if entry.name in (DATA, keep) or entry.name in tops:
            continue
        if entry.is_symlink():
            os.unlink(entry.path)  # noqa: PTH108 - a DirEntry has the path as text already
        elif entry.name.startswith("..") and entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
