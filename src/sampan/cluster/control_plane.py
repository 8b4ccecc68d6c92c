"""The server process of an instance: API server, controllers and scheduler on one event loop.

Each controller, the scheduler and the rest are components of their own: one that fails is started again, alone, and
says so (``reporting``). Only the loss of the store ends the process.
Started by the supervisor (``python -m sampan.cluster.control_plane``) or by ``sampan server``. Ends with SIGTERM. Each
component has its own identity towards the API server, though it calls it without a socket.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine
from importlib import import_module
from pathlib import Path
from typing import Any

import uvloop

from sampan.api.clock import SystemClock, SystemRandom
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.leaderelection import Term, fenced
from sampan.cluster import addons, footprint, lifeline, pki
from sampan.cluster.arguments import instance_or_exit, log_to_stderr
from sampan.cluster.instance import Instance
from sampan.cluster.leading import lead_here
from sampan.cluster.reporting import Reporter
from sampan.controllers.queuenames import QUEUE_NAMES
from sampan.keeping import Keeper
from sampan.metrics import Registry, use
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.http import raise_descriptor_limit

log = logging.getLogger(__name__)


def server_config(instance: Instance) -> ServerConfig:
    settings = instance.cluster
    enabled, disabled = settings.admission_plugins
    return ServerConfig(
        # "" is every address of both families.
        bind_address="" if 6 in settings.families else "0.0.0.0",
        port=settings.api_port,
        advertise_address=next(iter(instance.node.addresses), ""),
        **_store(instance),
        data_dir=instance.state,
        tls_cert=instance.pki / "apiserver.crt",
        tls_key=instance.pki / "apiserver.key",
        client_ca=instance.pki / "ca.crt",
        requestheader_client_ca=instance.pki / "front-proxy-ca.crt",
        requestheader_allowed_names=(pki.FRONT_PROXY_NAME,),
        proxy_client_cert=instance.pki / "front-proxy-client.crt",
        proxy_client_key=instance.pki / "front-proxy-client.key",
        service_account_key=instance.pki / "sa.key",
        service_account_issuer=f"https://kubernetes.default.svc.{settings.cluster_domain}",
        enable_admission_plugins=enabled,
        disable_admission_plugins=disabled,
        admission_config=Path(settings.admission_config) if settings.admission_config else None,
        runtime_config=settings.runtime_config,
        feature_gates=settings.feature_gates,
        service_cidr=settings.service_cidr,
        node_port_range=settings.node_ports,
        kubelet_client_cert=instance.pki / "apiserver-kubelet-client.crt",
        kubelet_client_key=instance.pki / "apiserver-kubelet-client.key",
        kubelet_ca=instance.pki / "ca.crt",
        simulated_nodes=_simulated_range() if instance.node.simulated_count else "",
    )


def _store(instance: Instance) -> dict[str, Any]:
    if instance.cluster.store != "etcd":
        return {"store": "sqlite"}
    from sampan.cluster.etcd import members  # late: few clusters have it

    chosen = members.settings_of(instance)
    return {
        "store": "etcd",
        "etcd_endpoints": chosen.endpoints,
        "etcd_ca": chosen.ca,
        "etcd_cert": chosen.cert,
        "etcd_key": chosen.key,
        "etcd_prefix": instance.cluster.etcd_prefix,
    }


def _simulated_range() -> str:
    from sampan.node.hollow_addresses import ADDRESSES  # late: few clusters have such nodes

    return str(ADDRESSES)


async def serve(instance: Instance, *, apart: bool = False) -> None:
    """Runs until SIGTERM or SIGINT, or until the store can write no more. ``apart``: controllers and scheduler are
    programs of their own."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Server(server_config(instance)) as server:
        loop.add_signal_handler(signal.SIGHUP, server.reload_certificates)
        footprint.settle_later()
        async with server.components.branch() as components:
            keep_components(components, server, instance, apart=apart)
            waits = [asyncio.create_task(event.wait()) for event in (stop, server.fatal)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            await tasks.cancel_and_wait(*waits)
        if server.fatal.is_set():
            raise SystemExit("the store can write no more; see above")


def keep_components(keeper: Keeper, server: Server, instance: Instance, *, apart: bool = False) -> None:
    """Addons, controllers and scheduler, until the keeper is closed."""
    admin = Client(server.local_transport())
    clock, entropy = SystemClock(), SystemRandom()
    metrics = Registry(QUEUE_NAMES)
    server.metrics.include(metrics.copy)
    reporter = Reporter(instance, "server", server.components, clock)
    reporter.report_with(admin)
    keeper.keep("heartbeat", reporter.beat)
    keeper.keep("lifeline", lambda: lifeline.hold(instance))
    # A cluster of simulated nodes alone serves none.
    ingress = instance.node.ingress and (instance.node.runs_containers or not instance.node.simulate)
    keeper.keep("addons", lambda: addons.ensure(admin, instance.cluster, ingress=ingress), ends=True)
    if instance.node.runs_containers:
        keeper.keep("node role", lambda: addons.label_control_plane(admin, instance.node.name))

    async def gateway_api() -> None:
        installing = await asyncio.to_thread(import_module, "sampan.edge.gateway.install")
        await installing.install_when_ready(admin, with_class=ingress)

    def account(name: str) -> Client:
        return Client(server.local_transport(f"system:serviceaccount:kube-system:{name}"))

    async def certificates() -> None:
        renewal = await asyncio.to_thread(import_module, "sampan.cluster.renewal")  # late: it has time
        await renewal.keep_current(instance, clock, server.reload_certificates)

    async def controllers() -> None:
        # Imported late, and in a thread: the API server answers meanwhile.
        context = await asyncio.to_thread(import_module, "sampan.controllers.context")
        manager = await asyncio.to_thread(import_module, "sampan.controllers.manager")
        root_ca = await asyncio.to_thread((instance.pki / "ca.crt").read_text)
        config = context.ControllersConfig(
            cluster_cidr=instance.cluster.pod_cidr,
            node_cidr_mask_size=instance.cluster.node_cidr_mask,
            node_cidr_mask_size_ipv6=instance.cluster.node_cidr_mask_ipv6,
            root_ca_pem=root_ca,
            signing_certificate=instance.pki / "ca.crt",
            signing_key=instance.pki / "ca.key",
            signing_seconds=instance.cluster.certificate_seconds,
            autoscaler_sync_seconds=instance.cluster.autoscaler_sync_seconds,
            autoscaler_downscale_stabilization_seconds=instance.cluster.autoscaler_downscale_stabilization_seconds,
            autoscaler_tolerance=instance.cluster.autoscaler_tolerance,
            autoscaler_cpu_initialization_seconds=instance.cluster.autoscaler_cpu_initialization_seconds,
            autoscaler_initial_readiness_seconds=instance.cluster.autoscaler_initial_readiness_seconds,
            # Upstream's are off unless asked for, and kubeadm asks: tokens of machines that join.
            disabled=frozenset(),
        )

        def lead(term: Term) -> Coroutine[None, None, None]:
            work: Coroutine[None, None, None] = manager.run_controllers(
                fenced(admin, term),
                clock=clock,
                random=entropy,
                config=config,
                client_for=lambda name: fenced(account(name), term),
                keeper=keeper.branch(),
            )
            return work

        with use(metrics):
            await lead_here(
                admin, "kube-controller-manager", instance, clock, entropy, lead, shared=server.shares_store
            )

    async def scheduler() -> None:
        scheduling = await asyncio.to_thread(import_module, "sampan.scheduler.scheduler")  # NumPy takes a while
        records = import_module("sampan.scheduler.records")
        attempts = records.Attempts()
        config = await _scheduler_config(instance)
        server.documents[records.PATH] = attempts.answer
        client = Client(server.local_transport("system:kube-scheduler"))

        def lead(term: Term) -> Coroutine[None, None, None]:
            work: Coroutine[None, None, None] = scheduling.run_scheduler(
                fenced(client, term),
                clock=clock,
                random=entropy,
                attempts=attempts,
                config=config,
                plugin_files=instance.cluster.scheduler_plugin_files,
            )
            return work

        with use(metrics):
            await lead_here(admin, "kube-scheduler", instance, clock, entropy, lead, shared=server.shares_store)

    async def simulated_nodes() -> None:
        simulation = await asyncio.to_thread(import_module, "sampan.cluster.simulation")

        def node(name: str) -> Client:
            return Client(server.local_transport(f"system:node:{name}", ("system:nodes",)))

        await simulation.run(instance, node, admin, clock, entropy, server.scraper.attach)

    keeper.keep("certificates", certificates)
    _keep_etcd(keeper, server, instance)
    if not apart:
        keeper.keep("controllers", controllers)
        keeper.keep("scheduler", scheduler)
    if instance.cluster.gateway_api:
        keeper.keep("gateway api", gateway_api, ends=True)
    if instance.node.simulated_count:
        keeper.keep("simulated nodes", simulated_nodes)


async def _scheduler_config(instance: Instance) -> Any:
    """None: all as by default."""
    cluster = instance.cluster
    if not cluster.scheduler_config and not cluster.feature_gates:
        return None
    config = (await asyncio.to_thread(import_module, "sampan.scheduler.config")).SchedulerConfig()
    if path := cluster.scheduler_config:
        reading = await asyncio.to_thread(import_module, "sampan.scheduler.configuration.reading")
        config = (await asyncio.to_thread(reading.load, Path(path))).scheduler
    return config.with_gates(cluster.feature_gates)


def _keep_etcd(keeper: Keeper, server: Server, instance: Instance) -> None:
    async def etcd_members() -> None:
        members = await asyncio.to_thread(import_module, "sampan.cluster.etcd.members")
        await members.keep_current(instance, server.store)

    if instance.cluster.manages_etcd:
        keeper.keep("etcd members", etcd_members)

    async def etcd_endpoint() -> None:
        endpoint = await asyncio.to_thread(import_module, "sampan.cluster.etcd.endpoint")
        await endpoint.serve(instance, server.store)

    if instance.node.etcd_endpoint:
        keeper.keep("etcd endpoint", etcd_endpoint)


def run(instance: Instance, *, apart: bool = False) -> None:
    """Blocks until told to stop."""
    log_to_stderr()
    footprint.start_quickly()
    raise_descriptor_limit()
    uvloop.run(serve(instance, apart=apart))


if __name__ == "__main__":
    run(instance_or_exit("The server process of a Sampan instance"))
