"""Replacing a small file as a whole, so that a crash leaves the old one or the new one. Synchronous."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace(path: Path, content: bytes, *, directory_mode: int = 0o777, flush: bool = False) -> None:
    """Only the owner may read the file. ``flush``: it is on the disk when this returns, and survives a crash of the
    machine too; ``directory_mode`` is for the directory, where that is made. Raises OSError: nothing has changed."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=directory_mode)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
