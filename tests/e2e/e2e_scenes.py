"""What containers see of their volumes, and one room for the tests of several modules (``requirement_room``).

Pods print what they find, and run to their end; or they are asked while they run.
"""

from __future__ import annotations

import base64
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requirement_room
from e2e_harness import Cluster, Kubectl, eventually
from requirement_room import LIMIT_SECONDS, Obj, Room, is_ready

#: Prints a line for each regular file below the directories given: path, mode, owner, group, content in base64.
SHOW = """show() { find -L "$@" -type f ! -path '*/..*' 2>/dev/null | while read -r f; do
echo "file|$f|$(stat -L -c '%a|%u|%g' "$f")|$(base64 -w0 <"$f" 2>/dev/null)"; done; }
"""


@dataclass(frozen=True)
class File:
    mode: int
    uid: int
    gid: int
    data: bytes

    @property
    def text(self) -> str:
        return self.data.decode()


def parse_files(lines: Iterable[str]) -> dict[str, File]:
    """What ``SHOW`` printed, by path."""
    found = {}
    for line in lines:
        if line.startswith("file|"):
            _, path, mode, uid, gid, content = line.split("|", 5)
            found[path] = File(int(mode, 8), int(uid), int(gid), base64.b64decode(content))
    return found


def container(script: str, mounts: Mapping[str, str], name: str = "main", **more: Any) -> Obj:
    """``mounts``: names of volumes to where they are mounted."""
    listed = [{"name": volume, "mountPath": path} for volume, path in mounts.items()]
    return requirement_room.container(SHOW + script, name, volumeMounts=listed, **more)


@dataclass
class Scene:
    """A room whose pods are all made at once. They are asked for, not watched: a watch that nobody reads while tests
    do other things is cut off by the server."""

    room: Room
    cluster: Cluster
    _printed: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(Path(shutil.which("kubectl") or "kubectl"), self.cluster, self.room.namespace)

    def ended(self, pod: str) -> Obj:
        return self._until(pod, lambda found: found["status"].get("phase") in ("Succeeded", "Failed"))

    def ready(self, pod: str) -> Obj:
        return self._until(pod, is_ready)

    def gone(self, pod: str) -> None:
        eventually(lambda: pod not in self._names(), seconds=LIMIT_SECONDS)

    def _names(self) -> list[str]:
        return [each["metadata"]["name"] for each in self.room.api("GET", self.room.path())["items"]]

    def _until(self, pod: str, condition: Callable[[Obj], bool]) -> Obj:
        def look() -> Obj | None:
            found = self.room.get(pod)
            return found if condition(found) else None

        seen: Obj = eventually(look, seconds=LIMIT_SECONDS)
        return seen

    def lines(self, pod: str, name: str = "main") -> list[str]:
        """What a container of a pod that ended well printed."""
        ended = self.ended(pod)
        assert ended["status"]["phase"] == "Succeeded", ended["status"]
        if (pod, name) not in self._printed:
            self._printed[pod, name] = self.room.log(pod, name).splitlines()
        return self._printed[pod, name]

    def files(self, pod: str, name: str = "main") -> dict[str, File]:
        return parse_files(self.lines(pod, name))

    def files_now(self, pod: str, *directories: str) -> dict[str, File]:
        """What a running pod sees."""
        script = f"{SHOW}show {shlex.join(directories)}"
        return parse_files(self.kubectl("exec", pod, "--", "sh", "-c", script).splitlines())
