"""A hollow node: the real node agent over a simulated machine, runtime and volumes.

Used by ``sampan up --simulate``, ``sampan.testing``, benchmarks and what-if; thousands live in one process
(``sampan.node.hollow_nodes``). Its pods get addresses of the range that the cluster gives its Node, and until there is
one it is not ready, as a node whose pod network is not. It needs no directory, no thread and no look at the machine
that it runs on.

An annotation of its Node says what ails it, and is followed even while the node itself is cut off:
``simulation.sampan.io/fault: silent``, one of ``FAULTS``. Without the annotation it is well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, cast

from sampan.api.clock import Clock, Random
from sampan.api.nodes.usage import Looks
from sampan.api.resources import NODES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import ChangeType, Informer
from sampan.client.signal import Signal
from sampan.node.agent import NodeAgent
from sampan.node.api.machine import MachineUsage
from sampan.node.config import NodeConfig
from sampan.node.hollow_usage import steady_looks
from sampan.node.host import Machine
from sampan.node.host_memory import MemoryHost, hollow_machine
from sampan.node.partition import Line
from sampan.node.shapes import Shape
from sampan.node.simulated import SimulatedRuntime
from sampan.node.simulated_behaviour import PREFIX, SimulatedDelays
from sampan.node.simulated_volumes import SimulatedVolumes

log = logging.getLogger(__name__)

#: ``silent``: its agent is gone, what runs goes on, and an agent that comes back adopts it. ``partitioned``: the agent
#: runs and reaches nobody. ``slow``: every step of its runtime takes seconds. ``crashing``: containers end within a
#: second of their start.
Fault = Literal["silent", "partitioned", "slow", "crashing"]
FAULTS: Final[tuple[Fault, ...]] = ("silent", "partitioned", "slow", "crashing")
FAULT_ANNOTATION: Final = f"{PREFIX}fault"
SLOW_STEP_SECONDS: Final = 5.0

#: nothing is ever there
_ROOT = Path("/simulated")
_USUAL: Final = Shape()


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
        port: int = 10250,
        labels: Mapping[str, str] | None = None,
        shape: Shape = _USUAL,
    ) -> None:
        """``runtime`` steers what containers do; by default they do what the shape says."""
        self.config = NodeConfig(
            node_name=name,
            addresses=(address,),
            root_dir=_ROOT / name,
            log_dir=_ROOT / name / "logs",
            cgroup_root="",
            node_api_port=port,
            max_pods=shape.pods,
            labels=shape.labels if labels is None else labels,
            taints=shape.taints,
            extended_resources=shape.extended,
        )
        self._client, self._clock, self._random = client, clock, random
        self._owns_runtime = runtime is None
        self.runtime = runtime or shaped_runtime(name, shape, clock, random)
        self.host = MemoryHost(
            machine
            or hollow_machine(name, cpus=shape.cpus, memory_bytes=shape.memory_bytes, disk_bytes=shape.disk_bytes)
        )
        self._line = Line()
        #: told of every container that ended
        self.on_exit: Callable[[str], None] = lambda container_id: None
        self.agent = self._make_agent()
        self._powered, self._unpowered = Signal(), Signal()
        self._powered.set()
        self.fault: Fault | None = None
        self._node = Informer(client, NODES, field_selector=f"metadata.name={name}", random=random)
        self._node.add_handler(self._node_changed)

    @property
    def name(self) -> str:
        return self.config.node_name

    @property
    def is_silent(self) -> bool:
        return not self._powered.is_set()

    async def run(self, started: asyncio.Event) -> None:
        """Until cancelled; ``started`` is set when the node is registered and its pods are being served."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks.spawn_eternal(group, self._node.run(), f"node {self.name}")
                await self._run_agents(group, started)
        finally:
            if self._owns_runtime:
                await self.runtime.close()

    async def _run_agents(self, group: asyncio.TaskGroup, started: asyncio.Event) -> None:
        """One after the other: a node that was silent comes back with another."""
        while True:
            await self._powered.wait()
            running = tasks.spawn_eternal(group, self.agent.run(started), f"agent {self.name}")
            await self._unpowered.wait()
            await tasks.cancel_and_wait(running)
            self.agent = self._make_agent()

    def _make_agent(self) -> NodeAgent:
        client = Client(self._line.transport(self._client.transport))
        agent = NodeAgent(
            self.config, client, self.runtime, self._clock, self._random, host=self.host, make_volumes=SimulatedVolumes
        )
        agent.on_exit = lambda container_id: self.on_exit(container_id)
        return agent

    def usage(self) -> MachineUsage:
        """What the machine uses: what its containers do."""
        cpu_nanoseconds, memory_bytes = self.runtime.used()
        total = self.host.machine().memory_bytes
        return MachineUsage(cpu_nanoseconds, memory_bytes, total, max(total - memory_bytes, 0))

    def looks(self) -> Looks:
        """The same as whoever looks at a node again and again would know it; nothing, of one that cannot be reached."""
        if self.fault in ("silent", "partitioned"):
            return Looks()
        return steady_looks(self.usage(), self.runtime.running(), self._clock.now())

    # For the node API (``sampan.node.api.containers.PodSource``).

    def pods(self) -> list[Obj]:
        return self.agent.pods()

    def get_pod(self, namespace: str, name: str) -> Obj | None:
        return self.agent.get_pod(namespace, name)

    def ail(self, fault: Fault | None) -> None:
        """From now on; None: it is well. Idempotent."""
        if fault == self.fault:
            return
        log.info("simulated node %s is %s", self.name, fault or "well")
        self.fault = fault
        self.runtime.delays.every_step = SLOW_STEP_SECONDS if fault == "slow" else 0.0
        self.runtime.set_crashing(fault == "crashing")
        if fault == "partitioned":
            self._line.cut()
        elif self._line.is_cut:
            self._line.mend()
            # At once: until its node is Ready again, what it says of its pods and what the cluster does differ.
            self.agent.registration.look()
        if fault == "silent":
            self._powered.clear()
            self._unpowered.set()
        else:
            self._unpowered.clear()
            self._powered.set()

    def _node_changed(self, kind: ChangeType, node: Obj, previous: Obj | None) -> None:
        if kind == "DELETED":
            return
        said = (node["metadata"].get("annotations") or {}).get(FAULT_ANNOTATION)
        before = previous and (previous["metadata"].get("annotations") or {}).get(FAULT_ANNOTATION)
        if said != before:
            if said and said not in FAULTS:
                log.warning("simulated node %s: %.64r is no fault; there are %s", self.name, said, ", ".join(FAULTS))
            self.ail(cast(Fault, said) if said in FAULTS else None)
        pod_cidr = node["spec"].get("podCIDR")
        if pod_cidr and pod_cidr != (previous["spec"].get("podCIDR") if previous is not None else None):
            self.runtime.set_pod_cidr(pod_cidr)
            self.agent.registration.look()


def shaped_runtime(name: str, shape: Shape, clock: Clock, random: Random) -> SimulatedRuntime:
    delays = SimulatedDelays(start_container=shape.start, pull_image=shape.pull)
    made = SimulatedRuntime(clock, pod_cidr="", delays=delays, random=random, name=name)
    made.default_behaviour = shape.behaviour
    return made
