"""The settings of one node's DNS server, and of the process that it is."""

from __future__ import annotations

from pathlib import Path

from sampan.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig:
    """Made by ``sampan.cluster``. ``port`` 0 takes a free one (tests)."""

    #: Address of the node; the service proxy sends the cluster DNS address here, so it must not be a loopback one. As
    #: the other addresses and ranges one of each family, separated by a comma.
    address: str
    port: int = 10053
    #: whose pods' search paths are followed, should that be asked for
    node_name: str = ""
    domain: str = "cluster.local"
    dns_ip: str = "10.96.0.10"
    cluster_pod_cidr: str = "10.244.0.0/16"
    resolv_conf: Path = Path("/etc/resolv.conf")
    #: One try at one server, and all tries for one question. A client waits for 5 seconds.
    upstream_try_seconds: float = 1.5
    upstream_total_seconds: float = 4
    cache_entries: int = 4096
    cache_bytes: int = 4 * 1024 * 1024
    cache_seconds: int = 30
    #: Questions that wait for upstream servers at one time, of all clients and of one; more are answered SERVFAIL.
    waiting: int = 512
    waiting_of_client: int = 128
    #: Open TCP connections, of all clients and of one; when all are taken, the one that was silent longest is closed.
    connections: int = 128
    connections_of_client: int = 32
    #: For a request to be whole, for an answer to be read, and how long a connection may be silent in between.
    tcp_seconds: float = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessConfig:
    """``server`` and the files of who asks it; where to keep what is known, and where to tell of health."""

    dns: DnsConfig
    server: str
    ca: Path
    certificate: Path
    key: Path
    #: Best in a directory that a reboot empties: addresses are not the same after it.
    snapshot: Path
    health_socket: Path
