"""The files a pod has on its node besides its volumes: log directories, /etc/hosts, termination messages.

Used by ``actions`` and ``starting``; the host does the writing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.host import Host
from sampan.node.pods import messages, render, spec
from sampan.node.pods.resizing_checkpoint import DIRECTORY, FILE, LIMIT_BYTES, Checkpoint, decode, encode


class PodFiles:
    def __init__(self, host: Host, config: NodeConfig, pod: Obj) -> None:
        meta = pod["metadata"]
        self._host = host
        self._config = config
        self._directory = config.pod_dir(meta["uid"])
        self._logs = config.pod_log_dir(meta["namespace"], meta["name"], meta["uid"])

    async def make_logs(self) -> None:
        """The pod's log directory. Raises OSError."""
        await self._host.make_directory(self._logs)

    async def remove_logs(self) -> None:
        """The pod's directory went with its volumes; on a host that has none what was kept goes here."""
        await asyncio.gather(self._host.remove_tree(self._logs), self._host.remove_tree(self._directory / DIRECTORY))

    async def keep(self, checkpoint: Checkpoint) -> None:
        """What the node has promised the pod, for the agent after this one. Raises OSError."""
        await self._host.write(self._directory / DIRECTORY / FILE, encode(checkpoint), 0o600)

    def kept(self) -> Checkpoint | None:
        return decode(self._host.read(self._directory / DIRECTORY / FILE, LIMIT_BYTES))

    async def prepare_container(
        self, pod: Obj, container: Obj, attempt: int, taken: set[str], ips: tuple[str, ...]
    ) -> list[runtime.Mount]:
        """Its log directory; and as mounts /etc/hosts and the file for the termination message, where no volume is
        mounted. Raises OSError."""
        mounts = []
        work = [self._host.make_directory(self._logs / container["name"])]
        if "/etc/hosts" not in taken:
            host_file = self._host.hosts_file() if spec.is_host_network(pod) else None
            hosts = self._directory / "etc-hosts"
            text = render.render_hosts(pod, ips, self._config, host_file)
            work.append(self._host.write(hosts, text.encode(), 0o644))
            mounts.append(runtime.Mount(str(hosts), "/etc/hosts"))
        path = container.get("terminationMessagePath") or render.DEFAULT_TERMINATION_PATH
        if path not in taken:
            message = self._message_file(container["name"], attempt)
            work.append(self._host.write(message, b"", 0o666))
            mounts.append(runtime.Mount(str(message), path))
        await asyncio.gather(*work)
        return mounts

    def termination_message(self, container: runtime.Container) -> str:
        file = self._message_file(container.name, container.attempt)
        return messages.read_termination_message(self._host, container, file)

    def _message_file(self, name: str, attempt: int) -> Path:
        return self._directory / "containers" / name / f"{attempt}.message"
