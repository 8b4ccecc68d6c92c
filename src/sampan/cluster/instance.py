"""One cluster instance on this machine: its settings and where everything of it lives.

Used by every other module of this package and by the CLI. Settings are written once, by the first ``sampan up``, and
read by every process of the instance; paths are derived, never stored. Everything that an instance leaves on a
machine carries its name, so that several run side by side and ``down --purge`` can remove one without a trace.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, TypeVar

import orjson

from sampan.cluster.endpoints import join_endpoint
from sampan.cluster.errors import ClusterError
from sampan.cluster.nodesettings import NodeSettings
from sampan.cluster.settings import DEFAULT_NAME, NAME, ClusterSettings
from sampan.records import dataclass

__all__ = ["DEFAULT_NAME", "ClusterSettings", "Instance", "NodeSettings", "load", "nameless", "names"]

#: Of clusters that run containers: root's.
SYSTEM_STATE_ROOT, SYSTEM_RUN_ROOT = Path("/var/lib/sampan"), Path("/run/sampan")


def roots(user: int, environment: Mapping[str, str]) -> tuple[Path, Path]:
    """Where the instances of a user live, and what is true of them only while they run. Anybody but root has simulated
    clusters alone. Both of his are in his home: what is below /run/user goes when he logs out, and they go on."""
    if user == 0:
        return SYSTEM_STATE_ROOT, SYSTEM_RUN_ROOT
    home = Path(environment.get("HOME") or "/")
    given = environment.get("XDG_STATE_HOME", "")
    state = (Path(given) if given.startswith("/") else home / ".local" / "state") / "sampan"
    return state, state / ".run"


STATE_ROOT, RUN_ROOT = roots(os.geteuid(), os.environ)

S = TypeVar("S", ClusterSettings, NodeSettings)


@dataclass(frozen=True, slots=True)
class Instance:
    """Settings of the cluster and of this machine; paths and names."""

    cluster: ClusterSettings
    state_root: Path = STATE_ROOT
    run_root: Path = RUN_ROOT
    node: NodeSettings = field(default_factory=NodeSettings)

    def validate(self) -> None:
        """Raises ClusterError for settings that cannot work, alone or together."""
        self.cluster.validate()
        self.node.validate(self.cluster)

    @property
    def name(self) -> str:
        return self.cluster.name

    @property
    def state(self) -> Path:
        return self.state_root / self.name

    @property
    def run(self) -> Path:
        return self.run_root / self.name

    @property
    def cluster_file(self) -> Path:
        """Its being there is what makes an instance: written last."""
        return self.state / "cluster.json"

    @property
    def node_file(self) -> Path:
        return self.state / "node.json"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def edge(self) -> Path:
        """The configuration of the program that serves Ingresses and Gateways."""
        return self.state / "edge"

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
        return self.cluster.bridge

    @property
    def cgroup(self) -> str:
        return f"/sampan-{self.name}"

    @property
    def context(self) -> str:
        """The name of the kubeconfig context, cluster and user."""
        return "sampan" if self.name == DEFAULT_NAME else f"sampan-{self.name}"

    @property
    def servers_file(self) -> Path:
        """The API servers of the cluster, as this machine knew them last (``cluster/servers.py``)."""
        return self.state / "servers.json"

    @property
    def api_host(self) -> str:
        """Where this machine reaches the API server."""
        return self.cluster.api_address or self._loopback

    @property
    def api_url(self) -> str:
        return self._url(self.api_host)

    @property
    def own_api_url(self) -> str:
        """Where the API server of this machine is, if it has one."""
        return self._url(self._loopback)

    @property
    def _loopback(self) -> str:
        return "127.0.0.1" if 4 in self.cluster.families else "::1"

    def _url(self, host: str) -> str:
        return f"https://{join_endpoint(host, self.cluster.api_port)}"

    @property
    def local_endpoint(self) -> str:
        """``host:port`` of this machine's own API server, as others reach it."""
        return join_endpoint(next(iter(self.node.addresses), self.api_host), self.cluster.api_port)

    @property
    def advertised(self) -> str:
        """``host:port`` at which machines of the cluster reach its API: all control planes, or this one."""
        host, port = self.cluster.endpoint or (
            self.cluster.api_address or next(iter(self.node.addresses), self.api_host),
            self.cluster.api_port,
        )
        return join_endpoint(host, port)

    def exists(self) -> bool:
        try:
            return self.cluster_file.exists()
        except PermissionError:  # `load` says so
            return False

    def save(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, settings in ((self.node_file, self.node), (self.cluster_file, self.cluster)):
            temporary = path.with_suffix(".tmp")
            temporary.write_bytes(orjson.dumps(dataclasses.asdict(settings), option=orjson.OPT_INDENT_2))
            temporary.rename(path)

    def command(self, verb: str) -> str:
        """``sampan up --name blue``, as a person would type it."""
        return f"sampan {verb}" if self.name == DEFAULT_NAME else f"sampan {verb} --name {self.name}"


def load(name: str = DEFAULT_NAME, *, state_root: Path = STATE_ROOT, run_root: Path = RUN_ROOT) -> Instance:
    """The instance as its first ``up`` made it. Raises ClusterError when there is none."""
    made = nameless(name, state_root=state_root, run_root=run_root)
    shared = _read(made, made.cluster_file)
    if shared is None and made.state_root != SYSTEM_STATE_ROOT and is_roots(name):
        raise ClusterError(f"cluster {name!r} of this machine is root's", fix="run as root (sudo)")
    if shared is None:
        raise ClusterError(f"there is no cluster {name!r} on this machine", fix=f"`{made.command('up')}` makes one")
    own = _read(made, made.node_file)
    if own is None:  # written before the two were apart
        own = {
            key.removeprefix("node_") if key in ("node_name", "node_address") else key: shared[key] for key in shared
        }
        own["name"] = shared.get("node_name", "")
    try:
        cluster = parse(ClusterSettings(name), shared)
        if cluster.name != name:
            raise ValueError(f"it is of cluster {cluster.name!r}")
    except ValueError as error:
        raise _damaged(made, made.cluster_file, error) from error
    try:
        node = parse(NodeSettings(), own)
    except ValueError as error:
        raise _damaged(made, made.node_file, error) from error
    return dataclasses.replace(made, cluster=cluster, node=node)


def _read(instance: Instance, path: Path) -> dict[str, Any] | None:
    """The object in a settings file; None: there is no file. Raises ClusterError."""
    try:
        data = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise ClusterError(f"cannot read {path}: {error.strerror}", fix="run as root (sudo)") from error
    except OSError as error:
        raise ClusterError(f"cannot read {path}: {error.strerror}", fix="see what is at that place") from error
    except ValueError as error:
        raise _damaged(instance, path, error) from error
    if not isinstance(data, dict):
        raise _damaged(instance, path, ValueError("it is not a JSON object"))
    return data


def _damaged(instance: Instance, path: Path, error: ValueError) -> ClusterError:
    return ClusterError(f"{path} is damaged: {error}", fix=f"`{instance.command('down')} --purge` and start anew")


def parse(defaults: S, data: dict[str, Any]) -> S:
    """Settings of a file; keys of other versions are left out. Raises ValueError for what is not of its type."""
    chosen: dict[str, Any] = {}
    for known in dataclasses.fields(defaults):
        if known.name not in data:
            continue
        value, default = data[known.name], getattr(defaults, known.name)
        if isinstance(default, tuple):
            of = type(default[0])
            if not isinstance(value, list) or any(type(item) is not of for item in value):
                raise ValueError(f"{known.name} is no list of {'numbers' if of is int else 'words'}")
            if of is int and len(value) != len(default):
                raise ValueError(f"{known.name} is not a pair of numbers")
            value = tuple(value)
        elif type(value) is not type(default):
            raise ValueError(f"{known.name} is no {'number' if isinstance(default, int) else 'text'}")
        chosen[known.name] = value
    return dataclasses.replace(defaults, **chosen)


def nameless(name: str, *, state_root: Path = STATE_ROOT, run_root: Path = RUN_ROOT) -> Instance:
    """An instance known by its name alone: enough to stop or remove what carries it. Raises ClusterError."""
    if not NAME.match(name):
        ClusterSettings(name).validate()
    return Instance(ClusterSettings(name), state_root, run_root)


def is_roots(name: str) -> bool:
    """Whether root has a cluster of this name, for somebody who is not root."""
    return os.geteuid() != 0 and (SYSTEM_STATE_ROOT / name).is_dir()


def names(state_root: Path = STATE_ROOT) -> list[str]:
    """The instances that exist on this machine, sorted."""
    if not state_root.is_dir():
        return []
    return sorted(path.parent.name for path in state_root.glob("*/cluster.json"))
