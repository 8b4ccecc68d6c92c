"""The settings of one node's DNS server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig:
    """Made by ``sampan.cluster``. ``port`` 0 takes a free one (tests)."""

    #: Address of the node; the service proxy sends the cluster DNS address here, so it must not be a loopback one.
    address: str
    port: int = 10053
    domain: str = "cluster.local"
    dns_ip: str = "10.96.0.10"
    cluster_pod_cidr: str = "10.244.0.0/16"
    resolv_conf: Path = Path("/etc/resolv.conf")
    #: One try at one server, and all tries for one question. A client waits for 5 seconds.
    upstream_try_seconds: float = 1.5
    upstream_total_seconds: float = 4
    cache_entries: int = 4096
    cache_seconds: int = 30
    #: Questions to upstream servers at one time; more are answered SERVFAIL.
    upstream_parallel: int = 512
