"""What a person chooses for a cluster: what all its machines must agree on.

Apart from what is true of one machine (``nodesettings``), for the two have different lives: every machine of a cluster
has the same ``ClusterSettings``. They are written by the first ``sampan up`` and read by every process; nothing here
touches the machine. ``validate`` raises ClusterError, naming the option that a person would change.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from sampan.cluster import componentchecks, endpoints, ranges
from sampan.cluster.errors import ClusterError
from sampan.records import dataclass

DEFAULT_NAME = "default"
#: A name becomes part of files, sockets (108 characters with their directory), a cgroup, an nftables table, a unit.
NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")
#: RFC 1123 subdomain, as a Node must be named.
NODE_NAME = re.compile(r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")
#: What the kernel allows for an interface (IFNAMSIZ, less the final NUL).
INTERFACE_CHARACTERS = 15

_LONGEST_SYNC_SECONDS = 3600.0
#: of what autoscalers remember, or wait for: they remember a number for each look
_LONGEST_AUTOSCALER_SECONDS = 24 * 3600.0

STORES = ("sqlite", "etcd")
#: How pods reach those of other nodes (``network/routes``).
POD_NETWORK_BACKENDS = ("auto", "host-gw", "vxlan", "wireguard", "none")
#: Shorter ones would be renewed all the time; beyond the longest, dates of certificates end.
SHORTEST_CERTIFICATE_SECONDS, LONGEST_CERTIFICATE_SECONDS = 60.0, 100 * 365 * 24 * 3600.0
ENCRYPTION_ALGORITHMS = ("ECDSA-P256", "ECDSA-P384", "RSA-2048", "RSA-3072", "RSA-4096")


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """What all machines of a cluster must agree on."""

    name: str = DEFAULT_NAME
    #: Where machines without the control plane reach it; "": it is on this machine.
    api_address: str = ""
    api_port: int = 6443
    #: Ranges are one, or one of each family with a comma between: the first one's is the cluster's first family.
    pod_cidr: str = "10.244.0.0/14"
    #: How much of ``pod_cidr`` a node gets: 24 of a /14 are 1,024 nodes of 253 pods at most.
    node_cidr_mask: int = 24
    node_cidr_mask_ipv6: int = 64
    service_cidr: str = "10.96.0.0/16"
    #: Tunnels need both ends: all machines have the same.
    pod_network_backend: str = "auto"
    node_ports: tuple[int, int] = (30000, 32767)
    cluster_domain: str = "cluster.local"
    #: ``sqlite``: a file beside one control plane. ``etcd``: members that Sampan runs, or those of ``etcd_endpoints``.
    store: str = "sqlite"
    #: Of an etcd that others run: ``host:port``, separated by commas; and paths of its CA and of our certificate there.
    etcd_endpoints: str = ""
    etcd_cafile: str = ""
    etcd_certfile: str = ""
    etcd_keyfile: str = ""
    etcd_prefix: str = "/registry"
    #: Separated by commas, as the API server's flags have them.
    enable_admission_plugins: str = ""
    disable_admission_plugins: str = ""
    #: Path of an AdmissionConfiguration file; "": there is none.
    admission_config: str = ""
    #: a file with a KubeSchedulerConfiguration
    scheduler_config: str = ""
    #: Python files with plug-ins, separated by commas
    scheduler_plugins: str = ""
    #: How HorizontalPodAutoscalers are followed: ``--horizontal-pod-autoscaler-sync-period`` and its kin.
    autoscaler_sync_seconds: float = 15.0
    autoscaler_downscale_stabilization_seconds: float = 300.0
    autoscaler_tolerance: float = 0.1
    autoscaler_cpu_initialization_seconds: float = 300.0
    autoscaler_initial_readiness_seconds: float = 30.0
    #: Which versions and resources are served, and with which features; as the API server's flags have them.
    runtime_config: str = ""
    feature_gates: str = ""
    #: The definitions of the Gateway API are installed.
    gateway_api: bool = True
    #: Names of classes, separated by commas, whose Ingresses are served though no IngressClass has them.
    ingress_classes: str = ""
    #: Ranges of addresses for LoadBalancers of class ``sampan.io/l2``, separated by commas; "": none given.
    loadbalancer_pool: str = ""
    #: ``host`` or ``host:port`` at which all control planes are reached; "": the first one's own address.
    control_plane_endpoint: str = ""
    #: Further names and addresses in the API servers' certificates, separated by commas.
    cert_sans: str = ""
    #: How long certificates are valid, and the CAs that sign them (kubeadm's ``certificateValidityPeriod`` ...).
    certificate_seconds: float = 365 * 24 * 3600.0
    ca_certificate_seconds: float = 3650 * 24 * 3600.0
    #: Of the keys of CAs that are made, as kubeadm names them. What they sign for has ECDSA P-256 keys always.
    encryption_algorithm: str = "ECDSA-P256"

    def validate(self) -> None:
        if not NAME.match(self.name):
            raise ClusterError(
                f"instance name {self.name!r} is not valid",
                fix="use at most 40 lower-case letters, digits and dashes, starting and ending with a letter or digit",
            )
        ranges.validate(self.pod_cidr, self.service_cidr, {4: self.node_cidr_mask, 6: self.node_cidr_mask_ipv6})
        low, high = self.node_ports
        if not 1 <= low <= high <= 65535:
            raise ClusterError(f"node port range {low}-{high} is not valid", fix="write it like 30000-32767")
        endpoints.check_ports({"--api-port": self.api_port}, self.node_ports)
        if not NODE_NAME.match(self.cluster_domain):
            raise ClusterError(
                f"cluster domain {self.cluster_domain!r} is not valid", fix="write it like cluster.local"
            )
        if not 0 < self.autoscaler_sync_seconds <= _LONGEST_SYNC_SECONDS:
            raise ClusterError(
                "--horizontal-pod-autoscaler-sync-period must be more than 0 and at most 1h", fix="write it like 15s"
            )
        for option, seconds in (
            ("downscale-stabilization", self.autoscaler_downscale_stabilization_seconds),
            ("cpu-initialization-period", self.autoscaler_cpu_initialization_seconds),
            ("initial-readiness-delay", self.autoscaler_initial_readiness_seconds),
        ):
            if not 0 <= seconds <= _LONGEST_AUTOSCALER_SECONDS:
                raise ClusterError(f"--horizontal-pod-autoscaler-{option} must be at most 24h", fix="write it like 5m")
        if not 0 <= self.autoscaler_tolerance <= 1:
            raise ClusterError(
                f"--horizontal-pod-autoscaler-tolerance {self.autoscaler_tolerance} is not from 0 to 1",
                fix="write it like 0.1",
            )
        if self.pod_network_backend not in POD_NETWORK_BACKENDS:
            raise ClusterError(
                f"--pod-network-backend {self.pod_network_backend} is not known",
                fix=f"choose of {', '.join(POD_NETWORK_BACKENDS)}",
            )
        if self.loadbalancer_pool:
            componentchecks.check_loadbalancer_pool(self.loadbalancer_pool)
        self._validate_certificates()
        if self.store != "sqlite" or self.etcd_endpoints:
            self._validate_store()
        if self.enable_admission_plugins or self.disable_admission_plugins:
            componentchecks.check_admission_plugins(*self.admission_plugins)
        if self.admission_config:
            componentchecks.check_admission_config(self.admission_config)
        if self.scheduler_config or self.scheduler_plugins:
            componentchecks.check_scheduler(self.scheduler_config, self.scheduler_plugin_files)
        if self.runtime_config or self.feature_gates:
            componentchecks.check_enablement(self.runtime_config, self.feature_gates)

    def _validate_certificates(self) -> None:
        if not SHORTEST_CERTIFICATE_SECONDS <= self.certificate_seconds <= self.ca_certificate_seconds:
            raise ClusterError(
                "certificateValidityPeriod must be at least a minute, and at most caCertificateValidityPeriod",
                fix="write them like 8760h and 87600h",
            )
        if self.ca_certificate_seconds > LONGEST_CERTIFICATE_SECONDS:
            raise ClusterError("caCertificateValidityPeriod must be at most 100 years", fix="write it like 87600h")
        if self.encryption_algorithm not in ENCRYPTION_ALGORITHMS:
            raise ClusterError(
                f"encryptionAlgorithm {self.encryption_algorithm!r} is not known",
                fix=f"choose of {', '.join(ENCRYPTION_ALGORITHMS)}",
            )
        if self.control_plane_endpoint:
            endpoints.split_endpoint(self.control_plane_endpoint, self.api_port)
        for name in self.extra_sans:
            if not endpoints.is_host(name):
                raise ClusterError(
                    f"{name!r} is neither a DNS name nor an address (--apiserver-cert-extra-sans)",
                    fix="name such as api.example.com,192.0.2.7",
                )

    @property
    def extra_sans(self) -> tuple[str, ...]:
        named = filter(None, (name.strip() for name in self.cert_sans.split(",")))
        return tuple(str(ipaddress.ip_address(name)) if endpoints.is_address(name) else name for name in named)

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Host and port of all control planes together; None: there is no such address."""
        return (
            endpoints.split_endpoint(self.control_plane_endpoint, self.api_port)
            if self.control_plane_endpoint
            else None
        )

    def _validate_store(self) -> None:
        if self.store not in STORES:
            raise ClusterError(
                f"--store {self.store!r} is not known", fix="choose sqlite, etcd, or etcd://HOST:PORT[,HOST:PORT...]"
            )
        if self.etcd_endpoints:
            componentchecks.check_etcd_endpoints(self.etcd_endpoints)
        if bool(self.etcd_certfile) != bool(self.etcd_keyfile):
            raise ClusterError(
                "a client certificate for etcd needs its key", fix="give both --etcd-certfile and --etcd-keyfile"
            )
        for option in ("etcd_cafile", "etcd_certfile", "etcd_keyfile"):
            path = getattr(self, option)
            if path and not self.etcd_endpoints:
                raise ClusterError(
                    f"--{option.replace('_', '-')} is for an etcd that others run",
                    fix="name it with --store etcd://HOST:PORT, or leave the option out",
                )
            if path and not Path(path).is_file():
                raise ClusterError(f"--{option.replace('_', '-')} {path} is no file", fix="put the certificate there")
        if not self.etcd_prefix.startswith("/") or self.etcd_prefix == "/":
            raise ClusterError(f"--etcd-prefix {self.etcd_prefix!r} is not valid", fix="write it like /registry")

    @property
    def manages_etcd(self) -> bool:
        """The members of the store are machines of the cluster."""
        return self.store == "etcd" and not self.etcd_endpoints

    @property
    def scheduler_plugin_files(self) -> list[Path]:
        return [Path(name) for name in self.scheduler_plugins.split(",") if name]

    @property
    def ignored_scheduler_settings(self) -> tuple[str, ...]:
        """What of the file is accepted and does not act."""
        if not self.scheduler_config:
            return ()
        from sampan.scheduler.configuration import reading

        loaded = reading.load(Path(self.scheduler_config))
        apart = {"leaderElection": loaded.leader_election, "clientConnection": loaded.client_connection}
        return (*loaded.warnings, *(f"{name} is for `sampan scheduler` alone" for name, told in apart.items() if told))

    @property
    def admission_plugins(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Those that are switched on, and off."""
        on, off = (
            tuple(filter(None, (name.strip() for name in listed.split(","))))
            for listed in (self.enable_admission_plugins, self.disable_admission_plugins)
        )
        return on, off

    @property
    def pod_ranges(self) -> tuple[ranges.Network, ...]:
        """The cluster's first family first."""
        return ranges.read(self.pod_cidr)

    @property
    def families(self) -> tuple[int, ...]:
        """4, 6 or both: the first one first."""
        return tuple(network.version for network in self.pod_ranges)

    @property
    def dns_ips(self) -> tuple[str, ...]:
        """The tenth address of each service range, as kubeadm has it."""
        return tuple(str(network[10]) for network in ranges.read(self.service_cidr))

    @property
    def kubernetes_ip(self) -> str:
        """The first address of the first service range: the ``kubernetes`` Service."""
        return str(ranges.read(self.service_cidr)[0][1])

    @property
    def bridge(self) -> str:
        """The interface of a node's pods."""
        return "sampan0" if self.name == DEFAULT_NAME else _interface("sam-", self.name)

    @property
    def overlay(self) -> str:
        """The interface of tunnels to other nodes."""
        return "sampan-x" if self.name == DEFAULT_NAME else _interface("samx-", self.name)


def _interface(prefix: str, name: str) -> str:
    """A name too long for an interface is cut and told apart by its hash."""
    whole = prefix + name
    if len(whole) < INTERFACE_CHARACTERS:
        return whole
    import hashlib

    # A character longer than any whole name: the two can never be the same.
    cut = name[: INTERFACE_CHARACTERS - len(prefix) - 6]
    return f"{prefix}{cut}{hashlib.sha256(name.encode()).hexdigest()[:6]}"
