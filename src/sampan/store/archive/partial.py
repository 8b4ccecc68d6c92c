"""The file under which something is written until it is whole; who writes it renames it then.

Its name is a new one each time: two that write at once never share it, and nobody who may write to the directory (one
for all, as ``/tmp``) can have laid a file or a link there to be filled.
"""

from __future__ import annotations

import fcntl
import glob
import os
import tempfile
from pathlib import Path


def new_partial(path: Path) -> tuple[int, Path]:
    """An open descriptor of an empty file beside ``path``, for its owner alone. What writers that were killed left of
    this name goes. Raises OSError."""
    _sweep(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # as long as its writer lives
    return descriptor, Path(name)


def _sweep(path: Path) -> None:
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        try:
            descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue  # somebody else's, or gone
        try:
            if os.fstat(descriptor).st_uid == os.geteuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink(missing_ok=True)
        except OSError:
            continue  # it is being written
        finally:
            os.close(descriptor)
