"""What a person chooses for a cluster, and for one machine of it.

Kept apart because they have different lives: every machine of a cluster has the same ``ClusterSettings``, and each its
own ``NodeSettings``. Both are written by the first ``sampan up`` and read by every process; nothing here touches the
machine. ``validate`` raises ClusterError, naming the option that a person would change.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from pathlib import Path
from typing import Literal

from sampan.cluster import ranges
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

#: ``control-plane``: API server, controllers, scheduler. ``node``: containers, their network, DNS. ``etcd``: a member
#: of the cluster's store, where that is etcd and Sampan runs it.
Role = Literal["control-plane", "node", "etcd"]
ROLES: tuple[Role, ...] = ("control-plane", "node")
ALL_ROLES: tuple[Role, ...] = (*ROLES, "etcd")
STORES = ("sqlite", "etcd")
RUNTIMES = ("runc", "crun")
#: What makes Services real (``network/proxy/modes.py``).
PROXY_MODES = ("nftables", "iptables", "ipvs", "userspace")
#: How pods reach those of other nodes (``network/routes``).
POD_NETWORK_BACKENDS = ("auto", "host-gw", "vxlan", "wireguard", "none")


#: Shorter ones would be renewed all the time; beyond the longest, dates of certificates end.
SHORTEST_CERTIFICATE_SECONDS, LONGEST_CERTIFICATE_SECONDS = 60.0, 100 * 365 * 24 * 3600.0
ENCRYPTION_ALGORITHMS = ("ECDSA-P256", "ECDSA-P384", "RSA-2048", "RSA-3072", "RSA-4096")
_SAN = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def split_endpoint(text: str, port: int) -> tuple[str, int]:
    """``host:port``, ``host``, ``[v6]:port`` or ``v6``; ``port`` when none is given. Raises ClusterError."""
    matched = re.fullmatch(r"(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?", text)
    host, given = (matched[1] or matched[2], matched[3]) if matched else (text, None)
    found = int(given) if given else port
    if not (_SAN.fullmatch(host) or _is_address(host)) or not 1 <= found <= 65535:
        raise ClusterError(
            f"--control-plane-endpoint {text!r} is not a host and a port", fix="write it like api.example.com:6443"
        )
    return host, found


def join_endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


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
        _validate_ports({"--api-port": self.api_port}, self.node_ports)
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
        self._validate_pool()
        self._validate_certificates()
        if self.store != "sqlite" or self.etcd_endpoints:
            self._validate_store()
        if self.enable_admission_plugins or self.disable_admission_plugins:
            self._validate_admission()
        if self.admission_config:
            self._validate_admission_config()
        if self.scheduler_config or self.scheduler_plugins:
            self._validate_scheduler()
        if self.runtime_config or self.feature_gates:
            self._validate_enablement()

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
            split_endpoint(self.control_plane_endpoint, self.api_port)
        for name in self.extra_sans:
            if not _SAN.fullmatch(name) and not _is_address(name):
                raise ClusterError(
                    f"{name!r} is neither a DNS name nor an address (--apiserver-cert-extra-sans)",
                    fix="name such as api.example.com,192.0.2.7",
                )

    @property
    def extra_sans(self) -> tuple[str, ...]:
        named = filter(None, (name.strip() for name in self.cert_sans.split(",")))
        return tuple(str(ipaddress.ip_address(name)) if _is_address(name) else name for name in named)

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Host and port of all control planes together; None: there is no such address."""
        return split_endpoint(self.control_plane_endpoint, self.api_port) if self.control_plane_endpoint else None

    def _validate_store(self) -> None:
        if self.store not in STORES:
            raise ClusterError(
                f"--store {self.store!r} is not known", fix="choose sqlite, etcd, or etcd://HOST:PORT[,HOST:PORT...]"
            )
        from sampan.store.etcd.settings import parse_endpoints

        try:
            if self.etcd_endpoints:
                parse_endpoints(self.etcd_endpoints)
        except ValueError as error:
            raise ClusterError(f"--store: {error}", fix="write it like etcd://192.0.2.1:2379,192.0.2.2:2379") from error
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

    def _validate_pool(self) -> None:
        if not self.loadbalancer_pool:
            return
        from sampan.api import loadbalancing

        for text in self.loadbalancer_pool.split(","):
            try:
                loadbalancing.parse_range(text.strip())
            except ValueError as error:
                raise ClusterError(
                    f"--loadbalancer-pool: {error}", fix="write ranges like 192.0.2.10-192.0.2.20,2001:db8::100/124"
                ) from error

    def _validate_admission(self) -> None:
        # Imported where they are needed: every process of a cluster reads its settings, the smallest too.
        from sampan.server.admission import names

        try:
            names.check(*self.admission_plugins)
        except ValueError as error:
            text = str(error)
            if text.endswith("overlapped"):  # a fact of two flags, not of one
                raise ClusterError(text, fix="name each plugin in one of them") from error
            raise ClusterError(f"--{text}", fix=f"choose of {', '.join(sorted(names.ALL))}") from error

    def _validate_admission_config(self) -> None:
        from sampan.server.admission import configuration

        try:
            configuration.load(Path(self.admission_config))
        except ValueError as error:
            raise ClusterError(
                f"--admission-control-config-file: {error}", fix="mend the file; docs/admission.md shows one"
            ) from error

    @property
    def scheduler_plugin_files(self) -> list[Path]:
        return [Path(name) for name in self.scheduler_plugins.split(",") if name]

    def _validate_scheduler(self) -> None:
        from sampan.scheduler import loading
        from sampan.scheduler.config import SchedulerConfig
        from sampan.scheduler.configuration import reading
        from sampan.scheduler.configuration.fields import BadConfiguration

        try:
            path = self.scheduler_config
            config = reading.load(Path(path)).scheduler if path else SchedulerConfig()
        except BadConfiguration as error:
            raise ClusterError(
                f"--scheduler-config: {self.scheduler_config}: {error}",
                fix="mend the file; docs/scheduler.md shows one",
            ) from error
        try:
            loading.with_files(loading.with_entry_points(config), loading.load_files(self.scheduler_plugin_files))
        except loading.BadPlugin as error:
            raise ClusterError(
                f"--scheduler-plugins: {error}", fix="mend the plug-in; docs/scheduler.md shows one"
            ) from error

    @property
    def ignored_scheduler_settings(self) -> tuple[str, ...]:
        """What of the file is accepted and does not act."""
        if not self.scheduler_config:
            return ()
        from sampan.scheduler.configuration import reading

        loaded = reading.load(Path(self.scheduler_config))
        apart = {"leaderElection": loaded.leader_election, "clientConnection": loaded.client_connection}
        return (*loaded.warnings, *(f"{name} is for `sampan scheduler` alone" for name, told in apart.items() if told))

    def _validate_enablement(self) -> None:
        from sampan.api import enablement
        from sampan.api.features import Features
        from sampan.api.registry import registry

        try:
            features = Features.parse(self.feature_gates)
        except ValueError as error:
            raise ClusterError(
                f"--feature-gates: {error}", fix="write it like A=true,B=false, with names of Kubernetes v1.37"
            ) from error
        try:
            enablement.served(registry(), self.runtime_config, features)
        except ValueError as error:
            raise ClusterError(
                f"--runtime-config: {error}", fix="write it like api/beta=false,batch/v1/jobs=false"
            ) from error

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


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What is true of one machine. ``name`` and ``address`` are empty until the machine has been asked."""

    name: str = ""
    #: As given by ``--node-address``, one of each family at most with a comma between; empty: looked up again at every
    #: ``up``, since machines move between networks.
    given_address: str = ""
    address: str = ""
    kubelet_port: int = 10250
    dns_port: int = 10053
    #: Whether Ingresses and Gateways are served here, and at which ports; nothing listens before there is one.
    ingress: bool = True
    ingress_http_port: int = 80
    ingress_https_port: int = 443
    runtime: str = "runc"
    #: Where others keep the configuration of the pod network; "": Sampan makes its own.
    cni_conf_dir: str = ""
    #: How Services are made real, as kube-proxy's flags have it. ``nodeport_addresses`` "": every one.
    proxy_mode: str = "nftables"
    ipvs_scheduler: str = "rr"
    nodeport_addresses: str = ""
    #: Separated by commas, as the kubelet's flag has them.
    allowed_unsafe_sysctls: str = ""
    #: As the kubelet's flag has them (a=b,c=d): given to the Node when it is made.
    node_labels: str = ""
    #: Path of a KubeletConfiguration file; "": there is none.
    kubelet_config: str = ""
    #: "external": the node waits for a cloud-controller-manager before pods come; "": there is no cloud.
    cloud_provider: str = ""
    #: How long pods get to end with the machine, as that file says.
    shutdown_seconds: int = 0
    roles: tuple[str, ...] = ROLES
    #: As the kubelet's flags have them: a CredentialProviderConfig and the directory of its programs; "": none.
    credential_provider_config: str = ""
    credential_provider_bin_dir: str = ""
    #: Of the member of etcd, where this machine has one; and its program, "": ``etcd`` of the PATH.
    etcd_client_port: int = 2379
    etcd_peer_port: int = 2380
    etcd_program: str = ""
    #: Where this machine's SQLite store is served as etcd would, ``address:port``; "": nowhere.
    etcd_endpoint: str = ""
    #: Nodes that are simulated here: how many, or the path of the file that describes them; "": none.
    simulate: str = ""
    #: How many that were when they were last looked at.
    simulated_count: int = 0
    #: Where ``init`` and ``join`` put what kubeadm puts into /etc/kubernetes, and into its pki; "": nowhere, as ``up``.
    kubernetes_dir: str = ""
    cert_dir: str = ""

    def validate(self, cluster: ClusterSettings) -> None:
        ports = {"--api-port": cluster.api_port, "--kubelet-port": self.kubelet_port, "--dns-port": self.dns_port}
        if self.ingress and self.runs_containers:
            ports |= {
                "--ingress-http-port": self.ingress_http_port,
                "--ingress-https-port": self.ingress_https_port,
            }
        if self.runs_etcd:
            ports |= {"--etcd-client-port": self.etcd_client_port, "--etcd-peer-port": self.etcd_peer_port}
        if self.etcd_endpoint:
            ports["--etcd-endpoint"] = self._validate_endpoint(cluster)
        _validate_ports(ports, cluster.node_ports)
        if len(set(ports.values())) < len(ports):
            raise ClusterError(f"{', '.join(ports)} must differ", fix="give each a port of its own")
        if self.name and not NODE_NAME.match(self.name):
            raise ClusterError(
                f"node name {self.name!r} is not valid",
                fix="use lower-case letters, digits, dashes and dots, starting and ending with a letter or digit",
            )
        ranges.validate_addresses(self.addresses)
        if self.cni_conf_dir and not Path(self.cni_conf_dir).is_dir():
            raise ClusterError(
                f"--cni-conf-dir {self.cni_conf_dir} is no directory",
                fix="make it, with a CNI configuration in it (*.conf or *.conflist), or leave the option out",
            )
        if self.runtime not in RUNTIMES:
            raise ClusterError(f"runtime {self.runtime!r} is not known", fix=f"choose {' or '.join(RUNTIMES)}")
        self._validate_proxy()
        # Imported where they are needed: every process of a cluster reads its settings, the smallest too.
        from sampan.node.sysctls import verify_sysctl_patterns

        try:
            verify_sysctl_patterns(self.sysctls)
        except ValueError as error:
            raise ClusterError(
                f"--allowed-unsafe-sysctls: {error}", fix="name such as kernel.msg*,net.core.somaxconn"
            ) from error
        if self.node_labels:
            from sampan.api.nodes import labels

            try:
                labels.parse(self.node_labels)
            except ValueError as error:
                raise ClusterError(f"--node-labels: {error}", fix="write it like disk=ssd,rack=7") from error
        self._validate_images()
        if self.cloud_provider not in ("", "external"):
            raise ClusterError(
                f"--cloud-provider {self.cloud_provider!r} is not part of this build",
                fix="choose external, and run `sampan cloud-controller-manager` (docs/cloud.md); or leave it out",
            )
        if self.kubelet_config:
            self._validate_kubelet_config()
        unknown = [role for role in self.roles if role not in ALL_ROLES]
        if unknown or not self.roles:
            raise ClusterError(
                f"role {unknown[0]!r} is not known" if unknown else "this machine has no role",
                fix=f"choose of {', '.join(ALL_ROLES)}",
            )

    def _validate_endpoint(self, cluster: ClusterSettings) -> int:
        """Gives its port."""
        from sampan.store.etcd.settings import parse_listen

        try:
            _, port = parse_listen(self.etcd_endpoint)
        except ValueError as error:
            raise ClusterError(f"--etcd-endpoint: {error}", fix="127.0.0.1:2379 is for this machine alone") from error
        if cluster.store != "sqlite" or not self.runs_control_plane:
            raise ClusterError(
                "--etcd-endpoint serves a SQLite store, and "
                + ("this cluster is on etcd" if cluster.store != "sqlite" else "this machine has none"),
                fix='leave it out (`--etcd-endpoint ""`); an etcd is asked at its own endpoints',
            )
        return port

    @property
    def etcd_endpoint_port(self) -> int:
        """0: there is none."""
        return int(self.etcd_endpoint.rpartition(":")[2]) if self.etcd_endpoint else 0

    def _validate_proxy(self) -> None:
        if self.proxy_mode not in PROXY_MODES:
            raise ClusterError(
                f"--proxy-mode {self.proxy_mode} is not known", fix=f"choose of {', '.join(PROXY_MODES)}"
            )
        if self.ipvs_scheduler != "rr":
            from sampan.network.proxy.ipvs.plan import SCHEDULERS

            if self.ipvs_scheduler not in SCHEDULERS:
                raise ClusterError(
                    f"--ipvs-scheduler {self.ipvs_scheduler} is not known", fix=f"choose of {', '.join(SCHEDULERS)}"
                )
        for text in filter(None, self.nodeport_addresses.split(",")):
            try:
                ipaddress.ip_network(text.strip())
            except ValueError as error:
                raise ClusterError(
                    f"--nodeport-addresses: {error}", fix="write ranges like 192.0.2.0/24,2001:db8::/64"
                ) from error

    def _validate_images(self) -> None:
        if bool(self.credential_provider_config) != bool(self.credential_provider_bin_dir):
            raise ClusterError(
                "a credential provider needs its configuration and its program",
                fix="give both --image-credential-provider-config and --image-credential-provider-bin-dir",
            )
        if self.credential_provider_config:
            from sampan.node.images import provider_config

            try:
                provider_config.load(Path(self.credential_provider_config), Path(self.credential_provider_bin_dir))
            except ValueError as error:
                raise ClusterError(
                    f"--image-credential-provider-config: {error}", fix="mend the file; docs/images.md shows one"
                ) from error

    def _validate_kubelet_config(self) -> None:
        from sampan.node.kubeletconfig import reading
        from sampan.node.kubeletconfig.settings import check

        try:
            check(reading.load(Path(self.kubelet_config)))
        except reading.BadKubeletConfig as error:
            raise ClusterError(
                f"--kubelet-config: {self.kubelet_config}: {error}", fix="mend the file; docs/node.md shows one"
            ) from error

    @property
    def ignored_kubelet_settings(self) -> list[str]:
        """Fields of the file that nothing acts on. Raises ClusterError."""
        if not self.kubelet_config:
            return []
        self._validate_kubelet_config()
        from sampan.node.kubeletconfig import reading
        from sampan.node.kubeletconfig.settings import not_acted_on

        return not_acted_on(reading.load(Path(self.kubelet_config)))

    def with_shutdown(self) -> NodeSettings:
        """``shutdown_seconds`` as the file has it now. Raises ClusterError."""
        if not self.kubelet_config:
            return dataclasses.replace(self, shutdown_seconds=0)
        self._validate_kubelet_config()
        from sampan.node.config import NodeConfig
        from sampan.node.kubeletconfig import reading
        from sampan.node.kubeletconfig.settings import apply
        from sampan.node.shutdown import total_seconds

        config = apply(NodeConfig(node_name="", addresses=()), reading.load(Path(self.kubelet_config)))
        return dataclasses.replace(self, shutdown_seconds=total_seconds(config))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of the cluster's families, the first one first; none until the machine has been asked."""
        return tuple(filter(None, self.address.split(",")))

    @property
    def runs_containers(self) -> bool:
        """Else nothing of the machine is touched but the instance's directories and ports: no root is needed."""
        return "node" in self.roles

    @property
    def runs_etcd(self) -> bool:
        return "etcd" in self.roles

    @property
    def runs_control_plane(self) -> bool:
        """Else its certificates come from the machine that does."""
        return "control-plane" in self.roles

    @property
    def sysctls(self) -> tuple[str, ...]:
        return tuple(filter(None, self.allowed_unsafe_sysctls.split(",")))


def _validate_ports(ports: dict[str, int], node_ports: tuple[int, int]) -> None:
    for option, port in ports.items():
        if not 1 <= port <= 65535:
            raise ClusterError(f"{option} {port} is not a port", fix="choose one from 1 to 65535")
        if node_ports[0] <= port <= node_ports[1]:
            raise ClusterError(
                f"{option} {port} is inside the node port range", fix="choose a port outside of --node-port-range"
            )
