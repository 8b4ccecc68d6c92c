"""Whether this machine can have a back end of the pod network, as far as can be told without laying it.

Asked before a cluster starts: what cannot be had is refused by name then, and not found out by pods.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from typing import Final

from sampan.records import dataclass

_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Missing:
    what: str
    fix: str


def has_kind(kind: str) -> bool:
    """The kernel can make such an interface: tried in a network of its own, which ends with the program."""
    command = ["unshare", "--net", "ip", "link", "add", "probe", "type", kind]
    if kind == "vxlan":
        command += ["id", "1", "dstport", "1"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return True  # not known; who lays it says what is wrong
    return not any(text in done.stderr for text in ("Unknown device type", "Operation not supported"))


def missing(backend: str, *, has: Callable[[str], bool] = has_kind) -> Missing | None:
    """None: the back end can be had here. ``auto`` asks for nothing: most clusters need no tunnel."""
    option = f"--pod-network-backend {backend}"
    if backend == "vxlan" and not has("vxlan"):
        return Missing(
            f"{option}: the kernel of this machine has no VXLAN",
            "modprobe vxlan, boot a kernel with CONFIG_VXLAN, or choose --pod-network-backend host-gw",
        )
    if backend == "wireguard":
        if shutil.which("wg") is None:
            return Missing(f"{option}: wg is not installed", "apt-get install -y wireguard-tools")
        if not has("wireguard") and shutil.which("wireguard-go") is None:
            return Missing(
                f"{option}: the kernel of this machine has no WireGuard",
                "apt-get install -y wireguard-go, boot a kernel with CONFIG_WIREGUARD, or choose "
                "--pod-network-backend vxlan",
            )
    return None
