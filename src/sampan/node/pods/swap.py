"""How much swap a container may use, by the node's ``memorySwap.swapBehavior``. Pure.

As the kubelet's (``kuberuntime_container_linux.go``, ``swap``): none at all, unless the node says ``LimitedSwap``; then
a container of a Burstable pod that is not critical has a share of the swap as large as its request is of the memory.
Only cgroup v2 bounds swap by itself: with v1 nothing is written, and ``LimitedSwap`` is told to be without effect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from sampan.api.pods import containers, origin
from sampan.api.pods.qos import compute_qos_class
from sampan.api.pods.requests import container_limits, container_requests
from sampan.api.types import Obj
from sampan.node.host import Machine
from sampan.records import dataclass

NO_SWAP, LIMITED_SWAP = "NoSwap", "LimitedSwap"
BEHAVIOURS = ("", NO_SWAP, LIMITED_SWAP)


@dataclass(frozen=True, slots=True)
class Swap:
    """A machine whose kernel bounds swap by cgroup v2."""

    behaviour: str
    swap_bytes: int
    memory_bytes: int

    def limit_bytes(self, pod: Obj, container: Obj) -> int:
        if not self.swaps(pod, container):
            return 0
        requested = container_requests(container).get("memory", 0)
        return int(requested / self.memory_bytes * self.swap_bytes)

    def swaps(self, pod: Obj, container: Obj) -> bool:
        if self.behaviour != LIMITED_SWAP or self.memory_bytes <= 0:
            return False
        if compute_qos_class(pod) != "Burstable" or origin.is_critical(pod):
            return False
        requested = container_requests(container).get("memory", 0)
        return requested > 0 and requested != container_limits(container).get("memory")


def swap_of(machine: Machine, behaviour: str, tell: Callable[[Literal["Warning"], str, str], None]) -> Swap | None:
    """None where the kernel bounds no container's swap; a behaviour that would need it is told of."""
    if machine.bounds_swap:
        return Swap(behaviour, machine.swap_bytes, machine.memory_bytes)
    if behaviour == LIMITED_SWAP:
        text = "swapBehavior LimitedSwap has no effect: this machine does not bound swap by cgroup v2"
        tell("Warning", "SwapNotBounded", text)
    return None


def resize_meets_swap(swap: Swap | None, pod: Obj, promised: Obj) -> bool:
    """Whether a resize would change how much swap a container may use, without starting it anew."""
    if swap is None:
        return False
    before = {item["name"]: item for item in containers.long_running(promised)}
    for wanted in containers.long_running(pod):
        had = before.get(wanted["name"], wanted)
        if container_requests(wanted).get("memory") == container_requests(had).get("memory"):
            continue
        policies = {item.get("resourceName"): item.get("restartPolicy") for item in had.get("resizePolicy") or ()}
        if policies.get("memory") != "RestartContainer" and (swap.swaps(pod, wanted) or swap.swaps(promised, had)):
            return True
    return False
