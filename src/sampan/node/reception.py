"""Takes in pods that were bound to the node: each is judged, given its processors and devices, and then worked on, or
refused.

Made by ``sampan.node.agent``, which has a worker for each that is taken. While a pod is looked at for longer (the Node
is read anew, a device plug-in is asked) its part of the node is kept for it, and it is taken as it is by then. A fault
of ours is that pod's alone: it is refused. One event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from typing import Any

from sampan.api.pods.status import is_terminating
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node.admission import UNEXPECTED, Refusal, allocation_failed
from sampan.node.devices.interface import Devices
from sampan.node.devices.plan import Unavailable
from sampan.node.gate import PodGate
from sampan.node.pods import spec
from sampan.node.topology.aligning import Alignment, Refused
from sampan.records import dataclass

log = logging.getLogger(__name__)

#: Refusals for what the Node object says: it is read anew first, for it may have changed just before the pod came.
_BY_THE_NODE = ("NodeAffinity", "TaintToleration")
_OURS = Refusal(UNEXPECTED, "Unexpected error while attempting to admit pod: internal error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """What the agent does and knows."""

    #: why the node takes no pods at all
    closed: Callable[[], Refusal | None]
    #: pods that have a part of the node
    claiming: Callable[[], Sequence[Obj]]
    #: a pod as it is now; None: it is gone
    newest: Callable[[Obj], Obj | None]
    is_worked_on: Callable[[str], bool]
    #: works on a pod from now on
    take: Callable[[Obj], None]


class Reception:
    def __init__(self, gate: PodGate, devices: Devices, alignment: Alignment, agent: Agent) -> None:
        self._gate, self._devices, self._alignment, self._agent = gate, devices, alignment, agent
        #: One pod at a time: what was found free close together is not given to another meanwhile.
        self._aligning = asyncio.Lock()
        #: for as long as pods are taken
        self.group: asyncio.TaskGroup | None = None
        #: why pods were refused, by uid
        self.refused: dict[str, Refusal] = {}
        #: uids of pods that are not taken yet
        self.looking: set[str] = set()
        #: of these, pods that are taken as soon as they have their devices
        self.equipping: dict[str, Obj] = {}

    def come(self, pod: Obj) -> None:
        """A pod that nobody works on, and of which nothing runs."""
        uid = pod["metadata"]["uid"]
        if uid in self.looking:
            return  # the newest pod is judged
        refusal = self._judge(pod)
        if refusal is not None and refusal.reason in _BY_THE_NODE:
            self._look_longer(self._judge_again(pod), pod, "admission")
        else:
            self._settle(pod, refusal)

    def forget(self, uid: str) -> None:
        """Nothing is left of the pod."""
        self.refused.pop(uid, None)

    def _look_longer(self, work: Coroutine[Any, Any, None], pod: Obj, name: str) -> None:
        assert self.group is not None
        self.looking.add(pod["metadata"]["uid"])
        tasks.spawn_apart(self.group, work, f"{name} of pod {spec.full_name(pod)}")

    def _judge(self, pod: Obj) -> Refusal | None:
        try:
            refusal = self._agent.closed() or self._gate.judge(pod, self._agent.claiming())
            if refusal is None and not self._waits_for_devices(pod):
                refusal = self._alignment.admit(pod)
            return refusal
        except Exception:  # a pod that our own code cannot judge is refused, alone
            log.exception("admission of pod %s", spec.full_name(pod))
            return _OURS

    def _waits_for_devices(self, pod: Obj) -> bool:
        """Where its devices are says where the rest is to come from."""
        return self._alignment.heeds_devices and self._devices.concerns(pod)

    async def _judge_again(self, pod: Obj) -> None:
        uid = pod["metadata"]["uid"]
        try:
            await self._gate.look()
        finally:
            self.looking.discard(uid)
        if (newest := self._still_new(pod)) is not None:
            self._settle(newest, self._judge(newest))

    def _settle(self, pod: Obj, refusal: Refusal | None) -> None:
        if refusal is not None or is_terminating(pod) or not self._devices.concerns(pod):
            self._take(pod, refusal)
            return
        self.equipping[pod["metadata"]["uid"]] = pod
        self._look_longer(self._equip(pod), pod, "devices")

    async def _equip(self, pod: Obj) -> None:
        """Device plug-ins give the pod what it asks for, or it is refused."""
        uid, refusal = pod["metadata"]["uid"], None
        try:
            await self._give_devices(pod)
        except Refused as refused:
            refusal = refused.refusal
        except Unavailable as error:
            refusal = allocation_failed(str(error))
        except Exception:  # as a pod that cannot be judged
            log.exception("devices of pod %s", spec.full_name(pod))
            refusal = _OURS
        finally:
            self.looking.discard(uid)
            self.equipping.pop(uid, None)
        if refusal is not None:
            self._alignment.release(uid)  # its processors, whoever refused it
        if (newest := self._still_new(pod)) is not None:
            self._take(newest, refusal)

    async def _give_devices(self, pod: Obj) -> None:
        """Raises Refused, Unavailable."""
        if not self._waits_for_devices(pod):
            await self._devices.admit(pod)
            return
        async with self._aligning:
            with closing(self._alignment.steps(pod, self._devices.placing(self._alignment.nodes))) as steps:
                await self._devices.admit(pod, steps)

    def _still_new(self, pod: Obj) -> Obj | None:
        """As it is now; None: it is gone, or somebody else made it end meanwhile, and it has its worker."""
        return None if self._agent.is_worked_on(pod["metadata"]["uid"]) else self._agent.newest(pod)

    def _take(self, pod: Obj, refusal: Refusal | None) -> None:
        if refusal is not None:
            self.refused[pod["metadata"]["uid"]] = refusal
        self._agent.take(pod)
