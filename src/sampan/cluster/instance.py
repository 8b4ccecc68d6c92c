"""One cluster instance on this machine: its settings and where everything of it lives.

Used by every other module of this package and by the CLI. The settings are written once, by the first ``sampan up``,
and read by every process of the instance; paths are derived, never stored. Everything that an instance leaves on a
machine carries its name, so that several run side by side and ``down --purge`` can remove one without a trace.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

import orjson

from sampan.cluster.errors import ClusterError

DEFAULT_NAME = "default"
#: A name becomes part of an interface (15 characters at most), a cgroup, an nftables table and socket paths.
NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$")

STATE_ROOT = Path("/var/lib/sampan")
RUN_ROOT = Path("/run/sampan")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may choose when the instance is made. Ports and ranges must be free on the machine."""

    name: str = DEFAULT_NAME
    api_port: int = 6443
    kubelet_port: int = 10250
    dns_port: int = 10053
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    node_ports: tuple[int, int] = (30000, 32767)
    cluster_domain: str = "cluster.local"
    node_name: str = ""
    node_address: str = ""
    runtime: str = "runc"

    def validate(self) -> None:
        """Raises ClusterError for settings that cannot work together."""
        if not NAME.match(self.name):
            raise ClusterError(
                f"instance name {self.name!r} is not valid",
                fix="use at most 10 lower-case letters, digits and dashes, starting and ending with a letter or digit",
            )
        try:
            pods, services = (ipaddress.IPv4Network(cidr) for cidr in (self.pod_cidr, self.service_cidr))
        except ValueError as error:
            raise ClusterError(f"address range is not valid: {error}", fix="write it like 10.244.0.0/16") from error
        if pods.overlaps(services):
            raise ClusterError(
                f"pod range {pods} and service range {services} overlap", fix="choose two ranges that do not"
            )
        if pods.prefixlen > 24 or services.prefixlen > 28:
            raise ClusterError("the pod range must be a /24 or larger, the service range a /28 or larger")
        low, high = self.node_ports
        if not 1 <= low <= high <= 65535:
            raise ClusterError(f"node port range {low}-{high} is not valid", fix="write it like 30000-32767")

    @property
    def dns_ip(self) -> str:
        """The tenth address of the service range, as kubeadm has it."""
        return str(ipaddress.IPv4Network(self.service_cidr)[10])

    @property
    def kubernetes_ip(self) -> str:
        """The first address of the service range: the ``kubernetes`` Service."""
        return str(ipaddress.IPv4Network(self.service_cidr)[1])

    @property
    def node_pod_cidr(self) -> str:
        """The range of this, the first, node."""
        return str(next(ipaddress.IPv4Network(self.pod_cidr).subnets(new_prefix=24)))


@dataclass(frozen=True, slots=True)
class Instance:
    """Paths and names of one instance."""

    settings: Settings
    state_root: Path = STATE_ROOT
    run_root: Path = RUN_ROOT

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def state(self) -> Path:
        return self.state_root / self.name

    @property
    def run(self) -> Path:
        return self.run_root / self.name

    @property
    def settings_file(self) -> Path:
        return self.state / "cluster.json"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def store(self) -> Path:
        return self.state / "store"

    @property
    def kubelet_root(self) -> Path:
        return self.state / "kubelet"

    @property
    def pod_logs(self) -> Path:
        return self.state / "pods"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.state / "admin.conf"

    @property
    def containerd_root(self) -> Path:
        return self.state / "containerd"

    @property
    def containerd_state(self) -> Path:
        return self.run / "containerd"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def cni_conf(self) -> Path:
        return self.state / "cni" / "net.d"

    @property
    def cni_data(self) -> Path:
        return self.state / "cni" / "data"

    @property
    def status_file(self) -> Path:
        """Written by the supervisor: the pid, restarts and readiness of each process."""
        return self.run / "status.json"

    @property
    def lock_file(self) -> Path:
        return self.run / "supervisor.lock"

    @property
    def bridge(self) -> str:
        return "sampan0" if self.name == DEFAULT_NAME else f"sam-{self.name}"

    @property
    def cgroup(self) -> str:
        return f"/sampan-{self.name}"

    @property
    def context(self) -> str:
        """The name of the kubeconfig context, cluster and user."""
        return "sampan" if self.name == DEFAULT_NAME else f"sampan-{self.name}"

    @property
    def api_url(self) -> str:
        return f"https://127.0.0.1:{self.settings.api_port}"

    def exists(self) -> bool:
        return self.settings_file.exists()

    def save(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        data = dataclasses.asdict(self.settings)
        temporary = self.settings_file.with_suffix(".tmp")
        temporary.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
        temporary.rename(self.settings_file)


def load(name: str = DEFAULT_NAME, *, state_root: Path = STATE_ROOT, run_root: Path = RUN_ROOT) -> Instance:
    """The instance as its first ``up`` made it. Raises ClusterError when there is none."""
    if not NAME.match(name):
        Settings(name=name).validate()
    path = state_root / name / "cluster.json"
    try:
        data = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise ClusterError(f"there is no cluster {name!r} on this machine", fix=_up_command(name)) from None
    except PermissionError as error:
        raise ClusterError(f"cannot read {path}: {error.strerror}", fix="run as root (sudo)") from error
    except orjson.JSONDecodeError as error:
        raise ClusterError(
            f"{path} is damaged: {error}", fix=f"`sampan down --purge --name {name}` and start anew"
        ) from error
    data["node_ports"] = tuple(data["node_ports"])
    known = {field.name for field in dataclasses.fields(Settings)}
    return Instance(Settings(**{key: value for key, value in data.items() if key in known}), state_root, run_root)


def names(state_root: Path = STATE_ROOT) -> list[str]:
    """The instances that exist on this machine, sorted."""
    if not state_root.is_dir():
        return []
    return sorted(path.parent.name for path in state_root.glob("*/cluster.json"))


def _up_command(name: str) -> str:
    return "`sampan up` makes one" if name == DEFAULT_NAME else f"`sampan up --name {name}` makes one"
