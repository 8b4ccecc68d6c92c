"""The message a container leaves when it ends: its termination file, or the tail of its log."""

from __future__ import annotations

import os
from pathlib import Path

from sampan.node import runtime
from sampan.node.pods.state import TERMINATION_POLICY_ANNOTATION

FILE_LIMIT_BYTES = 4096
LOG_LIMIT_BYTES = 2048
LOG_LIMIT_LINES = 80


def read_termination_message(container: runtime.Container, file: Path) -> str:
    """At most 4096 bytes of the file; with FallbackToLogsOnError the last lines of a failed container's log."""
    text = _tail(file, FILE_LIMIT_BYTES, from_end=False)
    policy = container.annotations.get(TERMINATION_POLICY_ANNOTATION)
    if text or policy != "FallbackToLogsOnError" or container.exit_code == 0 or not container.log_path:
        return text
    # A CRI log line costs up to 60 bytes more than its text.
    raw = _tail(Path(container.log_path), LOG_LIMIT_BYTES + LOG_LIMIT_LINES * 60, from_end=True)
    lines = []
    for line in raw.splitlines()[-LOG_LIMIT_LINES:]:
        parts = line.split(" ", 3)
        lines.append(parts[3] + ("" if parts[2] == "P" else "\n") if len(parts) == 4 else "")
    return "".join(lines)[-LOG_LIMIT_BYTES:]


def _tail(path: Path, limit: int, *, from_end: bool) -> str:
    """Regular files only, no symbolic link: the container writes here and must not make us read elsewhere."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if from_end and size > limit:
            file.seek(size - limit)
            file.readline()
        return file.read(limit).decode(errors="replace")
