"""What a person asks of ``sampan join``: by options, or by a JoinConfiguration in a file. Pure but for reading it.

Source: the kubeadm.k8s.io/v1beta4 and v1beta3 JoinConfiguration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sampan.api import durations
from sampan.api.faults import fault
from sampan.cluster.errors import ClusterError, WrongUsage
from sampan.cluster.initializing import documents, fields
from sampan.records import dataclass

#: How long the cluster is looked for, and how long somebody may take to approve the node's certificate.
DISCOVERY_SECONDS, BOOTSTRAP_SECONDS = 30.0, 300.0
DEFAULT_PORT = 6443

_MOST_BYTES = 1 << 20
#: What nothing here acts on, by its path, and why that is no loss.
_IGNORED = {
    "nodeRegistration.criSocket": "the node has a containerd of its own",
    "nodeRegistration.imagePullPolicy": "the control plane runs without images",
    "nodeRegistration.imagePullSerial": "the control plane runs without images",
    "patches": "there are no static pods to patch",
    "caCertPath": "the CA lies with the instance",
    "timeouts.kubeletHealthCheck": "--timeout says how long the start may take",
    "timeouts.controlPlaneComponentHealthCheck": "--timeout says how long the start may take",
    "timeouts.kubernetesAPICall": "a question waits as long as the server takes",
    "timeouts.etcdAPICall": "--timeout says how long the start may take",
    "timeouts.upgradeManifests": "there are no static pods",
}
_ENDPOINT = re.compile(r"(?:https://)?(\[[0-9A-Fa-f:.]+\]|[^:/\[\]]+)(?::(\d{1,5}))?/?")


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The machine is to have an API server too. ``advertise_address`` "": the node's."""

    certificate_key: str = ""
    advertise_address: str = ""
    bind_port: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """``discovery_file``: a path or an https URL of a kubeconfig, instead of ``endpoint`` and ``token``."""

    endpoint: str = ""
    token: str = ""
    #: for the certificate alone; "": ``token``
    bootstrap_token: str = ""
    pins: tuple[str, ...] = ()
    unsafe: bool = False
    discovery_file: str = ""
    node_name: str = ""
    control_plane: ControlPlane | None = None
    #: names of checks, or "all"
    ignored: tuple[str, ...] = ()
    skipped_phases: tuple[str, ...] = ()
    #: of the Node; None: a control plane's, where it is one
    taints: tuple[Mapping[str, Any], ...] | None = None
    #: of the kubelet, by their names without dashes
    kubelet_args: tuple[tuple[str, str], ...] = ()
    dry_run: bool = False
    discovery_seconds: float = DISCOVERY_SECONDS
    bootstrap_seconds: float = BOOTSTRAP_SECONDS
    #: of the file, without effect here: what, and why
    without_effect: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises WrongUsage: there is nothing to find a cluster by, or too much."""
        if self.discovery_file and (self.endpoint or self.token):
            raise WrongUsage(
                "--discovery-file and an address with --token are two ways to find a cluster", fix="choose one of them"
            )
        if self.discovery_file:
            return
        if not self.endpoint:
            raise WrongUsage(
                "which cluster to join is not said",
                fix="`sampan join HOST:PORT --token T --discovery-token-ca-cert-hash sha256:H`, as "
                "`sampan token create --print-join-command` prints it where the control plane is",
            )
        if not self.token:
            raise WrongUsage(
                "--token is missing: it shows the cluster and this machine to each other",
                fix="`sampan token create --print-join-command`, where the control plane is, prints one",
            )
        parse_endpoint(self.endpoint)


def parse_endpoint(written: str) -> str:
    """``https://HOST:PORT``. Raises WrongUsage."""
    match = _ENDPOINT.fullmatch(written)
    if match is None or not 1 <= int(match[2] or DEFAULT_PORT) <= 65535:
        raise WrongUsage(f"{written!r} is no address of an API server", fix=f"write it like 192.0.2.1:{DEFAULT_PORT}")
    return f"https://{match[1]}:{match[2] or DEFAULT_PORT}"


def read(path: Path) -> Wanted:
    """The JoinConfiguration of a file; documents of other kinds are left alone. Raises ClusterError."""
    try:
        with path.open("rb") as file:
            written = file.read(_MOST_BYTES + 1)
        if len(written) > _MOST_BYTES:
            raise _wrong(path, "it is longer than 1 MiB")
        documents = list(yaml.safe_load_all(written))
    except OSError as error:
        raise ClusterError(f"cannot read the file of --config: {fault(error)}", fix="name another file") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _wrong(path, f"it is no YAML: {str(error).splitlines()[0]}") from error
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "JoinConfiguration":
            return parse(document, lambda said: _wrong(path, said))
    raise _wrong(path, "no kind JoinConfiguration is in it")


def _wrong(path: Path, said: str) -> ClusterError:
    return ClusterError(f"{path}: {said}", fix="`sampan config print join-defaults` shows one")


def parse(document: dict[str, Any], wrong: Callable[[str], ClusterError]) -> Wanted:
    """``wrong`` makes an error of what is the matter, which is raised."""
    version = str(document.get("apiVersion") or "")
    shape = fields.SHAPES.get((version, "JoinConfiguration"))
    if shape is None:
        known = " or ".join((fields.V1BETA3, fields.V1BETA4))
        raise wrong(f"apiVersion {version!r} is not known: it has to be {known}")
    try:
        fields.check(document, shape)
    except fields.Fault as error:
        raise wrong(str(error)) from None
    reading = _Reading(document, wrong)
    node = reading.at("nodeRegistration")
    control_plane = None
    if document.get("controlPlane") is not None:
        control_plane = ControlPlane(
            reading.text("controlPlane", "certificateKey"),
            reading.text("controlPlane.localAPIEndpoint", "advertiseAddress"),
            reading.number("controlPlane.localAPIEndpoint", "bindPort"),
        )
    bootstrap_token = reading.text("discovery", "tlsBootstrapToken")
    return Wanted(
        endpoint=reading.text("discovery.bootstrapToken", "apiServerEndpoint"),
        token=reading.text("discovery.bootstrapToken", "token")
        or (bootstrap_token if not reading.at("discovery.file") else ""),
        bootstrap_token=bootstrap_token,
        pins=reading.texts("discovery.bootstrapToken", "caCertHashes"),
        unsafe=reading.at("discovery.bootstrapToken").get("unsafeSkipCAVerification") is True,
        discovery_file=reading.text("discovery.file", "kubeConfigPath"),
        node_name=reading.text("nodeRegistration", "name"),
        control_plane=control_plane,
        ignored=reading.texts("nodeRegistration", "ignorePreflightErrors"),
        skipped_phases=reading.texts("", "skipPhases"),
        taints=None if node.get("taints") is None else tuple(node["taints"]),
        kubelet_args=documents.arguments(node.get("kubeletExtraArgs")),
        dry_run=document.get("dryRun") is True,
        discovery_seconds=reading.seconds(
            "timeouts", "discovery", reading.seconds("discovery", "timeout", DISCOVERY_SECONDS)
        ),
        bootstrap_seconds=reading.seconds("timeouts", "tlsBootstrap", BOOTSTRAP_SECONDS),
        without_effect=tuple(f"{where}: {why}" for where, why in _IGNORED.items() if reading.has(where)),
    )


class _Reading:
    """Fields by the path of what holds them; ``fields`` has looked at their types."""

    def __init__(self, document: dict[str, Any], wrong: Callable[[str], ClusterError]) -> None:
        self._document, self._wrong = document, wrong

    def at(self, where: str) -> dict[str, Any]:
        found: dict[str, Any] = self._document
        for name in filter(None, where.split(".")):
            found = found.get(name) or {}
        return found

    def has(self, path: str) -> bool:
        where, _, name = path.rpartition(".")
        return bool(self.at(where).get(name))

    def text(self, where: str, name: str) -> str:
        return str(self.at(where).get(name) or "")

    def texts(self, where: str, name: str) -> tuple[str, ...]:
        return tuple(self.at(where).get(name) or ())

    def number(self, where: str, name: str) -> int:
        value: int = self.at(where).get(name) or 0
        if not 0 <= value <= 65535:
            raise self._wrong(f"{where}.{name} is no port")
        return value

    def seconds(self, where: str, name: str, default: float) -> float:
        value = self.at(where).get(name)
        return default if value is None else durations.parse(value) or default


def listed(options: Sequence[str]) -> tuple[str, ...]:
    """Of options that may come again and hold several each, separated by commas."""
    return tuple(part.strip() for text in options for part in text.split(",") if part.strip())
