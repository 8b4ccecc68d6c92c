"""Composes a node: runtime, agent, node API, and the components that the cluster layer adds (proxy).

``run_node`` is what ``sampan node`` and ``sampan up`` call. It owns nothing but the composition: each part is kept
running by itself, and one that fails leaves the others as they are.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping

from sampan.api.clock import Clock, Random, SystemClock, SystemRandom
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.keeping import Keeper
from sampan.keeping.metrics import render_components
from sampan.node import runtime
from sampan.node.agent import NodeAgent
from sampan.node.api.auth import DelegatedAuth
from sampan.node.api.server import NodeApi, NodeApiConfig
from sampan.node.api.stats import render_volume_metrics
from sampan.node.config import NodeConfig
from sampan.node.cri.client import CriRuntime
from sampan.node.devices.all import NodeDevices
from sampan.node.eviction.meter import Measured
from sampan.node.eviction.words import render_metrics
from sampan.node.kubeletconfig.settings import render
from sampan.node.logs.rotation import LogRotator, runtime_logs
from sampan.node.pods.context import NetworkReady
from sampan.node.shutdown import Request as ShutdownRequest
from sampan.node.volumes.localpath import LocalVolumes
from sampan.node.volumes.usage import Measurements
from sampan.records import dataclass

#: Further components of the node process, by name.
Extra = Mapping[str, Callable[[], Awaitable[None]]]


async def run_node(
    config: NodeConfig,
    client: Client,
    *,
    tls: ssl.SSLContext | None = None,
    auth: DelegatedAuth | None = None,
    source: runtime.Runtime | None = None,
    clock: Clock | None = None,
    random: Random | None = None,
    extra: Extra | None = None,
    keeper: Keeper | None = None,
    started: asyncio.Event | None = None,
    shutdown: ShutdownRequest | None = None,
    network: NodeNetwork | None = None,
) -> None:
    """Until cancelled. ``tls`` is the node API's server context; None: no node API (simulated nodes). ``shutdown``: set
    when the machine is about to go off. ``network``: what restricts pods here (None: nothing).

    ``keeper`` keeps the parts (default: one of this call's own); it is closed at the end.
    """
    clock, random = clock or SystemClock(), random or SystemRandom()
    source = source or CriRuntime(config.runtime_socket)
    node = _Node(config, client, source, clock, random)
    node.shutdown, node.network = shutdown, network
    try:
        async with keeper or Keeper() as kept:
            if tls is not None:
                auth = auth or _delegated(config, client)
                kept.keep(
                    "node-api",
                    functools.partial(
                        node.serve_api, auth, tls, lambda: render_components(kept.root()) + node.metrics()
                    ),
                )
            rotator = LogRotator(
                source.reopen_log,
                clock,
                max_bytes=config.container_log_max_bytes,
                max_files=config.container_log_max_files,
                period_seconds=config.container_log_period_seconds,
            )
            kept.keep("log-rotation", lambda: rotator.run(runtime_logs(source, config.log_dir)))
            kept.keep("node-agent", lambda: node.run_agent(started or asyncio.Event()))
            for name, run in (extra or {}).items():
                kept.keep(name, run)
            await tasks.forever()
    finally:
        await source.close()


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """What restricts the pods of this node. ``ready``: as in ``NodeContext``; ``report``: for ``/networkpolicy``, it
    raises ApiError; ``metrics``: further lines for ``/metrics``."""

    ready: NetworkReady
    report: Callable[[], Awaitable[Obj]]
    metrics: Callable[[], str]


class _Node:
    """Introduces agent and node API to each other, whichever of them has been made anew."""

    def __init__(
        self, config: NodeConfig, client: Client, source: runtime.Runtime, clock: Clock, random: Random
    ) -> None:
        self._config, self._client, self._source, self._clock, self._random = config, client, source, clock, random
        self._agent: NodeAgent | None = None
        self.shutdown: ShutdownRequest | None = None
        self.network: NodeNetwork | None = None
        self._api: NodeApi | None = None

    async def run_agent(self, started: asyncio.Event) -> None:
        """One life of the agent. What runs is adopted by the next one."""
        self._agent = NodeAgent(
            self._config, self._client, self._source, self._clock, self._random,
            make_devices=self._make_devices, shutdown=self.shutdown,
            network_ready=self.network.ready if self.network is not None else None,
        )  # fmt: skip
        self._agent.on_exit = self._container_stopped
        await self._agent.run(started)

    def _make_devices(self, holders: Callable[[], Collection[str]], changed: Callable[[], None]) -> NodeDevices:
        return NodeDevices(self._config.root_dir, self._client, holders, changed)

    async def serve_api(self, auth: DelegatedAuth, tls: ssl.SSLContext, components: Callable[[], str]) -> None:
        config = NodeApiConfig(
            node_name=self._config.node_name,
            port=self._config.node_api_port,
            configz=render(self._config),
            ingress_metrics=self._config.ingress_metrics,
            dns_metrics=self._config.dns_metrics,
        )
        if any(":" in address for address in self._config.addresses):
            config = dataclasses.replace(config, address=None)
        root = self._config.local_volumes
        volumes = None if root is None else LocalVolumes(root)
        self._api = NodeApi(
            config, self, self._source, auth, tls, self._clock,
            components=components, local_volumes=volumes, measured=self._measured,
            claimed=self._claimed,
            policies=self.network.report if self.network is not None else None,
        )  # fmt: skip
        # Beside it: what a sweep takes grows with somebody's data.
        sweep = () if volumes is None else (tasks.detach(volumes.sweep(), "sweep of local volumes"),)
        try:
            await self._api.run(asyncio.Event())
        finally:
            await tasks.cancel_and_wait(*sweep)

    def _container_stopped(self, container_id: str) -> None:
        if self._api is not None:
            self._api.container_stopped(container_id)

    def _measured(self) -> Measured:
        return Measured() if self._agent is None else self._agent.protection.measured()

    def _claimed(self) -> Measurements:
        return {} if self._agent is None else self._agent.claimed_volumes()

    def metrics(self) -> str:
        own = render_metrics({}) if self._agent is None else self._agent.metrics()
        own += render_volume_metrics(self._claimed())
        return own + (self.network.metrics() if self.network is not None else "")

    # For the node API (``sampan.node.api.containers.PodSource``).

    def pods(self) -> list[Obj]:
        return [] if self._agent is None else self._agent.pods()

    def get_pod(self, namespace: str, name: str) -> Obj | None:
        return None if self._agent is None else self._agent.get_pod(namespace, name)


def _delegated(config: NodeConfig, client: Client) -> DelegatedAuth:
    return DelegatedAuth(client, config.node_name, asyncio.get_running_loop().time)
