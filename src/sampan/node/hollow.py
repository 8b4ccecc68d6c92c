"""A hollow node: the real node agent over a simulated machine, runtime and volumes.

Used by ``sampan.testing``, benchmarks and what-if; thousands live in one process. Its pods get addresses of the range
that the cluster gives its Node, and until there is one it is not ready, as a node whose pod network is not. It needs no
directory, no thread and no look at the machine that it runs on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from sampan.api.clock import Clock, Random
from sampan.api.resources import NODES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import ChangeType, Informer
from sampan.node.agent import NodeAgent
from sampan.node.config import NodeConfig
from sampan.node.host import Machine
from sampan.node.host_memory import MemoryHost, hollow_machine
from sampan.node.simulated import SimulatedRuntime
from sampan.node.simulated_volumes import SimulatedVolumes

#: nothing is ever there
_ROOT = Path("/simulated")


class HollowNode:
    def __init__(
        self,
        name: str,
        client: Client,
        clock: Clock,
        random: Random,
        *,
        runtime: SimulatedRuntime | None = None,
        machine: Machine | None = None,
        address: str = "127.0.0.1",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """``runtime`` steers what containers do; by default they run until they are stopped."""
        self.config = NodeConfig(
            node_name=name,
            addresses=(address,),
            root_dir=_ROOT / name,
            log_dir=_ROOT / name / "logs",
            cgroup_root="",
            labels=labels or {},
        )
        self._owns_runtime = runtime is None
        self.runtime = runtime or SimulatedRuntime(clock, pod_cidr="")
        self.host = MemoryHost(machine or hollow_machine(name))
        self.agent = NodeAgent(
            self.config, client, self.runtime, clock, random, host=self.host, make_volumes=SimulatedVolumes
        )
        self._node = Informer(client, NODES, field_selector=f"metadata.name={name}", random=random)
        self._node.add_handler(self._node_changed)

    async def run(self, started: asyncio.Event) -> None:
        """Until cancelled; ``started`` is set when the node is registered and its pods are being served."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks.spawn_eternal(group, self.agent.run(started), f"agent {self.config.node_name}")
                tasks.spawn_eternal(group, self._node.run(), f"pod network {self.config.node_name}")
        finally:
            if self._owns_runtime:
                await self.runtime.close()

    def _node_changed(self, kind: ChangeType, node: Obj, previous: Obj | None) -> None:
        pod_cidr = node["spec"].get("podCIDR")
        before = previous["spec"].get("podCIDR") if previous is not None else None
        if kind != "DELETED" and pod_cidr and pod_cidr != before:
            self.runtime.set_pod_cidr(pod_cidr)
            self.agent.registration.look()
