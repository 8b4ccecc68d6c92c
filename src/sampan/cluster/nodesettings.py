"""What a person chooses for one machine of a cluster: its roles, ports, and how its containers and Services are made.

Written by the first ``sampan up`` of the machine, beside what the whole cluster agrees on (``settings``), and read by
every process there; nothing here touches the machine. ``validate`` raises ClusterError, naming the option that a person
would change.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path
from typing import Literal

from sampan.cluster import componentchecks, endpoints, ranges
from sampan.cluster.errors import ClusterError
from sampan.cluster.settings import NODE_NAME, ClusterSettings
from sampan.records import dataclass

#: ``control-plane``: API server, controllers, scheduler. ``node``: containers, their network, DNS. ``etcd``: a member
#: of the cluster's store, where that is etcd and Sampan runs it.
Role = Literal["control-plane", "node", "etcd"]
ROLES: tuple[Role, ...] = ("control-plane", "node")
ALL_ROLES: tuple[Role, ...] = (*ROLES, "etcd")
RUNTIMES = ("runc", "crun")
#: What makes Services real (``network/proxy/modes.py``).
PROXY_MODES = ("nftables", "iptables", "ipvs", "userspace")


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

    def validate_names(self) -> None:
        """What needs no cluster to be seen. Raises ClusterError."""
        if self.name and not NODE_NAME.match(self.name):
            raise ClusterError(
                f"node name {self.name!r} is not valid",
                fix="use lower-case letters, digits, dashes and dots, starting and ending with a letter or digit",
            )
        if self.node_labels:
            componentchecks.check_node_labels(self.node_labels)

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
        endpoints.check_ports(ports, cluster.node_ports)
        if len(set(ports.values())) < len(ports):
            raise ClusterError(f"{', '.join(ports)} must differ", fix="give each a port of its own")
        self.validate_names()
        ranges.validate_addresses(self.addresses)
        if self.cni_conf_dir and not Path(self.cni_conf_dir).is_dir():
            raise ClusterError(
                f"--cni-conf-dir {self.cni_conf_dir} is no directory",
                fix="make it, with a CNI configuration in it (*.conf or *.conflist), or leave the option out",
            )
        if self.runtime not in RUNTIMES:
            raise ClusterError(f"runtime {self.runtime!r} is not known", fix=f"choose {' or '.join(RUNTIMES)}")
        self._validate_proxy()
        componentchecks.check_unsafe_sysctls(self.sysctls)
        self._validate_images()
        if self.cloud_provider not in ("", "external"):
            raise ClusterError(
                f"--cloud-provider {self.cloud_provider!r} is not part of this build",
                fix="choose external, and run `sampan cloud-controller-manager` (docs/cloud.md); or leave it out",
            )
        if self.kubelet_config:
            componentchecks.check_kubelet_config(self.kubelet_config)
        unknown = [role for role in self.roles if role not in ALL_ROLES]
        if unknown or not self.roles:
            raise ClusterError(
                f"role {unknown[0]!r} is not known" if unknown else "this machine has no role",
                fix=f"choose of {', '.join(ALL_ROLES)}",
            )

    def _validate_endpoint(self, cluster: ClusterSettings) -> int:
        """Gives its port."""
        port = componentchecks.parse_etcd_listen(self.etcd_endpoint)
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
            componentchecks.check_ipvs_scheduler(self.ipvs_scheduler)
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
            componentchecks.check_credential_providers(
                self.credential_provider_config, self.credential_provider_bin_dir
            )

    @property
    def ignored_kubelet_settings(self) -> list[str]:
        """Fields of the file that nothing acts on. Raises ClusterError."""
        if not self.kubelet_config:
            return []
        componentchecks.check_kubelet_config(self.kubelet_config)
        from sampan.node.kubeletconfig import reading
        from sampan.node.kubeletconfig.settings import not_acted_on

        return not_acted_on(reading.load(Path(self.kubelet_config)))

    def with_shutdown(self) -> NodeSettings:
        """``shutdown_seconds`` as the file has it now. Raises ClusterError."""
        if not self.kubelet_config:
            return dataclasses.replace(self, shutdown_seconds=0)
        componentchecks.check_kubelet_config(self.kubelet_config)
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
