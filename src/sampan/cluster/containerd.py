"""The instance's own containerd: its configuration and the images it needs before the first pod.

The machine's containerd, if it has one, is never touched: this one has its own root, state and socket.
``ctr`` is used for imports, which CRI has no call for.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.cluster.preflight import cni_directory

_CONFIG = """\
# Written by `sampan up` at every start; changes here are lost.
version = 2
root = "{root}"
state = "{state}"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
  address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE a lower oom_score_adj than the parent's is refused, and no sandbox starts.
  restrict_oom_score_adj = {restrict}
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  enable_selinux = false
  disable_apparmor = {no_apparmor}
  netns_mounts_under_state_dir = true
  # One layer for every image: the events of a pull are quick on few cores.
  max_concurrent_downloads = 3

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_bin}"
    conf_dir = "{cni_conf}"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "{runtime}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun.options]
        BinaryName = "crun"
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{certs}"
"""

#: Bit 24 of a capability set: CAP_SYS_RESOURCE (capability.h).
_CAP_SYS_RESOURCE = 1 << 24


def render_config(instance: Instance) -> str:
    """The TOML of this instance. Reads what this machine can do (capabilities, AppArmor)."""
    # Imported late: the supervisor, which always runs, needs this module but not the code that builds images.
    from sampan.node.images.local import PAUSE_IMAGE

    return _CONFIG.format(
        root=instance.containerd_root,
        state=instance.containerd_state,
        socket=instance.containerd_socket,
        pause=PAUSE_IMAGE,
        restrict="false" if _has_sys_resource() else "true",
        no_apparmor="false" if Path("/sys/kernel/security/apparmor").exists() else "true",
        cni_bin=cni_directory() or "/opt/cni/bin",
        cni_conf=instance.cni_conf,
        runtime=instance.node.runtime,
        certs=instance.state / "registries",
    )


def config_file(instance: Instance) -> Path:
    return instance.state / "containerd.toml"


def write_config(instance: Instance) -> None:
    instance.containerd_root.mkdir(parents=True, exist_ok=True)
    instance.cni_conf.mkdir(parents=True, exist_ok=True)
    config_file(instance).write_text(render_config(instance))


def _has_sys_resource() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) & _CAP_SYS_RESOURCE)
    return True


async def ctr(instance: Instance, *arguments: str) -> str:
    """Runs ``ctr`` in the namespace that CRI uses. Raises ClusterError with what it said."""
    process = await asyncio.create_subprocess_exec(
        "ctr",
        "--address",
        str(instance.containerd_socket),
        "--namespace",
        "k8s.io",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
    )
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode:
        words = err.decode(errors="replace").strip().splitlines()
        raise ClusterError(f"ctr {arguments[0]} {arguments[1]}: {words[-1] if words else 'failed'}")
    return out.decode(errors="replace")


async def import_image(instance: Instance, archive: Path) -> list[str]:
    """Imports an OCI or docker archive; returns the image names in it, as containerd knows them."""
    said = await ctr(instance, "images", "import", "--all-platforms", str(archive))
    names = [line.split()[1] for line in said.splitlines() if line.startswith("unpacking ")]
    if not names:
        raise ClusterError(f"{archive} holds no named image", fix="save it with a name: `docker save -o FILE NAME:TAG`")
    return names
