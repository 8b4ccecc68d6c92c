"""The node process of an instance: node agent, node API and service proxy on one event loop.

Each of them is a component of its own: one that fails is started again, alone, and says so (``reporting``). The process
holds the node's own credentials and no others.

Started by the supervisor (``python -m sampan.cluster.node_process``) or by ``sampan node``. Ends with SIGTERM, leaving
containers running for the next one to adopt; ``sampan down`` stops them afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

import uvloop

from sampan.api.clock import SystemClock, SystemRandom
from sampan.api.errors import ApiError
from sampan.api.faults import fault
from sampan.api.nodes import labels
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.cluster import footprint, kubeconfigs, lifeline, mounts, network_policy, nodecertificates, servers
from sampan.cluster.arguments import instance_or_exit, log_to_stderr
from sampan.cluster.instance import Instance
from sampan.cluster.network_stack import run_network
from sampan.cluster.reporting import Reporter
from sampan.keeping import Keeper
from sampan.node.api.tls import server_context
from sampan.node.config import NodeConfig
from sampan.node.kubeletconfig import reading
from sampan.node.kubeletconfig.settings import apply, not_acted_on
from sampan.node.main import run_node
from sampan.node.shutdown import TOLD_SECONDS, Request, periods, total_seconds

#: Between two looks at whether the API server answers.
LOOK_SECONDS = 0.03
#: Beyond what a shutdown may take.
SPARE_SECONDS = 2.0

log = logging.getLogger(__name__)

#: As the kubelet registers with ``--cloud-provider=external``: a cloud-controller-manager takes it away.
NOT_YET_OF_A_CLOUD = {
    "key": "node.cloudprovider.kubernetes.io/uninitialized",
    "value": "true",
    "effect": "NoSchedule",
}


def node_config(instance: Instance) -> NodeConfig:
    """Raises BadKubeletConfig: the file was changed since ``up`` looked at it."""
    config = NodeConfig(
        node_name=instance.node.name,
        addresses=instance.node.addresses,
        root_dir=instance.kubelet_root,
        log_dir=instance.pod_logs,
        static_pod_dir=instance.state / "manifests",
        local_volumes=instance.kubelet_root / "local-path",
        runtime_socket=str(instance.containerd_socket),
        node_api_port=instance.node.kubelet_port,
        ingress_metrics=instance.run / "edge" / "metrics.sock" if instance.node.ingress else None,
        dns_metrics=instance.run / "dns.sock",
        cgroup_root=instance.cgroup,
        cluster_dns=instance.cluster.dns_ips,
        cluster_domain=instance.cluster.cluster_domain,
        allowed_unsafe_sysctls=instance.node.sysctls,
        labels=labels.parse(instance.node.node_labels),
        taints=(NOT_YET_OF_A_CLOUD,) if instance.node.cloud_provider == "external" else (),
        image_credential_providers=_path(instance.node.credential_provider_config),
        image_credential_programs=_path(instance.node.credential_provider_bin_dir),
    )
    if not instance.node.kubelet_config:
        return config
    document = reading.load(Path(instance.node.kubelet_config))
    if ignored := not_acted_on(document):
        log.warning("%s: nothing acts on %s", instance.node.kubelet_config, ", ".join(ignored))
    return apply(config, document)


def _path(text: str) -> Path | None:
    return Path(text) if text else None


async def serve(instance: Instance) -> None:
    """Runs until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    asked = servers.of(instance)

    uses: dict[str, nodecertificates.Use] = {}

    def client(stem: str, user_agent: str) -> Client:
        transport = HttpTransport(kubeconfigs.connection(instance, stem), user_agent=user_agent, servers=asked)
        uses[stem] = transport.use_certificate
        return Client(transport)

    nodecertificates.complete(instance)

    kubelet, network = client("kubelet-client", "kubelet"), client("network-client", "sampan-network")
    ingress = client("ingress-client", "sampan-ingress")
    tls = server_context(instance.pki / "kubelet.crt", instance.pki / "kubelet.key", instance.pki / "ca.crt")
    # Connections that are open keep what they began with.
    uses["kubelet"] = lambda *pair: tls.load_cert_chain(instance.pki / "kubelet.crt", instance.pki / "kubelet.key")
    clock, entropy = SystemClock(), SystemRandom()
    config, shutdown = node_config(instance), Request()
    enforcer = network_policy.enforcer(network, instance)

    async def node() -> None:
        await _until_ready(kubelet)
        await run_node(
            config,
            kubelet,
            shutdown=shutdown,
            tls=tls,
            clock=clock,
            random=entropy,
            extra={"network": lambda: run_network(network, instance, kubelet, enforcer, ingress)},
            network=network_policy.for_node(enforcer),
            keeper=keeper.branch(),
        )

    try:
        await asyncio.to_thread(mounts.share, instance.kubelet_root)
    except OSError as error:
        log.warning("drivers in pods cannot mount volumes for others: %s", fault(error, "mount"))
    try:
        async with Keeper() as keeper:
            reporter = Reporter(instance, "node", keeper, clock)
            reporter.report_with(kubelet)
            keeper.keep("heartbeat", reporter.beat)
            keeper.keep("lifeline", lambda: lifeline.hold(instance))
            footprint.settle_later()
            keeper.keep("node", node)
            certificates = nodecertificates.NodeCertificates(instance, uses, clock, entropy)
            keeper.keep("certificates", certificates.run)
            keeper.keep("api servers", lambda: servers.follow(network, instance, asked, entropy))
            await stop.wait()
            if lifeline.is_stopping(instance):
                await _end_pods(config, shutdown)
    finally:
        await kubelet.close()
        await network.close()
        await ingress.close()


async def _end_pods(config: NodeConfig, shutdown: Request) -> None:
    """All of the instance stops, and perhaps the machine: pods end in order, where the configuration gives them time.
    Else they are stopped when this process has ended, and stay in the API as they are."""
    if not periods(config):
        return
    shutdown.asked.set()
    try:
        async with asyncio.timeout(total_seconds(config) + TOLD_SECONDS + SPARE_SECONDS):
            await shutdown.done.wait()
    except TimeoutError:
        log.warning("shutdown: the node agent does not end the pods")


async def _until_ready(client: Client) -> None:
    """Nothing can be done before the API server answers, and retries would come later than it does."""
    while True:
        try:
            await client.raw("GET", "/readyz")
        except ApiError:
            await asyncio.sleep(LOOK_SECONDS)
        else:
            return


def run(instance: Instance) -> None:
    """Blocks until told to stop."""
    log_to_stderr()
    footprint.start_quickly()
    uvloop.run(serve(instance))


if __name__ == "__main__":
    run(instance_or_exit("The node process of a Sampan instance"))
