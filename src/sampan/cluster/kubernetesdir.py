"""/etc/kubernetes as kubeadm lays it out, for an instance that ``init`` or ``join`` made.

Certificates and keys with kubeadm's names *are* in its pki directory: the instance's own names are links to them, so
that there is one truth, whoever replaces a file. What else the instance has (a node's keys) stays in its state. The
kubeconfigs are written anew from the certificates each time these change. ``remove`` takes away what this module puts
there, by name, and nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sampan.client.kubeconfig import Connection, KubeConfig, KubeConfigError
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import DEFAULT_NAME, SYSTEM_STATE_ROOT, Instance
from sampan.records import dataclass

DEFAULT = Path("/etc/kubernetes")
#: Below the pki directory, kubeadm's names of what a control plane has.
FILES = (
    "ca.crt", "ca.key", "apiserver.crt", "apiserver.key", "apiserver-kubelet-client.crt",
    "apiserver-kubelet-client.key", "front-proxy-ca.crt", "front-proxy-ca.key", "front-proxy-client.crt",
    "front-proxy-client.key", "sa.key", "sa.pub", "apiserver-etcd-client.crt", "apiserver-etcd-client.key",
)  # fmt: skip
#: of the members of etcd: a directory as a whole
ETCD = "etcd"
ETCD_FILES = tuple(
    f"{stem}.{part}" for stem in ("ca", "server", "peer", "healthcheck-client") for part in ("crt", "key")
)
#: what a machine without a control plane has there
NODE_FILES = ("ca.crt",)
ADMIN, SUPER_ADMIN, KUBELET = "admin.conf", "super-admin.conf", "kubelet.conf"
CONTROLLER_MANAGER, SCHEDULER = "controller-manager.conf", "scheduler.conf"
CLUSTER_NAME = "kubernetes"


@dataclass(frozen=True, slots=True)
class Config:
    """One kubeconfig: its user, the stem of the certificate it carries, and whether it goes to this machine's own API
    server (kubeadm's controllers and scheduler) or to all of them."""

    file: str
    user: str
    stem: str
    local: bool = False


CONFIGS = (
    Config(ADMIN, "kubernetes-admin", "admin"),
    Config(SUPER_ADMIN, "kubernetes-super-admin", "super-admin"),
    Config(CONTROLLER_MANAGER, "system:kube-controller-manager", "controller-manager", local=True),
    Config(SCHEDULER, "system:kube-scheduler", "scheduler", local=True),
)


def default_directory(instance: Instance) -> Path:
    """/etc/kubernetes is the default cluster's; others have theirs in their state."""
    if instance.name == DEFAULT_NAME and instance.state_root == SYSTEM_STATE_ROOT:
        return DEFAULT
    return instance.state / "kubernetes"


def directory(instance: Instance) -> Path | None:
    return Path(instance.node.kubernetes_dir) if instance.node.kubernetes_dir else None


def pki_directory(instance: Instance) -> Path:
    """Where kubeadm's names are; the instance's own directory where there is no /etc/kubernetes."""
    if instance.node.cert_dir:
        return Path(instance.node.cert_dir)
    place = directory(instance)
    return place / "pki" if place is not None else instance.pki


def link_pki(instance: Instance) -> None:
    """Before certificates are made: they are written where the links lead. Raises OSError."""
    if not instance.node.kubernetes_dir:
        return
    place = pki_directory(instance)
    place.mkdir(parents=True, exist_ok=True, mode=0o755)
    instance.pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    names = FILES if instance.node.runs_control_plane else NODE_FILES
    if instance.node.runs_control_plane:
        (place / ETCD).mkdir(exist_ok=True, mode=0o755)
    for name in (*names, *((ETCD,) if instance.node.runs_control_plane else ())):
        own, there = instance.pki / name, place / name
        if own.is_symlink() or own.resolve() == there:
            continue
        if own.is_dir():  # of an instance that ``up`` made: its members' keys move
            for path in own.iterdir():
                path.replace(there / path.name)
            own.rmdir()
        elif own.exists():
            there.touch(mode=0o600)
            there.chmod(own.stat().st_mode & 0o777)  # of a file that was there already, too: it may be a key
            there.write_bytes(own.read_bytes())
            own.unlink()
        own.symlink_to(there)


def configs(instance: Instance) -> tuple[Config, ...]:
    """The kubeconfigs that this machine has there."""
    kubelet = Config(KUBELET, f"system:node:{instance.node.name}", "kubelet-client")
    mine = CONFIGS if instance.node.runs_control_plane else ()
    return (*mine, *((kubelet,) if instance.node.runs_containers else ()))


def write_kubeconfigs(instance: Instance, only: str = "") -> list[Path]:
    """``only``: the name of one file. Raises OSError."""
    place = directory(instance)
    written = []
    for config in configs(instance) if place is not None else ():
        if only and config.file != only:
            continue
        assert place is not None
        path = place / config.file
        kubeconfig(instance, config).write(path)
        written.append(path)
    return written


def kubeconfig(instance: Instance, config: Config) -> KubeConfig:
    """Raises OSError: its certificate is not there."""
    local = config.local and instance.node.addresses
    server = f"https://{instance.local_endpoint if local else instance.advertised}"
    identity = Connection(
        server,
        ca_pem=(instance.pki / "ca.crt").read_bytes(),
        client_certificate_pem=(instance.pki / f"{config.stem}.crt").read_bytes(),
        client_key_pem=(instance.pki / f"{config.stem}.key").read_bytes(),
    )
    return KubeConfig.build(CLUSTER_NAME, config.user, identity)


def foreign(place: Path, ca: Path) -> Iterator[Path]:
    """Kubeconfigs of a control plane that are there, and do not trust the CA that is: another cluster's."""
    try:
        own = ca.read_bytes().strip()
    except OSError:
        own = b""
    for file in (ADMIN, SUPER_ADMIN, KUBELET, CONTROLLER_MANAGER, SCHEDULER):
        path = place / file
        try:
            trusted = KubeConfig.load(path).connection().ca_pem.strip() if path.exists() else None
        except KubeConfigError:
            trusted = b""
        if trusted is not None and (not own or trusted != own):
            yield path


def left(place: Path, pki: Path) -> Iterator[Path]:
    """What of this module's files is there."""
    named = [place / name for name in (ADMIN, SUPER_ADMIN, KUBELET, CONTROLLER_MANAGER, SCHEDULER)]
    named += [place / "bootstrap-kubelet.conf"]
    named += [pki / name for name in FILES] + [pki / ETCD / name for name in ETCD_FILES]
    for path in named:
        if path.is_symlink() or path.exists():
            yield path


def remove(instance: Instance) -> list[Path]:
    """What was taken away. Directories go when nothing else is in them. Raises ClusterError."""
    place = directory(instance)
    if place is None:
        return []
    pki = pki_directory(instance)
    gone = []
    try:
        for path in left(place, pki):
            path.unlink(missing_ok=True)
            gone.append(path)
    except OSError as error:
        raise ClusterError(f"cannot remove {error.filename}: {error.strerror}", fix="remove it by hand") from error
    for folder in (pki / ETCD, pki, place / "manifests", place):
        with contextlib.suppress(OSError):  # not there, or somebody else's files are in it
            folder.rmdir()
    return gone
