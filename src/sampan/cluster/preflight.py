"""What this machine must have before a cluster can run on it, and how to get what is missing.

Each check is a small function that returns a ``Problem`` or None; all of them run, so that a person sees everything
at once. Nothing is changed here.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from sampan.cluster.instance import Instance
from sampan.network import cni
from sampan.records import dataclass

CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
#: Bits of what mounts, network namespaces and rules need (capability.h).
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
#: Where the pause image is built from.
PAUSE_PROGRAMS = (Path("/usr/bin/catatonit"), Path("/usr/libexec/podman/catatonit"))
#: What eviction keeps free of images' file system (``imagefs.available``).
_FREE_DISK_PERCENT = 15
CNI_PLUGINS = ("bridge", "host-local", "loopback", "bandwidth")


@dataclass(frozen=True, slots=True)
class Problem:
    """``what`` is wrong; ``fix`` says how to mend it. ``fatal`` False: the cluster runs, but something is lost.
    ``name``: kubeadm's of the check, by which ``init`` and ``join`` ignore it."""

    what: str
    fix: str
    fatal: bool = True
    name: str = "SystemVerification"


def check(instance: Instance, *, running: bool = False) -> list[Problem]:
    """Every problem found. ``running``: the instance is already up, so its own ports are rightly taken."""
    problems: list[Problem] = []
    if instance.node.runs_containers:
        problems = [
            *_system(),
            *_rights(),
            *_programs(instance),
            *_kernel(),
            *_switches(),
            *_disk(instance),
            *_settings(instance),
        ]
    if instance.node.runs_etcd:
        problems.extend(_etcd(instance))
    if not running:
        problems.extend(_ports(instance))
    return problems


def _disk(instance: Instance) -> Iterable[Problem]:
    """The node would say DiskPressure at once, and take no pods."""
    if instance.node.kubelet_config:
        return  # which says itself when the disk is too full
    place = _existing(instance.state)
    usage = shutil.disk_usage(place)
    if usage.free < usage.total * _FREE_DISK_PERCENT / 100:
        yield Problem(
            f"only {usage.free * 100 // usage.total} % of the disk below {place} are free: the node will have "
            "DiskPressure and take no pods",
            f"free {_FREE_DISK_PERCENT} %, or give other thresholds with --kubelet-config (docs/node.md)",
            fatal=False,
            name="Disk",
        )


def _settings(instance: Instance) -> Iterable[Problem]:
    """What the node's agent would not begin with: more kept for others than there is, what this machine has not, or
    what an agent before has left of another machine."""
    if not instance.node.kubelet_config:
        return
    from sampan.node import fitness
    from sampan.node.config import NodeConfig
    from sampan.node.kubeletconfig import reading
    from sampan.node.kubeletconfig.settings import apply
    from sampan.node.numa import read_cells
    from sampan.node.processors import read_topology

    config = NodeConfig(node_name=instance.node.name, addresses=(), root_dir=instance.kubelet_root)
    topology, memory_bytes = read_topology(), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        fitness.check(
            apply(config, reading.load(Path(instance.node.kubelet_config))),
            topology,
            read_cells(memory_bytes, topology.cpus),
            cpus_there=os.cpu_count() or 1,
            memory_bytes=memory_bytes,
            disk_bytes=shutil.disk_usage(_existing(instance.state)).total,
            read=_content,
        )
    except ValueError as error:
        yield Problem(str(error), "change the file of --kubelet-config; docs/node.md says what fits")


def _existing(directory: Path) -> Path:
    return next(path for path in (directory, *directory.parents) if path.exists())


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""  # the agent says what is wrong with it


def cni_directory() -> Path | None:
    """Where the standard CNI plugins are installed; None when a needed one is missing."""
    for directory in CNI_DIRECTORIES:
        if all(os.access(directory / plugin, os.X_OK) for plugin in CNI_PLUGINS):
            return directory
    return None


def _system() -> Iterable[Problem]:
    if sys.platform != "linux":
        yield Problem(f"this is {sys.platform}, and containers need Linux", "run Sampan on a Linux machine")
    if os.geteuid() != 0:
        yield Problem(
            "not running as root",
            "run `sudo sampan up`: containers, cgroups and nftables need root; "
            "`sampan up --simulate 3` runs nothing and does not",
            name="IsPrivilegedUser",
        )


def _rights(status: Path = Path("/proc/self/status")) -> Iterable[Problem]:
    """Root of a container may lack what root of a machine has: it shows only when the first pod starts, then."""
    if os.geteuid() != 0 or not status.exists():
        return
    held = next(
        (int(line.split()[1], 16) for line in status.read_text().splitlines() if line.startswith("CapEff:")), -1
    )
    missing = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    if missing:
        yield Problem(
            f"root lacks {', '.join(missing)} here",
            "run it on the machine itself, or in a privileged container",
            name="IsPrivilegedUser",
        )


def _programs(instance: Instance) -> Iterable[Problem]:
    packages = {"containerd": "containerd", "ctr": "containerd", "nft": "nftables", "ip": "iproute2"}
    # containerd starts it by name for every pod; runc and crun share it.
    packages["containerd-shim-runc-v2"] = "containerd"
    packages[instance.node.runtime] = instance.node.runtime
    missing = [program for program in packages if _find(program) is None]
    if missing:
        names = " ".join(sorted({packages[program] for program in missing}))
        name = "CRI" if "containerd" in missing else f"FileExisting-{missing[0]}"
        yield Problem(f"not installed: {', '.join(missing)}", f"apt-get install -y {names}", name=name)
    if instance.node.proxy_mode != "nftables":
        # Most machines never load it.
        from sampan.network.proxy import modes

        lacking = modes.missing(instance.node.proxy_mode)
        if lacking is not None:
            yield Problem(lacking.what, lacking.fix, name=f"FileExisting-{instance.node.proxy_mode}")
    if instance.cluster.pod_network_backend in ("vxlan", "wireguard") and not instance.node.cni_conf_dir:
        from sampan.network.routes.missing import missing as tunnel_missing

        needed = tunnel_missing(instance.cluster.pod_network_backend)
        if needed is not None:
            yield Problem(needed.what, needed.fix, name=f"FileExisting-{instance.cluster.pod_network_backend}")
    if cni_directory() is None:
        yield Problem(
            f"the CNI plugins {', '.join(CNI_PLUGINS)} are not in {' or '.join(map(str, CNI_DIRECTORIES))}",
            "apt-get install -y containernetworking-plugins",
            name="FileExisting-cni",
        )
    if not any(os.access(place, os.X_OK) for place in PAUSE_PROGRAMS):
        yield Problem(
            "not installed: catatonit (the pause container is built of it)",
            "apt-get install -y catatonit",
            name="FileExisting-catatonit",
        )


def _etcd(instance: Instance) -> Iterable[Problem]:
    from sampan.cluster.etcd import member

    if member.program(instance) is None:
        wanted = instance.node.etcd_program
        yield Problem(
            f"{wanted} is no program (--etcd-program)" if wanted else f"not installed: {member.PROGRAM}",
            f"apt-get install -y --no-install-recommends {member.PACKAGE}, or name another etcd with --etcd-program",
            name="FileExisting-etcd",
        )


def _find(program: str) -> str | None:
    """Where it is in PATH and root's directories; what is there and cannot be executed does not count."""
    found = shutil.which(program)
    beside = shutil.which("containerd") if program.startswith("containerd-shim") else None
    if found is None and beside is not None:  # containerd looks beside itself too
        found = shutil.which(program, path=str(Path(beside).parent))
    return found


def _kernel() -> Iterable[Problem]:
    filesystems = Path("/proc/filesystems").read_text() if Path("/proc/filesystems").exists() else ""
    if "overlay" not in filesystems:
        yield Problem("the kernel has no overlay file system", "modprobe overlay, or use a kernel built with it")
    if not any(Path("/sys/fs/cgroup").glob("*")):
        yield Problem("no cgroups are mounted at /sys/fs/cgroup", "mount -t cgroup2 none /sys/fs/cgroup")
    if Path("/proc/swaps").exists() and len(Path("/proc/swaps").read_text().splitlines()) > 1:
        yield Problem("swap is on: memory limits are softer than they look", "swapoff -a", fatal=False, name="Swap")


def _switches(root: Path = Path("/proc/sys")) -> Iterable[Problem]:
    """Kernel switches that the pod network turns on: found here, and not when the first pod has no network."""
    for name, value in cni.SYSCTLS.items():
        switch = root / name
        if switch.exists() and switch.read_text().strip() != value and not os.access(switch, os.W_OK):
            dotted = name.replace("/", ".")
            yield Problem(
                f"{dotted} is {switch.read_text().strip()} and cannot be changed from here",
                f"sysctl -w {dotted}={value}, where the machine's own /proc/sys can be written",
                name=f"FileContent--proc-sys-{name.replace('/', '-')}",
            )


def _ports(instance: Instance) -> Iterable[Problem]:
    options = {
        instance.cluster.api_port: "--api-port",
        instance.node.kubelet_port: "--kubelet-port",
        instance.node.dns_port: "--dns-port",
    }
    if not instance.node.runs_containers:
        del options[instance.node.dns_port]
    if instance.node.runs_etcd:
        options |= {
            instance.node.etcd_client_port: "--etcd-client-port",
            instance.node.etcd_peer_port: "--etcd-peer-port",
        }
    if instance.node.etcd_endpoint:
        options[instance.node.etcd_endpoint_port] = "--etcd-endpoint"
        yield from _endpoint_address(instance.node.etcd_endpoint)
    for port, option in options.items():
        if not _port_is_free(port):
            yield Problem(
                f"port {port} is taken by another program",
                f"stop it, or choose another with {option}",
                name=f"Port-{port}",
            )


def _endpoint_address(listen: str) -> Iterable[Problem]:
    host = listen.rpartition(":")[0].strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                yield Problem(
                    f"--etcd-endpoint: {host} is no address of this machine",
                    "give one that it has (`ip address`); 127.0.0.1 is for this machine alone",
                    name="EtcdEndpoint",
                )


def _port_is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True
