"""The kubelet's directory for programs in pods: manifests of drivers name ``/var/lib/kubelet``, which here is the
node's own root, wherever that is.

A hostPath volume at or below ``/var/lib/kubelet`` is the same path below the root, so that stock manifests work
unchanged and several nodes can share a machine. What a program is told of paths begins as it sees them.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Final

KUBELET: Final = Path("/var/lib/kubelet")
#: below the root: where sockets of registration appear, and where drivers keep what is theirs
REGISTRY: Final = "plugins_registry"
PLUGINS: Final = "plugins"
_PODS: Final = "pods"
_CONNECT_SECONDS: Final = 1.0


def on_machine(path: Path, root: Path) -> Path:
    """A path that a manifest or a plugin names, as it is here. Pure."""
    if path.is_relative_to(KUBELET) and ".." not in path.parts:
        return root / path.relative_to(KUBELET)
    return path


def as_seen(path: Path, root: Path, seen_root: Path) -> str:
    """A path below the root, for a program that sees the root at ``seen_root``. Pure."""
    return str(seen_root / path.relative_to(root))


def root_seen_by(server: Path, root: Path) -> Path:
    """Where whoever serves the socket sees the node's root: itself, for a program of the machine; else, for one in a
    pod, what its manifest names. Short, and blocking."""
    pid = _peer(server)
    try:
        ours = (root / _PODS).stat()
    except OSError:
        return KUBELET
    for candidate in (root, KUBELET):
        try:
            theirs = Path(f"/proc/{pid}/root{candidate / _PODS}").stat()
        except OSError:
            continue
        if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino):
            return candidate
    return KUBELET


def _peer(server: Path) -> int:
    """The process that listens; 0: not known."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_CONNECT_SECONDS)
            probe.connect(str(server))
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return 0
    pid: int = struct.unpack("3i", credentials)[0]
    return pid
