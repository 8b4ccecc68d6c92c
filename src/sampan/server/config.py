"""The settings of one API server, in one frozen value. Made by ``sampan.cli`` and ``sampan.cluster``; read by ``app``.

Paths name files that may be replaced while the server runs (certificates); nothing here opens them.
"""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Literal

from sampan.api.clock import Clock, Random, SystemClock, SystemRandom
from sampan.records import dataclass
from sampan.store import footprint


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """``port`` 0 takes any free port. Without ``tls_cert`` the server speaks plain HTTP (tests, sockets behind TLS)."""

    bind_address: str = "0.0.0.0"
    port: int = 6443
    #: no listening socket at all: only ``local_transport`` (what-if, tests)
    listen: bool = True
    #: the address that other machines reach this server at; "": found from the machine
    advertise_address: str = ""

    store: Literal["memory", "sqlite", "etcd"] = "memory"
    #: where the sqlite store and caches on disk live
    data_dir: Path | None = None

    #: members of the etcd cluster, ``host:port``; with a CA they speak TLS, with a certificate they know us by it
    etcd_endpoints: tuple[str, ...] = ()
    etcd_ca: Path | None = None
    etcd_cert: Path | None = None
    etcd_key: Path | None = None
    etcd_prefix: str = "/registry"

    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None

    #: PEM of the private key that signs ServiceAccount tokens; None: one is made for the life of the process
    service_account_key: Path | None = None
    service_account_issuer: str = "https://kubernetes.default.svc.cluster.local"
    api_audiences: tuple[str, ...] = ()

    authorization_modes: tuple[str, ...] = ("Node", "RBAC")
    anonymous_auth: bool = True
    enable_admission_plugins: tuple[str, ...] = ()
    disable_admission_plugins: tuple[str, ...] = ()
    #: AdmissionConfiguration: what plugins are told; read when the server is made
    admission_config: Path | None = None

    #: which versions and resources are served, and with which features: ``key=true,key=false``, as upstream's flags
    runtime_config: str = ""
    feature_gates: str = ""

    #: one, or one of each family, separated by a comma: the first one's is the cluster's first family
    service_cidr: str = "10.96.0.0/16"
    node_port_range: tuple[int, int] = (30000, 32767)

    #: identity towards node APIs, and the CA of their serving certificates
    kubelet_client_cert: Path | None = None
    kubelet_client_key: Path | None = None
    kubelet_ca: Path | None = None
    #: the proxy subresource may reach nodes and pods at loopback addresses (tests on one machine)
    allow_loopback_proxy: bool = False
    #: the addresses of nodes that this machine simulates, which it reaches below 127.0.0.0/8; "": there are none
    simulated_nodes: str = ""

    #: whose word counts for who asks: ``requestheader_allowed_names`` (none: all) that this CA signed; None: nobody's
    requestheader_client_ca: Path | None = None
    requestheader_allowed_names: tuple[str, ...] = ()
    requestheader_username_headers: tuple[str, ...] = ("X-Remote-User",)
    requestheader_uid_headers: tuple[str, ...] = ()
    requestheader_group_headers: tuple[str, ...] = ("X-Remote-Group",)
    requestheader_extra_headers_prefix: tuple[str, ...] = ("X-Remote-Extra-",)
    #: identity towards the API servers of APIServices (front proxy)
    proxy_client_cert: Path | None = None
    proxy_client_key: Path | None = None
    #: go to an endpoint of an APIService's Service, not to its cluster IP
    aggregator_routing: bool = False

    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    request_timeout_seconds: float = 60.0
    write_timeout_seconds: float = 34.0
    #: how long requests in flight may finish at shutdown
    shutdown_timeout_seconds: float = 10.0
    #: between two looks whether there is memory to give back; where time is virtual, ten seconds are no time
    footprint_interval_seconds: float = footprint.INTERVAL_SECONDS

    #: create namespaces, RBAC policy and the rest that a cluster starts with
    bootstrap: bool = True
    #: build the OpenAPI documents in the background
    openapi: bool = True

    clock: Clock = field(default_factory=SystemClock)
    random: Random = field(default_factory=SystemRandom)
