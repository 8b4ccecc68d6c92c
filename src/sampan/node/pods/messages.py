"""The message a container leaves when it ends: its termination file, or the tail of its log."""

from __future__ import annotations

from pathlib import Path

from sampan.node import runtime
from sampan.node.host import Host
from sampan.node.pods.state import TERMINATION_POLICY_ANNOTATION

FILE_LIMIT_BYTES = 4096
LOG_LIMIT_BYTES = 2048
LOG_LIMIT_LINES = 80


def read_termination_message(host: Host, container: runtime.Container, file: Path) -> str:
    """At most 4096 bytes of the file; with FallbackToLogsOnError the last lines of a failed container's log."""
    text = host.read(file, FILE_LIMIT_BYTES).decode(errors="replace")
    policy = container.annotations.get(TERMINATION_POLICY_ANNOTATION)
    if text or policy != "FallbackToLogsOnError" or container.exit_code == 0 or not container.log_path:
        return text
    # A CRI log line costs up to 60 bytes more than its text.
    log = host.read(Path(container.log_path), LOG_LIMIT_BYTES + LOG_LIMIT_LINES * 60, tail=True)
    lines = []
    for line in log.decode(errors="replace").splitlines()[-LOG_LIMIT_LINES:]:
        parts = line.split(" ", 3)
        lines.append(parts[3] + ("" if parts[2] == "P" else "\n") if len(parts) == 4 else "")
    return "".join(lines)[-LOG_LIMIT_BYTES:]
