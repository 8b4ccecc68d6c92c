"""The one containerd configuration: what ``sampan up`` runs is what the tests and the benchmarks run.

Pure but for ``detect`` and ``write``, and of the standard library alone: the supervisor, which always runs, needs it
too. A containerd of the system is never touched: this one has its own root, state and socket.
"""

from __future__ import annotations

from pathlib import Path

from sampan.records import dataclass

#: the image of sandboxes; built from Debian's catatonit by ``sampan.node.images.local``
PAUSE_IMAGE = "sampan.local/pause:1"

#: Bit 24 of a capability set: CAP_SYS_RESOURCE (capability.h).
_CAP_SYS_RESOURCE = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What this machine lets a containerd do."""

    lower_oom_scores: bool
    apparmor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerdConfig:
    """Where everything of one containerd is. ``file``: this configuration. ``hosts_dir``: registries' hosts.toml."""

    file: Path
    root: Path
    state: Path
    socket: Path
    cni_bin_dir: Path
    cni_conf_dir: Path
    hosts_dir: Path
    #: runc: crun refuses hybrid cgroups with controllers in the v2 hierarchy, and starts pods no faster here.
    runtime: str = "runc"


def detect() -> Abilities:
    return Abilities(
        lower_oom_scores=_has_sys_resource(),
        apparmor=Path("/sys/kernel/security/apparmor").exists(),
    )


def _has_sys_resource() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) & _CAP_SYS_RESOURCE)
    return True


def command(config: ContainerdConfig) -> tuple[str, ...]:
    return ("containerd", "--config", str(config.file))


def write(config: ContainerdConfig) -> None:
    """Raises OSError."""
    config.root.mkdir(parents=True, exist_ok=True)
    config.cni_conf_dir.mkdir(parents=True, exist_ok=True)
    config.file.write_text(render(config, detect()))


def render(config: ContainerdConfig, abilities: Abilities) -> str:
    """The TOML, in the second version of the format: containerd 1.6 knows no later one, later ones still read it."""
    return _CONFIG.format(
        root=config.root,
        state=config.state,
        socket=config.socket,
        pause=PAUSE_IMAGE,
        restrict=_bool(not abilities.lower_oom_scores),
        no_apparmor=_bool(not abilities.apparmor),
        cni_bin=config.cni_bin_dir,
        cni_conf=config.cni_conf_dir,
        runtime=config.runtime,
        hosts=config.hosts_dir,
    )


def _bool(value: bool) -> str:
    return "true" if value else "false"


_CONFIG = """\
# Written by Sampan at every start; changes here are lost.
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
    config_path = "{hosts}"
"""
