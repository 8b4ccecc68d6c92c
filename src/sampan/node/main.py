"""Composes a node: runtime, agent, node API, and the coroutines the cluster layer adds (proxy, DNS).

``run_node`` is what ``sampan node`` and ``sampan up`` call. It owns nothing but the composition.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from sampan.api.clock import Clock, Random, SystemClock, SystemRandom
from sampan.client import tasks
from sampan.client.client import Client
from sampan.node import runtime
from sampan.node.agent import NodeAgent
from sampan.node.api.auth import DelegatedAuth
from sampan.node.api.server import NodeApi, NodeApiConfig
from sampan.node.config import NodeConfig
from sampan.node.cri.client import CriRuntime
from sampan.node.logs.rotation import LogRotator, runtime_logs

#: Further eternal coroutines of the node process, by name; each is given the agent.
Extra = Mapping[str, Callable[[NodeAgent], Coroutine[Any, Any, None]]]


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
    started: asyncio.Event | None = None,
) -> None:
    """Until cancelled. ``tls`` is the node API's server context; None: no node API (simulated nodes)."""
    clock = clock or SystemClock()
    source = source or CriRuntime(config.runtime_socket)
    agent = NodeAgent(config, client, source, clock, random or SystemRandom())
    try:
        async with asyncio.TaskGroup() as group:
            if tls is not None:
                api_config = NodeApiConfig(
                    node_name=config.node_name, port=config.node_api_port, configz=_configz(config)
                )
                api = NodeApi(api_config, agent, source, auth or _delegated(config, client), tls, clock)
                agent.on_exit = api.container_stopped
                tasks.spawn_eternal(group, api.run(asyncio.Event()), "node-api")
            rotator = LogRotator(source.reopen_log, clock)
            tasks.spawn_eternal(group, rotator.run(runtime_logs(source, config.log_dir)), "log-rotation")
            tasks.spawn_eternal(group, agent.run(started or asyncio.Event()), "node-agent")
            for name, make in (extra or {}).items():
                tasks.spawn_eternal(group, make(agent), name)
    finally:
        await source.close()


def _delegated(config: NodeConfig, client: Client) -> DelegatedAuth:
    return DelegatedAuth(client, config.node_name, asyncio.get_running_loop().time)


def _configz(config: NodeConfig) -> dict[str, Any]:
    plain: dict[str, Any] = orjson.loads(orjson.dumps(asdict(config), default=str))
    return plain
