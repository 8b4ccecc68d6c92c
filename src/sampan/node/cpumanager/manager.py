"""Keeps processors as the static policy gives them: state on disk, containers that run brought in line.

Asked by ``topology.aligning`` when a pod comes and by ``starting`` for each container; ``run`` tells the runtime when
what is shared has changed. A node without the policy has ``NoCpuManager``. One event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Protocol

from sampan.api import quantity
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node import runtime
from sampan.node.admission import Refusal, allocation_failed
from sampan.node.config import NodeConfig
from sampan.node.cpumanager import allocator, checkpoint
from sampan.node.cpumanager.options import check, read
from sampan.node.cpumanager.policy import Misaligned, StaticPolicy, exclusive_cpus, reserve
from sampan.node.host import Host
from sampan.node.processors import Cpus, Topology, parse, show
from sampan.node.statefiles import take_up
from sampan.node.topology.aligning import GivesNothing, Provider, Refused
from sampan.node.topology.giving import Giver
from sampan.node.topology.hints import Mask

log = logging.getLogger(__name__)


def static_policy(config: NodeConfig, topology: Topology) -> StaticPolicy:
    """Raises ValueError: what is reserved cannot be, or an option not here."""
    listed = (config.kube_reserved, config.system_reserved)
    millicores = sum(quantity.millis(each["cpu"]) for each in listed if "cpu" in each)
    options = read(config.cpu_manager_options, alpha=config.cpu_manager_alpha_options)
    check(options, topology, config.topology_policy)
    return StaticPolicy(topology, reserve(topology, millicores, parse(config.reserved_cpus)), options=options)


def restore(policy: StaticPolicy, data: bytes, file: Path) -> None:
    """What an agent before has given holds. ``data``: of ``file``, b"" when it is not there. Raises StateMisfit."""
    known = take_up("CPU manager", file, data, checkpoint.decode, lambda state: checkpoint.misfit(state, policy))
    if known is not None:
        policy.assigned = {uid: dict(each) for uid, each in known.assigned.items()}


class CpuManager(Provider, Protocol):
    def cpus(self, uid: str, name: str) -> str:
        """Of a container that begins; "": whatever its pod may use."""
        ...

    def exclusive(self, uid: str, name: str) -> Cpus:
        """Of a container alone; none: it shares."""
        ...

    def assignable(self) -> Cpus:
        """Those that may become a container's alone."""
        ...

    def freed(self) -> None:
        """A pod has ended, or is gone."""
        ...

    async def run(self) -> None: ...


class NoCpuManager(GivesNothing):
    def cpus(self, uid: str, name: str) -> str:
        return ""

    def exclusive(self, uid: str, name: str) -> Cpus:
        return frozenset()

    def assignable(self) -> Cpus:
        return frozenset()

    def freed(self) -> None: ...

    async def run(self) -> None:
        await tasks.forever()


#: A container that runs, and its pod's uid.
Running = tuple[str, runtime.Container]


class StaticCpuManager(Giver):
    """A container whose agent was killed before the file was written may get other processors from the next one, which
    moves it there."""

    kind = "cpu"

    def __init__(
        self,
        policy: StaticPolicy,
        host: Host,
        source: runtime.PodRuntime,
        directory: Path,
        *,
        active: Callable[[], Collection[str]],
        running: Callable[[], Iterable[Running]],
        period_seconds: float = 10.0,
    ) -> None:
        """``active``: uids of pods that have a claim on the node. ``running``: its containers. Raises StateMisfit."""
        file = directory / checkpoint.FILE
        super().__init__(policy, host, file, active, period_seconds=period_seconds)
        self._policy, self._runtime, self._running = policy, source, running
        self._applied: dict[str, str] = {}
        restore(policy, host.read(file, checkpoint.LIMIT_BYTES), file)

    def metrics(self) -> dict[str, int]:
        alone = self._policy.usable - self._policy.shared
        return {
            **super().metrics(),
            "kubelet_cpu_manager_shared_pool_size_millicores": len(self._policy.shared) * 1000,
            "kubelet_cpu_manager_exclusive_cpu_allocation_count": len(alone),
        }

    def cpus(self, uid: str, name: str) -> str:
        return show(self._policy.cpus_of(uid, name))

    def exclusive(self, uid: str, name: str) -> Cpus:
        return self._policy.assigned.get(uid, {}).get(name, frozenset())

    def assignable(self) -> Cpus:
        return self._policy.topology.cpus - self._policy.reserved

    def _concerns(self, pod: Obj, container: Obj) -> bool:
        return exclusive_cpus(pod, container) > 0

    def _give(self, pod: Obj, container: Obj, affinity: Mask | None) -> bool:
        try:
            return self._policy.allocate(pod, container, affinity)
        except allocator.TooFew as error:
            raise Refused(allocation_failed(str(error))) from error
        except Misaligned as error:
            raise Refused(Refusal("SMTAlignmentError", str(error))) from error

    def _encode(self) -> bytes:
        return checkpoint.encode(self._policy.shared, self._policy.assigned)

    async def _follow(self) -> None:
        """Those that give way first: no processor is another's before it is nobody's."""
        present = list(self._running())
        self._applied = {each.id: self._applied[each.id] for _, each in present if each.id in self._applied}
        for uid, container in sorted(present, key=lambda each: each[1].name in self._policy.assigned.get(each[0], {})):
            wanted = self.cpus(uid, container.name)
            if self._applied.get(container.id) == wanted:
                continue
            try:
                await self._runtime.update_resources(container.id, runtime.Resources(cpuset_cpus=wanted))
                self._applied[container.id] = wanted
            except runtime.RuntimeCallError as error:
                log.warning("cpu manager: container %s of pod %s: %s", container.name, uid, error)


def make_cpu_manager(
    config: NodeConfig,
    host: Host,
    source: runtime.PodRuntime,
    *,
    active: Callable[[], Collection[str]],
    running: Callable[[], Iterable[Running]],
) -> CpuManager:
    """Raises ValueError: what is reserved cannot be, or what is left of an agent before does not fit."""
    if config.cpu_manager_policy != "static":
        return NoCpuManager()
    policy, period_seconds = static_policy(config, host.topology()), config.cpu_manager_reconcile_seconds
    return StaticCpuManager(
        policy, host, source, config.root_dir, active=active, running=running, period_seconds=period_seconds
    )
