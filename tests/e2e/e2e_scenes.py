"""Many pods at once: a scene is created by one command, awaited by looking at all of it, and each test judges its own.

Pods of a scene run to their end (``restartPolicy: Never``) or are asked by ``exec`` while they run. What containers
print is read by one command for all of them.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from e2e_harness import Kubectl, eventually
from e2e_manifests import IMAGE

#: Prints a line for each regular file below the directories given: path, mode, owner, group, content in base64.
SHOW = """show() { find -L "$@" -type f ! -path '*/..*' 2>/dev/null | while read -r f; do
echo "file|$f|$(stat -L -c '%a|%u|%g' "$f")|$(base64 -w0 <"$f" 2>/dev/null)"; done; }
"""
_LINE = re.compile(r"^\[pod/([^/]+)/([^\]]+)\] (.*)$")


@dataclass(frozen=True)
class File:
    mode: int
    uid: int
    gid: int
    text: str


def parse_files(lines: Iterable[str]) -> dict[str, File]:
    """What ``SHOW`` printed, by path."""
    found = {}
    for line in lines:
        if line.startswith("file|"):
            _, path, mode, uid, gid, content = line.split("|", 5)
            found[path] = File(int(mode, 8), int(uid), int(gid), base64.b64decode(content).decode(errors="replace"))
    return found


def container(name: str, script: str, mounts: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """``mounts``: names of volumes to where they are mounted."""
    return {
        "name": name,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", SHOW + script],
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in (mounts or {}).items()],
        **more,
    }


def pod(name: str, *containers: Mapping[str, Any], volumes: Iterable[Mapping[str, Any]] = (), **more: Any) -> Any:
    """A pod that runs to its end; ``more`` is of its spec."""
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": list(containers),
        "volumes": list(volumes),
        **more,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"scene": "pods"}}, "spec": spec}


def as_list(objects: Iterable[Mapping[str, Any]]) -> str:
    """A manifest of them all."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


class Scene:
    def __init__(self, kubectl: Kubectl, objects: Iterable[Mapping[str, Any]]) -> None:
        self.kubectl = kubectl
        self.apply(objects)

    def apply(self, objects: Iterable[Mapping[str, Any]]) -> None:
        self.kubectl("create", "-f", "-", stdin=as_list(objects))

    def pods(self) -> dict[str, Any]:
        return {each["metadata"]["name"]: each for each in self.kubectl.json("get", "pods")["items"]}

    @cached_property
    def ended(self) -> dict[str, Any]:
        """The pods that run to their end, when all of them have."""

        def all_ended() -> dict[str, Any] | None:
            there = {
                name: each
                for name, each in self.pods().items()
                if each["spec"]["restartPolicy"] == "Never" and each["metadata"]["labels"].get("scene") == "pods"
            }
            return there if all(_phase(each) in ("Succeeded", "Failed") for each in there.values()) else None

        found: dict[str, Any] = eventually(all_ended, seconds=180, every=0.3)
        return found

    @cached_property
    def _printed(self) -> dict[tuple[str, str], list[str]]:
        assert self.ended
        text = self.kubectl(
            "logs", "-l", "scene=pods", "--all-containers", "--prefix", "--tail=-1", "--max-log-requests=100"
        )
        found: dict[tuple[str, str], list[str]] = {}
        for match in filter(None, map(_LINE.match, text.splitlines())):
            found.setdefault((match[1], match[2]), []).append(match[3])
        return found

    def lines(self, pod_name: str, container_name: str = "main") -> list[str]:
        """What the container of a pod that ended well printed."""
        ended = self.ended[pod_name]
        assert _phase(ended) == "Succeeded", ended["status"]
        return self._printed.get((pod_name, container_name), [])

    def files(self, pod_name: str, container_name: str = "main") -> dict[str, File]:
        return parse_files(self.lines(pod_name, container_name))

    def files_now(self, pod_name: str, *directories: str) -> dict[str, File]:
        """What a running pod sees."""
        script = f"{SHOW}show {shlex.join(directories)}"
        done = self.kubectl.run("exec", pod_name, "--", "sh", "-c", script, check=False)
        return parse_files(done.stdout.splitlines())


def _phase(found: Mapping[str, Any]) -> str:
    return str((found.get("status") or {}).get("phase", ""))
