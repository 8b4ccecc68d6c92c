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
#: RFC 1123 subdomain, as a Node must be named.
NODE_NAME = re.compile(r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")
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
    #: As given by ``--node-address``; empty: looked up again at every ``up``, since machines move between networks.
    given_address: str = ""
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
        self._validate_ports()
        self._validate_node()

    def _validate_ports(self) -> None:
        ports = {"--api-port": self.api_port, "--kubelet-port": self.kubelet_port, "--dns-port": self.dns_port}
        for option, port in ports.items():
            if not 1 <= port <= 65535:
                raise ClusterError(f"{option} {port} is not a port", fix="choose one from 1 to 65535")
            if self.node_ports[0] <= port <= self.node_ports[1]:
                raise ClusterError(
                    f"{option} {port} is inside the node port range", fix="choose a port outside of --node-port-range"
                )
        if len(set(ports.values())) < len(ports):
            raise ClusterError(f"{', '.join(ports)} must differ", fix="give each a port of its own")

    def _validate_node(self) -> None:
        """Both are empty until the machine has been asked."""
        if self.node_name and not NODE_NAME.match(self.node_name):
            raise ClusterError(
                f"node name {self.node_name!r} is not valid",
                fix="use lower-case letters, digits, dashes and dots, starting and ending with a letter or digit",
            )
        if self.node_address:
            try:
                ipaddress.IPv4Address(self.node_address)
            except ValueError as error:
                raise ClusterError(
                    f"node address {self.node_address!r} is not an IPv4 address", fix="write it like 192.0.2.10"
                ) from error

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
        """Held by the supervisor as long as it lives."""
        return self.run / "supervisor.lock"

    @property
    def change_lock_file(self) -> Path:
        """Held by ``up`` and ``down`` while they change the instance. Outside of what ``--purge`` removes."""
        return self.run_root / f"{self.name}.lock"

    @property
    def merged_kubeconfigs_file(self) -> Path:
        """Which kubeconfig files of users have the context: ``--purge`` takes it out of them again."""
        return self.state / "kubeconfigs.json"

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
        try:
            return self.settings_file.exists()
        except PermissionError:  # `load` says so
            return False

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
        return Instance(parse_settings(name, path.read_bytes()), state_root, run_root)
    except FileNotFoundError:
        raise ClusterError(f"there is no cluster {name!r} on this machine", fix=_up_command(name)) from None
    except PermissionError as error:
        raise ClusterError(f"cannot read {path}: {error.strerror}", fix="run as root (sudo)") from error
    except OSError as error:
        raise ClusterError(f"cannot read {path}: {error.strerror}", fix="see what is at that place") from error
    except ValueError as error:
        raise ClusterError(
            f"{path} is damaged: {error}", fix=f"`sampan down --purge --name {name}` and start anew"
        ) from error


def parse_settings(name: str, content: bytes) -> Settings:
    """The settings in a ``cluster.json``; keys of other versions are left out. Raises ValueError for a damaged one."""
    data = orjson.loads(content)
    if not isinstance(data, dict):
        raise ValueError("it is not a JSON object")
    chosen = {}
    for known in dataclasses.fields(Settings):
        if known.name not in data:
            continue
        value, default = data[known.name], known.default
        if known.name == "node_ports":
            if not (isinstance(value, list) and len(value) == 2 and all(isinstance(port, int) for port in value)):
                raise ValueError("node_ports is not a pair of numbers")
            value = tuple(value)
        elif type(value) is not type(default):
            raise ValueError(f"{known.name} is {value!r}")
        chosen[known.name] = value
    settings = Settings(**chosen)
    if settings.name != name:
        raise ValueError(f"it is of cluster {settings.name!r}")
    return settings


def nameless(name: str, *, state_root: Path = STATE_ROOT, run_root: Path = RUN_ROOT) -> Instance:
    """An instance known by its name alone: enough to stop or remove what carries it. Raises ClusterError."""
    settings = Settings(name=name)
    settings.validate()
    return Instance(settings, state_root, run_root)


def names(state_root: Path = STATE_ROOT) -> list[str]:
    """The instances that exist on this machine, sorted."""
    if not state_root.is_dir():
        return []
    return sorted(path.parent.name for path in state_root.glob("*/cluster.json"))


def _up_command(name: str) -> str:
    return "`sampan up` makes one" if name == DEFAULT_NAME else f"`sampan up --name {name}` makes one"
