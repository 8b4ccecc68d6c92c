"""The DNS process of an instance, started by the supervisor (``python -m sampan.cluster.dns_process``).

It stays small: what is imported here is in memory on every node.
"""

from __future__ import annotations

from sampan.api.clock import SystemClock
from sampan.cluster.arguments import instance_or_exit, log_to_stderr
from sampan.cluster.instance import Instance
from sampan.cluster.reporting import Reporter
from sampan.network.dns import program
from sampan.network.dns.config import DnsConfig, ProcessConfig


def process_config(instance: Instance) -> ProcessConfig:
    return ProcessConfig(
        dns=DnsConfig(
            address=instance.node.address,
            port=instance.node.dns_port,
            node_name=instance.node.name,
            domain=instance.cluster.cluster_domain,
            dns_ip=",".join(instance.cluster.dns_ips),
            cluster_pod_cidr=instance.cluster.pod_cidr,
        ),
        server=instance.api_url,
        ca=instance.pki / "ca.crt",
        certificate=instance.pki / "network-client.crt",
        key=instance.pki / "network-client.key",
        # A reboot empties this directory, and gives pods other addresses.
        snapshot=instance.run / "dns-names.jsonl",
        health_socket=instance.run / "dns.sock",
    )


def run(instance: Instance) -> None:
    """Blocks until told to stop."""
    log_to_stderr()
    program.run(
        process_config(instance),
        lambda keeper: {"heartbeat": Reporter(instance, "dns", keeper, SystemClock()).beat},
    )


if __name__ == "__main__":
    run(instance_or_exit("The DNS process of a Sampan instance"))
