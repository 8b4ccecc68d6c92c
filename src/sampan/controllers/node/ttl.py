"""Tells each kubelet how long it may keep Secrets and ConfigMaps without asking again: the larger the cluster, the
longer (upstream ``ttl-controller``: annotation ``node.alpha.kubernetes.io/ttl``)."""

from __future__ import annotations

from typing import Final

from sampan.api import objects
from sampan.api.resources import NODES
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.client.keys import ObjectKey, key_of
from sampan.controllers.context import Context

NAME: Final = "ttl-controller"
ANNOTATION = "node.alpha.kubernetes.io/ttl"
#: (fewest, most nodes, seconds); they overlap, so that a cluster at a border does not go to and fro
_STEPS = ((0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, 2**31 - 1, 300))


def next_step(step: int, nodes: int) -> int:
    """The step of a cluster of so many nodes that was at ``step``. Pure."""
    while nodes > _STEPS[step][1]:
        step += 1
    while nodes < _STEPS[step][0]:
        step -= 1
    return step


def seconds_of(step: int) -> int:
    return _STEPS[step][2]


class TtlController:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._nodes = context.informers.informer(NODES)
        self._count = self._step = 0
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, informers=[self._nodes])
        self._nodes.add_handler(self._changed)

    async def run(self) -> None:
        await self._controller.run()

    def _changed(self, kind: ChangeType, node: Obj, previous: Obj | None) -> None:
        """A node is looked at when it changes: kubelets' heartbeats bring news of the size to all within seconds."""
        if kind == "DELETED":
            self._count -= 1
        elif previous is None:
            self._count += 1
        self._step = next_step(self._step, self._count)
        if kind != "DELETED" and objects.annotations(node).get(ANNOTATION) != str(seconds_of(self._step)):
            self._controller.enqueue(key_of(node))

    async def sync(self, key: ObjectKey) -> Result:
        node = self._nodes.get(*key)
        wanted = str(seconds_of(self._step))
        if node is not None and objects.annotations(node).get(ANNOTATION) != wanted:
            patch = {"metadata": {"annotations": {ANNOTATION: wanted}}}
            await observe(self._nodes, await self._client.patch(NODES, key.name, patch))
        return DONE
