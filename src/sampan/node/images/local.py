"""The images every Sampan node can make by itself from Debian's static programs: pause and demo (busybox).

Used at start-up of a node and by tests; ``ctr`` imports them. Blocking file reads are small.
"""

from __future__ import annotations

from pathlib import Path

from sampan.node.cri.containerd import PAUSE_IMAGE
from sampan.node.images.build import File, ImageConfig, build_image

__all__ = ["DEMO_IMAGE", "PAUSE_IMAGE", "ImageBuildError", "demo_image", "pause_image"]

DEMO_IMAGE = "sampan.local/demo:1"

_PAUSE_PROGRAMS = (Path("/usr/bin/catatonit"), Path("/usr/libexec/podman/catatonit"))
_BUSYBOX_PROGRAMS = (Path("/bin/busybox"), Path("/usr/bin/busybox"))


class ImageBuildError(Exception):
    """A program an image is made of is missing; the message names the Debian package."""


def _program(candidates: tuple[Path, ...], package: str) -> bytes:
    for path in candidates:
        if path.is_file():
            return path.read_bytes()
    raise ImageBuildError(f"{candidates[0]} not found; install the package {package}")


def pause_image(name: str = PAUSE_IMAGE) -> bytes:
    """The sandbox's image: ``catatonit -P`` reaps zombies and waits for a signal."""
    program = _program(_PAUSE_PROGRAMS, "catatonit")
    return build_image(
        name, [{"pause": File(program, 0o755)}], ImageConfig(entrypoint=["/pause", "-P"], user="65535:65535")
    )


def demo_image(name: str = DEMO_IMAGE) -> bytes:
    """Busybox with links for its common applets: a shell, a web server, network tools."""
    program = _program(_BUSYBOX_PROGRAMS, "busybox-static")
    files = {
        "bin/busybox": File(program, 0o755),
        "etc/passwd": File(b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        "etc/group": File(b"root:x:0:\nnogroup:x:65534:\n"),
        "tmp/": File(mode=0o1777),
        "root/": File(mode=0o700),
        "www/index.html": File(b"Sampan\n"),
    }
    files |= {f"bin/{applet}": File(link="busybox") for applet in _APPLETS}
    return build_image(name, [files], ImageConfig(cmd=["/bin/sh"]))


_APPLETS = (
    "ash", "awk", "base64", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dirname", "du",
    "echo", "env", "expr", "false", "find", "free", "getopt", "grep", "gunzip", "gzip", "head", "hostname", "httpd",
    "id", "ifconfig", "ip", "kill", "killall", "ln", "ls", "md5sum", "mkdir", "mkfifo", "mktemp", "more", "mount",
    "mv", "nc", "netstat", "nproc", "nslookup", "od", "pgrep", "pidof", "ping", "pkill", "printf", "ps", "pwd",
    "readlink", "realpath", "rm", "rmdir", "route", "sed", "seq", "sh", "sha256sum", "sleep", "sort", "stat", "stty",
    "sync", "tail", "tar", "tee", "telnet", "test", "time", "timeout", "top", "touch", "tr", "traceroute", "true",
    "tty", "umount", "uname", "uniq", "unzip", "uptime", "usleep", "vi", "watch", "wc", "wget", "which", "whoami",
    "xargs", "xxd", "yes", "zcat",
)  # fmt: skip
