"""What keeps a node and its pods from harm, made for one agent: eviction, collection, the bound of all pods, shutdown.

Composition only: each part is a module of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from sampan.api.faults import cause
from sampan.keeping import Keeper
from sampan.node import runtime, shutdown
from sampan.node.admission import Refusal
from sampan.node.config import NodeConfig
from sampan.node.eviction import kernel_log
from sampan.node.eviction.manager import Evictable, EvictionManager, Surroundings
from sampan.node.eviction.meter import Measured
from sampan.node.host import Host
from sampan.node.host_linux import LinuxHost
from sampan.node.images.collect import Collector
from sampan.node.images.manager import ImageManager
from sampan.node.node_status import pods_memory_bytes, pods_millicores
from sampan.node.registration import NodeRegistration
from sampan.records import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsOfNode:
    """What the agent tells of its pods."""

    #: those that have a part of the node
    present: Callable[[], Sequence[Evictable]]
    #: uids of those of which nothing will run again, and of all that are known
    ended: Callable[[], Collection[str]]
    known: Callable[[], Collection[str]]
    #: is told the uids of pods of which containers were removed
    doubt: Callable[[Collection[str]], None]


class Protection:
    def __init__(
        self,
        config: NodeConfig,
        host: Host,
        source: runtime.Runtime,
        images: ImageManager,
        registration: NodeRegistration,
        pods: PodsOfNode,
        request: shutdown.Request | None = None,
    ) -> None:
        """``request``: whoever sees the machine's shutdown coming sets it."""
        self._config, self._host, self._registration = config, host, registration
        self._collector = Collector(
            config, source, images, host, registration.tell,
            ended=pods.ended, known=pods.known, removed=pods.doubt,
        )  # fmt: skip
        self._evictions = EvictionManager(
            Surroundings(
                config=config,
                meter=host.meter,
                runtime=source,
                pods=pods.present,
                tell=registration.tell,
                changed=registration.look,
                reclaim=self._collector.reclaim,
                pods_limit_bytes=pods_memory_bytes(registration.machine, config),
            )
        )
        self._shutdown = shutdown.ShutdownManager(
            config, request or shutdown.Request(), pods.present, registration.tell, registration.look
        )
        registration.pressures = lambda: self._evictions.conditions or ()
        registration.ailment = lambda: shutdown.NOT_READY if self._shutdown.is_under_way else ""

    def keep(self, keeper: Keeper) -> None:
        keeper.keep("image-gc", self._collector.run)
        keeper.keep("eviction", self._evictions.run)
        keeper.keep("shutdown", self._shutdown.run)
        if isinstance(self._host, LinuxHost):
            keeper.keep("kernel-log", lambda: kernel_log.follow(self._registration.tell))

    def pressures(self) -> Sequence[str] | None:
        """Conditions that hold; None: nobody has looked yet."""
        return self._evictions.conditions

    def measured(self) -> Measured:
        return self._evictions.measured

    @property
    def evictions(self) -> Mapping[str, int]:
        """How many there were, by signal."""
        return self._evictions.evictions

    def refusal(self) -> Refusal | None:
        """Why the node takes no pods at all."""
        if not self._shutdown.is_under_way:
            return None
        return Refusal(shutdown.REFUSED_REASON, shutdown.REFUSED_MESSAGE)

    async def hold_pods_together(self) -> None:
        """Pods together get what nothing else is reserved for (``enforceNodeAllocatable``)."""
        if not self._config.enforce_allocatable:
            return
        machine, config, tell = self._registration.machine, self._config, self._registration.tell
        try:
            held = await self._host.hold_pods_to(pods_millicores(machine, config), pods_memory_bytes(machine, config))
        except OSError as error:
            why = f'Failed to update Node Allocatable Limits "{config.cgroup_root}": {cause(error)}'
            log.warning("%s", why)
            tell("Warning", "FailedNodeAllocatableEnforcement", why)
            return
        if held:
            tell("Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")
