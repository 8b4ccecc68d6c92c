"""A containerd of one's own for tests and benchmarks: the one that ``sampan up`` runs, below a directory given.

It has a bridge of its own, the images every node makes by itself, and leaves nothing behind: shims, mounts and network
namespaces go with it, so that several can run side by side. A containerd of the system is never touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from sampan.cluster import preflight
from sampan.cluster.mounts import unmount_below
from sampan.network import cni
from sampan.node import runtime
from sampan.node.cri import containerd
from sampan.node.cri.client import CriRuntime
from sampan.node.cri.containerd import ContainerdConfig
from sampan.node.images import ctr, local

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_START_SECONDS = 60
_REMOVE_ATTEMPTS = 20
_REMOVE_RETRY_SECONDS = 0.25


class ContainerdError(Exception):
    """containerd did not start; the message ends with the last lines of its log."""


class PrivateContainerd:
    """``client`` speaks to it, also after it was stopped and started again."""

    def __init__(self, config: ContainerdConfig) -> None:
        self.config = config
        self.client = CriRuntime(str(config.socket))
        self._process: asyncio.subprocess.Process | None = None
        self._log = config.file.with_suffix(".log")

    async def start(self) -> None:
        """Returns when CRI answers. Raises ContainerdError."""
        self.config.socket.parent.mkdir(parents=True, exist_ok=True)
        containerd.write(self.config)
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *containerd.command(self.config),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "PATH": _PATH}, start_new_session=True,
            )  # fmt: skip
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._wait_ready(self._process)
        except TimeoutError:
            await self.stop()
            raise ContainerdError(f"containerd does not answer: {self._log_tail()}") from None

    async def _wait_ready(self, process: asyncio.subprocess.Process) -> None:
        while True:
            if process.returncode is not None:
                raise ContainerdError(f"containerd ended with {process.returncode}: {self._log_tail()}")
            try:
                await self.client.version()
                return
            except runtime.RuntimeCallError:
                await asyncio.sleep(0.05)

    def _log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])

    async def stop(self) -> None:
        """Ends containerd; containers go on (shims are their own processes)."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def remove_all_pods(self) -> None:
        """Raises RuntimeCallError when one stays. A container whose start was interrupted is refused for a moment."""
        for attempts_left in reversed(range(_REMOVE_ATTEMPTS)):
            try:
                for sandbox in await self.client.list_sandboxes():
                    await self.client.stop_sandbox(sandbox.id)
                    await self.client.remove_sandbox(sandbox.id)
                return
            except runtime.RuntimeCallError:
                if not attempts_left:
                    raise
                await asyncio.sleep(_REMOVE_RETRY_SECONDS)

    def clean(self) -> None:
        """Removes what is left below the directories: shims first, then mounts, then files. It must be stopped."""
        for pid in self._shims():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for folder in (self.config.root, self.config.state, self.config.socket.parent):
            unmount_below(folder)
            shutil.rmtree(folder, ignore_errors=True)

    def _shims(self) -> list[int]:
        """Shim processes whose command line names our own socket; anybody else's are left alone."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"containerd-shim" in arguments[0] and str(self.config.socket).encode() in arguments:
                found.append(int(entry.name))
        return found


@contextlib.asynccontextmanager
async def private_containerd(
    base: Path, name: str, pod_cidr: str, *, bridge: str, oci_runtime: str = "runc"
) -> AsyncIterator[PrivateContainerd]:
    """Runs while the block does, with the pause and demo images. ``pod_cidr`` must be free on this machine."""
    cni_bin_dir = preflight.cni_directory()
    if cni_bin_dir is None:
        raise ContainerdError("the standard CNI plugins are not installed")
    config = ContainerdConfig(
        file=base / "containerd.toml",
        root=base / "root",
        state=base / "state",
        socket=base / "run/containerd.sock",
        cni_bin_dir=cni_bin_dir,
        cni_conf_dir=base / "cni",
        hosts_dir=base / "registries",
        runtime=oci_runtime,
    )
    network = cni.CniConfig(
        instance=name, bridge=bridge, pod_cidr=pod_cidr, conf_dir=config.cni_conf_dir, data_dir=base / "ipam"
    )
    cni.setup(network)
    made = PrivateContainerd(config)
    await made.start()
    try:
        for image, archive in ((local.PAUSE_IMAGE, local.pause_image()), (local.DEMO_IMAGE, local.demo_image())):
            await ctr.import_archive(str(config.socket), [archive])
            # containerd's CRI hears of what was imported a moment later.
            while await made.client.image_status(image) is None:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.02)
        yield made
    finally:
        try:
            await made.remove_all_pods()
        finally:
            await made.client.close()
            await made.stop()
            made.clean()
            await cni.teardown(network)
