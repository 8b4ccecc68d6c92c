"""The instance's own containerd, in the words of ``sampan.node.cri``: where its parts are, and how it is started.

The supervisor, which always runs, imports this: it stays small.
"""

from __future__ import annotations

from pathlib import Path

from sampan.cluster.instance import Instance
from sampan.cluster.preflight import cni_directory
from sampan.node.cri import containerd


def config(instance: Instance) -> containerd.ContainerdConfig:
    return containerd.ContainerdConfig(
        file=config_file(instance),
        root=instance.containerd_root,
        state=instance.containerd_state,
        socket=instance.containerd_socket,
        cni_bin_dir=cni_directory() or Path("/opt/cni/bin"),
        cni_conf_dir=Path(instance.node.cni_conf_dir) if instance.node.cni_conf_dir else instance.cni_conf,
        hosts_dir=hosts_dir(instance),
        runtime=instance.node.runtime,
    )


def config_file(instance: Instance) -> Path:
    return instance.state / "containerd.toml"


def hosts_dir(instance: Instance) -> Path:
    """A folder for each registry that has mirrors or certificates of its own, with a ``hosts.toml`` in it."""
    return instance.state / "registries"


def write_config(instance: Instance) -> None:
    """Raises OSError."""
    hosts_dir(instance).mkdir(parents=True, exist_ok=True)
    containerd.write(config(instance))


def command(instance: Instance) -> tuple[str, ...]:
    return containerd.command(config(instance))
