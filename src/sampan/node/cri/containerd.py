"""A containerd of one's own: its configuration and its process, private to one root directory.

Used by ``sampan up`` (through the cluster layer), the benchmarks and the tests. All state is below the directories
given, the CNI bridge has its own name, and ``clean`` removes what a containerd leaves behind (shims, mounts, network
namespaces), so several can run side by side and vanish without a trace. It never touches a containerd of the system.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from sampan.node import runtime
from sampan.node.cri.client import CriRuntime

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DISABLED = ("aufs", "btrfs", "devmapper", "zfs")

REMOVE_ATTEMPTS = 20
REMOVE_RETRY_SECONDS = 0.25


class ContainerdError(Exception):
    """containerd did not start; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerdConfig:
    root: Path
    state: Path
    sandbox_image: str
    cni_bin_dir: Path = Path("/usr/lib/cni")
    #: runc: crun refuses hybrid cgroups with controllers in the v2 hierarchy, and starts pods no faster here.
    oci_runtime: str = "runc"
    snapshotter: str = "overlayfs"
    #: Extra runtime handlers (RuntimeClass): name to OCI runtime program.
    handlers: Mapping[str, str] | None = None

    @property
    def address(self) -> Path:
        return self.state / "containerd.sock"

    @property
    def cni_conf_dir(self) -> Path:
        return self.root / "cni/net.d"

    @property
    def log(self) -> Path:
        return self.root / "containerd.log"


def render_config(config: ContainerdConfig) -> str:
    """containerd's config.toml (version 2, containerd 1.6)."""
    runtimes = {"default": config.oci_runtime, **(config.handlers or {})}
    disabled = ", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in _DISABLED)
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    text = f"""version = 2
root = "{config.root}/lib"
state = "{config.state}/run"
oom_score = 0
disabled_plugins = [{disabled}, "io.containerd.internal.v1.opt"]

[grpc]
  address = "{config.address}"

[{cri}]
  sandbox_image = "{config.sandbox_image}"
  # Without CAP_SYS_RESOURCE a lower score than our own is refused by the kernel.
  restrict_oom_score_adj = true
  disable_cgroup = false
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  enable_selinux = false
  max_concurrent_downloads = 6
  [{cri}.cni]
    bin_dir = "{config.cni_bin_dir}"
    conf_dir = "{config.cni_conf_dir}"
    max_conf_num = 1
  [{cri}.containerd]
    snapshotter = "{config.snapshotter}"
    default_runtime_name = "default"
"""
    for name, program in runtimes.items():
        text += f"""    [{cri}.containerd.runtimes.{name}]
      runtime_type = "io.containerd.runc.v2"
      [{cri}.containerd.runtimes.{name}.options]
        BinaryName = "{program}"
        SystemdCgroup = false
"""
    return text


def render_bridge_network(name: str, bridge: str, subnet: str, data_dir: Path) -> bytes:
    """A CNI configuration list: pods on a bridge, addresses from ``subnet``, no masquerading."""
    network = {
        "cniVersion": "0.4.0",
        "name": name,
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge,
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(data_dir),
                    "ranges": [[{"subnet": subnet}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }
    return orjson.dumps(network, option=orjson.OPT_INDENT_2)


class ContainerdProcess:
    """One containerd as a child process. ``start`` returns when CRI answers."""

    def __init__(self, config: ContainerdConfig) -> None:
        self.config = config
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self, timeout_seconds: float = 30) -> None:
        config = self.config
        for directory in (config.root, config.state, config.cni_conf_dir):
            directory.mkdir(parents=True, exist_ok=True)
        path = config.root / "config.toml"
        path.write_text(render_config(config))
        with config.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                "containerd", "--config", str(path), "--log-level", "warn",
                stdout=log, stderr=log, env={**os.environ, "PATH": _PATH}, start_new_session=True,
            )  # fmt: skip
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._wait_ready()
        except TimeoutError:
            await self.stop()
            raise ContainerdError(f"containerd does not answer: {self._log_tail()}") from None

    async def _wait_ready(self) -> None:
        assert self._process is not None
        client = CriRuntime(str(self.config.address))
        try:
            while True:
                if self._process.returncode is not None:
                    raise ContainerdError(f"containerd ended with {self._process.returncode}: {self._log_tail()}")
                try:
                    await client.version()
                    return
                except runtime.RuntimeCallError:
                    await asyncio.sleep(0.05)
        finally:
            await client.close()

    def _log_tail(self) -> str:
        return "\n".join(self.config.log.read_text(errors="replace").splitlines()[-5:])

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


async def remove_all_pods(client: runtime.Runtime) -> None:
    """Stops and removes every sandbox: what to do before an instance's containerd is thrown away.

    Raises RuntimeCallError when one stays. A container whose start was interrupted is refused for a moment.
    """
    for attempts_left in reversed(range(REMOVE_ATTEMPTS)):
        try:
            for sandbox in await client.list_sandboxes():
                await client.stop_sandbox(sandbox.id)
                await client.remove_sandbox(sandbox.id)
            return
        except runtime.RuntimeCallError:
            if not attempts_left:
                raise
            await asyncio.sleep(REMOVE_RETRY_SECONDS)


def clean(config: ContainerdConfig) -> None:
    """Removes what is left below the directories: shims first, then mounts, then files. containerd must be stopped."""
    for pid in _shims(config):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for mount_point in _mounts_below(config.root, config.state):
        _unmount(mount_point)
    shutil.rmtree(config.root, ignore_errors=True)
    shutil.rmtree(config.state, ignore_errors=True)


def _shims(config: ContainerdConfig) -> list[int]:
    """Shim processes whose command line names our own socket; anybody else's are left alone."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"containerd-shim" in arguments[0] and str(config.address).encode() in arguments:
            found.append(int(entry.name))
    return found


def _mounts_below(*directories: Path) -> list[str]:
    prefixes = tuple(f"{directory}/" for directory in directories)
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(prefixes)), key=len, reverse=True)


def _unmount(mount_point: str) -> None:
    import ctypes

    lazy = 2  # MNT_DETACH
    ctypes.CDLL(None, use_errno=True).umount2(mount_point.encode(), lazy)
