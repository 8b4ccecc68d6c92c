"""What a person asks of ``init``: kubeadm's InitConfiguration and ClusterConfiguration as one value.

Made of flags, or of the documents of ``--config`` (``documents``). ``options`` says what of it are options of
``sampan up``, which the settings of an instance are made of; ``words`` names what nothing here acts on. Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from sampan import KUBERNETES_VERSION
from sampan.api import durations
from sampan.cluster.errors import ClusterError
from sampan.cluster.initializing import kubeletflags
from sampan.cluster.initializing.kubeletflags import Registration
from sampan.cluster.initializing.tokens import DEFAULT_DESCRIPTION, DEFAULT_TTL_SECONDS, NODE_GROUP, USAGES
from sampan.cluster.settings import ClusterSettings
from sampan.records import dataclass

API_PORT = 6443
IMAGE_REPOSITORY = "registry.k8s.io"
DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class TokenWish:
    """``token`` "": one is generated."""

    token: str = ""
    ttl_seconds: float = DEFAULT_TTL_SECONDS
    usages: tuple[str, ...] = USAGES
    groups: tuple[str, ...] = (NODE_GROUP,)
    description: str = DEFAULT_DESCRIPTION


@dataclass(frozen=True, slots=True)
class Configuration:
    """Defaults are kubeadm's where it has any. Extra arguments are by the name of a flag, without dashes."""

    node_name: str = ""
    advertise_address: str = ""
    #: 0: kubeadm's, or the next where another cluster of this machine has that
    bind_port: int = 0
    cri_socket: str = ""
    #: None: those of a control plane
    taints: tuple[Mapping[str, str], ...] | None = None
    certificate_key: str = ""
    skip_phases: tuple[str, ...] = ()
    ignored_checks: tuple[str, ...] = ()
    tokens: tuple[TokenWish, ...] = (TokenWish(),)
    patches: str = ""
    dry_run: bool = False
    cluster_name: str = "kubernetes"
    control_plane_endpoint: str = ""
    cert_sans: tuple[str, ...] = ()
    cert_dir: str = ""
    service_subnet: str = ""
    pod_subnet: str = ""
    dns_domain: str = DOMAIN
    kubernetes_version: str = ""
    image_repository: str = IMAGE_REPOSITORY
    certificate_seconds: float = 365 * 24 * 3600.0
    ca_certificate_seconds: float = 3650 * 24 * 3600.0
    #: of the CAs' keys: RSA, as kubeadm's, for instructions show their hash by ``openssl rsa``
    encryption_algorithm: str = "RSA-2048"
    #: ``sqlite``, ``etcd``, or ``etcd://host:port,...``
    store: str = ""
    #: files of an etcd that is not this cluster's: CA, certificate, key
    etcd_files: tuple[str, str, str] = ("", "", "")
    api_server_args: tuple[tuple[str, str], ...] = ()
    controller_manager_args: tuple[tuple[str, str], ...] = ()
    kubelet_args: tuple[tuple[str, str], ...] = ()
    feature_gates: tuple[tuple[str, bool], ...] = ()
    #: a KubeletConfiguration and a KubeProxyConfiguration, as they were given
    kubelet: Mapping[str, Any] = field(default_factory=dict)
    proxy: Mapping[str, Any] = field(default_factory=dict)
    #: fields that were given and that nothing acts on, by their paths
    idle: tuple[str, ...] = ()


#: Flags of the API server and the controller manager that options of ``up`` say.
_API_SERVER = {
    "enable-admission-plugins": "--enable-admission-plugins",
    "disable-admission-plugins": "--disable-admission-plugins",
    "admission-control-config-file": "--admission-control-config-file",
    "runtime-config": "--runtime-config",
    "feature-gates": "--feature-gates",
}
_AUTOSCALER = {
    "horizontal-pod-autoscaler-sync-period": durations.parse,
    "horizontal-pod-autoscaler-downscale-stabilization": durations.parse,
    "horizontal-pod-autoscaler-cpu-initialization-period": durations.parse,
    "horizontal-pod-autoscaler-initial-readiness-delay": durations.parse,
    "horizontal-pod-autoscaler-tolerance": float,
}
_MASKS = {
    "node-cidr-mask-size": "--node-cidr-mask",
    "node-cidr-mask-size-ipv4": "--node-cidr-mask",
    "node-cidr-mask-size-ipv6": "--node-cidr-mask-ipv6",
}


def options(wanted: Configuration) -> dict[str, Any]:
    """What was asked for as options of ``sampan up``. Raises ClusterError."""
    found: dict[str, Any] = {"--api-port": wanted.bind_port} if wanted.bind_port else {}
    for option, value in (
        ("--node-name", wanted.node_name),
        ("--node-address", wanted.advertise_address),
        ("--pod-cidr", wanted.pod_subnet),
        ("--service-cidr", wanted.service_subnet),
    ):
        if value:
            found[option] = value
    for name, value in wanted.api_server_args:
        if name in _API_SERVER:
            found[_API_SERVER[name]] = value
        elif name == "service-node-port-range":
            found["--node-port-range"] = _range(value)
    for name, value in wanted.controller_manager_args:
        if name in _MASKS:
            found[_MASKS[name]] = _number(f"controllerManager.extraArgs.{name}", value, int)
        elif name in _AUTOSCALER:
            found[f"--{name}"] = _number(f"controllerManager.extraArgs.{name}", value, _AUTOSCALER[name])
    found |= _registered(wanted).options
    if wanted.node_name:  # as the file has it, whatever a flag of the kubelet says
        found["--node-name"] = wanted.node_name
    found |= _store(wanted)
    mode = wanted.proxy.get("mode")
    if mode:
        found["--proxy-mode"] = str(mode)
    ipvs = wanted.proxy.get("ipvs")
    if isinstance(ipvs, Mapping) and ipvs.get("scheduler"):
        found["--ipvs-scheduler"] = str(ipvs["scheduler"])
    if addresses := wanted.proxy.get("nodePortAddresses"):
        found["--nodeport-addresses"] = ",".join(map(str, addresses))
    return found


#: What ``init`` calls options of ``up``.
_FLAGS = {
    "--node-address": "--apiserver-advertise-address",
    "--api-port": "--apiserver-bind-port",
    "--pod-cidr": "--pod-network-cidr",
}


def in_flags(text: str) -> str:
    """A message of ``up`` in the flags that were typed."""
    for option, flag in _FLAGS.items():
        text = text.replace(option, flag)
    return text


def families(wanted: Configuration) -> tuple[int, ...]:
    """Where no range says which: that of the advertised address, as kubeadm has it."""
    if wanted.pod_subnet or wanted.service_subnet or ":" not in wanted.advertise_address:
        return ()
    return (6,)


def _store(wanted: Configuration) -> dict[str, Any]:
    """Members of etcd that Sampan runs, where nobody says otherwise: others can join then. Raises ClusterError."""
    kind, _, endpoints = wanted.store.partition("://")
    if kind not in ("", "etcd", "sqlite") or (endpoints and kind != "etcd"):
        raise ClusterError(
            f"--store {wanted.store!r} is not known", fix="choose etcd, etcd://HOST:PORT[,HOST:PORT...] or sqlite"
        )
    if not endpoints:
        return {"--store": kind or "etcd"}
    files = zip(("--etcd-cafile", "--etcd-certfile", "--etcd-keyfile"), wanted.etcd_files, strict=True)
    return {"--store": "etcd", "--etcd-servers": endpoints} | {option: path for option, path in files if path}


def _registered(wanted: Configuration) -> Registration:
    """Raises ClusterError."""
    return kubeletflags.registration(wanted.kubelet_args, document=wanted.kubelet)


def kubelet_document(wanted: Configuration) -> dict[str, Any]:
    """The KubeletConfiguration of this machine's node; {}: there is nothing in it. Raises ClusterError."""
    fields = _registered(wanted).fields
    return kubeletflags.merged(wanted.kubelet, fields) if wanted.kubelet or fields else {}


def settings(wanted: Configuration, base: ClusterSettings) -> ClusterSettings:
    """What no option of ``up`` says."""
    return dataclasses.replace(
        base,
        cluster_domain=wanted.dns_domain,
        control_plane_endpoint=wanted.control_plane_endpoint,
        cert_sans=",".join(wanted.cert_sans),
        certificate_seconds=wanted.certificate_seconds,
        ca_certificate_seconds=wanted.ca_certificate_seconds,
        encryption_algorithm=wanted.encryption_algorithm,
    )


def words(wanted: Configuration) -> list[str]:
    """Of what was given, what nothing here acts on, and why. Raises ClusterError for a release that is not this one."""
    told = []
    if wanted.cri_socket:
        told.append(f"--cri-socket {wanted.cri_socket}: each node has a containerd of its own")
    if wanted.image_repository != IMAGE_REPOSITORY:
        told.append(
            f"--image-repository {wanted.image_repository}: no image is needed for the control plane; for pods' images "
            "set a mirror (docs/images.md)"
        )
    if wanted.patches:
        told.append(f"--patches {wanted.patches}: there are no manifests of static pods to patch")
    if wanted.feature_gates:
        named = ",".join(f"{name}={str(on).lower()}" for name, on in wanted.feature_gates)
        told.append(f"--feature-gates {named}: kubeadm's own gates; those of the API server are its extraArgs")
    known = {
        "apiServer": {*_API_SERVER, "service-node-port-range"},
        "controllerManager": {*_MASKS, *_AUTOSCALER},
    }
    for where, given in (
        ("apiServer", wanted.api_server_args),
        ("controllerManager", wanted.controller_manager_args),
    ):
        told += [f"{where}: nothing acts on --{name}" for name, _ in given if name not in known[where]]
    told += [f"kubeletExtraArgs: nothing acts on --{name}" for name in _registered(wanted).idle]
    told += [f"{path}: nothing acts on it" for path in wanted.idle]
    check_version(wanted.kubernetes_version)
    return told


def check_version(version: str) -> None:
    """Raises ClusterError for a release that this is not: ``stable`` and other labels are this one."""
    text = version.removeprefix("v")
    if not text or not text[0].isdigit():
        return
    own = KUBERNETES_VERSION.split(".")[:2]
    if text.split(".")[:2] != own:
        raise ClusterError(
            f"--kubernetes-version {version}: this is Kubernetes v{KUBERNETES_VERSION}",
            fix=f"leave it out, or give v{'.'.join(own)}.0",
        )


def _range(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    if not dash or not low.isdigit() or not high.isdigit():
        raise ClusterError(f"service-node-port-range {text!r} is not valid", fix="write it like 30000-32767")
    return int(low), int(high)


def _number(where: str, text: str, of: Any) -> Any:
    try:
        return of(text)
    except ValueError as error:
        raise ClusterError(
            f"{where}: {text!r} is not valid: {error}", fix="see the controller manager's flags"
        ) from None
