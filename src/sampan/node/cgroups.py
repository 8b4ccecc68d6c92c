"""Pod cgroups below the node's root: the QoS tree, pod limits; cgroup v1, hybrid and v2.

Used by pod workers before a sandbox is made and after it is gone. ``create`` is a few writes on kernfs,
done in place; ``remove`` waits for the kernel and belongs in a thread. What
the kernel refuses (no controller, no delegation) is noted once and left to the runtime: a pod runs without its limit
rather than not at all only where the controller itself is absent.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from pathlib import Path

from sampan.api.faults import cause
from sampan.api.types import Obj
from sampan.node.pods import resources, spec

log = logging.getLogger(__name__)

_V1_CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "blkio", "devices", "freezer", "cpuacct")
_V2_CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "io")
_QOS_DIRECTORY = {"Guaranteed": "", "Burstable": "burstable", "BestEffort": "besteffort"}


def is_unified(mount: Path) -> bool:
    """cgroup v2 at the root; hybrid counts as v1."""
    return (mount / "cgroup.controllers").exists()


def pod_path(root: str, pod: Obj) -> str:
    """``<root>/burstable/pod<uid>``: what CRI calls the cgroup parent. "" when cgroups are left to the runtime."""
    if not root:
        return ""
    parts = [root.rstrip("/"), _QOS_DIRECTORY[spec.qos_class(pod)], f"pod{pod['metadata']['uid']}"]
    return "/".join(part for part in parts if part)


def pod_settings(pod: Obj, *, unified: bool) -> dict[str, dict[str, str]]:
    """Controller to file to value."""
    request = spec.pod_resource(pod, "cpu") or 0
    cpu_limit = spec.pod_resource(pod, "cpu", limits=True)
    memory_limit = spec.pod_resource(pod, "memory", limits=True)
    shares = resources.shares(request)
    quota = resources.quota(cpu_limit or 0)
    memory = None if memory_limit is None else str(memory_limit // 1000)
    period = resources.PERIOD_MICROSECONDS
    if unified:
        # The kernel's weight for v1 shares, by the conversion of the OCI runtimes.
        weight = 1 + (shares - 2) * 9999 // 262142
        settings = {"cpu": {"cpu.weight": str(weight)}, "memory": {}}
        settings["cpu"]["cpu.max"] = f"{quota} {period}" if quota else f"max {period}"
        if memory is not None:
            settings["memory"]["memory.max"] = memory
        return settings
    settings = {"cpu": {"cpu.shares": str(shares), "cpu.cfs_period_us": str(period)}, "memory": {}}
    settings["cpu"]["cpu.cfs_quota_us"] = str(quota) if quota else "-1"
    if memory is not None:
        settings["memory"]["memory.limit_in_bytes"] = memory
    return settings


class CgroupManager:
    def __init__(self, root: str, mount: Path = Path("/sys/fs/cgroup")) -> None:
        self._root = root
        self._mount = mount
        self._unified = is_unified(mount)
        self._warned: set[str] = set()

    def path(self, pod: Obj) -> str:
        return pod_path(self._root, pod)

    def create(self, pod: Obj) -> str:
        """The pod's cgroup with its limits; returns the parent for its sandbox. Idempotent."""
        path = pod_path(self._root, pod)
        if not path:
            return ""
        settings = pod_settings(pod, unified=self._unified)
        if self._unified:
            self._delegate(path)
            self._write(self._mount / path.lstrip("/"), {k: v for each in settings.values() for k, v in each.items()})
            return path
        for controller in _V1_CONTROLLERS:
            base = self._mount / controller
            if not base.is_dir():
                continue
            directory = base / path.lstrip("/")
            try:
                self._make_v1(base, directory)
            except OSError as error:
                self._warn(f"{controller}: {cause(error)}")
                continue
            self._write(directory, settings.get(controller, {}))
        return path

    def remove(self, pod: Obj) -> None:
        """After the sandbox is gone. What still has processes stays and is tried again by ``clean``."""
        path = pod_path(self._root, pod)
        if path:
            self._remove_everywhere(path)

    def remove_root(self) -> None:
        """Everything below the node's root that is empty: when an instance is taken down."""
        if self._root:
            self._remove_everywhere(self._root)

    def _bases(self) -> list[Path]:
        if self._unified:
            return [self._mount]
        return [path for path in sorted(self._mount.iterdir()) if path.is_dir() and not path.is_symlink()]

    def _remove_everywhere(self, path: str) -> None:
        for base in self._bases():
            directory = base / path.lstrip("/")
            if not directory.is_dir():
                continue
            below = sorted((item for item in directory.rglob("*") if item.is_dir()), key=lambda p: -len(p.parts))
            for item in [*below, directory]:
                try:
                    item.rmdir()
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY):
                        self._warn(f"remove {item}: {cause(error)}")

    def _make_v1(self, base: Path, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        if base.name != "cpuset":
            return
        # A cpuset without cpus takes no process: inherit from the top down.
        for ancestor in reversed([directory, *directory.parents]):
            if base in ancestor.parents:
                for name in ("cpuset.cpus", "cpuset.mems"):
                    if not (ancestor / name).read_text().strip():
                        (ancestor / name).write_text((ancestor.parent / name).read_text())

    def _delegate(self, path: str) -> None:
        directory = self._mount
        for part in ("", *path.strip("/").split("/")):
            directory = directory / part
            directory.mkdir(exist_ok=True)
            if part == path.rpartition("/")[2]:
                break
            for controller in _V2_CONTROLLERS:
                try:
                    (directory / "cgroup.subtree_control").write_text(f"+{controller}")
                except OSError as error:
                    self._warn(f"{controller}: {cause(error)}")

    def _write(self, directory: Path, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            try:
                (directory / name).write_text(value)
            except OSError as error:
                self._warn(f"{name}: {cause(error)}")

    def _warn(self, text: str) -> None:
        if text not in self._warned and len(self._warned) < 100:
            self._warned.add(text)
            log.info("cgroups: %s", text)
