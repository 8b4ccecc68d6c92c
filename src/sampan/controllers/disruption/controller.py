"""Keeps the status of PodDisruptionBudgets current (upstream ``pkg/controller/disruption``).

``plan`` decides; this reads the sizes of the pods' controllers, writes the status and tells of trouble.
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api import labels, objects
from sampan.api.errors import NotFound
from sampan.api.resources import (
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
)
from sampan.api.types import Obj, OwnerReference
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context
from sampan.controllers.disruption.plan import needs_scale, plan_disrupted, plan_expected, plan_failure, plan_status
from sampan.controllers.workload.selecting import Selectors, index_by_label, selected

NAME = "disruption-controller"
#: Besides ReplicaSets, whose sizes come from the informers.
_SCALED = {(resource.kind, resource.api_version): resource for resource in (REPLICATION_CONTROLLERS, STATEFUL_SETS)}


class NoScale(Exception):
    """The wanted number of pods cannot be known; the message says of which pod."""


class DisruptionController:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, "controllermanager")
        self._budgets = context.informers.informer(POD_DISRUPTION_BUDGETS)
        self._pods = context.informers.informer(PODS)
        self._sets = context.informers.informer(REPLICA_SETS)
        self._deployments = context.informers.informer(DEPLOYMENTS)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, informers=[self._sets, self._deployments])
        self._controller.watch(self._budgets, own_key)
        # A budget is synced when it is seen: pods that come before it need nobody.
        self._controller.watch(self._pods, Selectors(self._budgets, _selector_of).matching)
        index_by_label(self._pods)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    async def sync(self, key: ObjectKey) -> Result:
        budget = self._budgets.get(*key)
        if budget is None:
            return DONE
        now = self._clock.now()
        pods = selected(self._pods, key.namespace, _selector_of(budget))
        if not pods:
            self._recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            scale = await self._scale(pods) if needs_scale(budget) else 0
        except NoScale as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self._recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", text)
            await self._write(budget, plan_failure(budget, str(error), now))
            return DONE
        disrupted = plan_disrupted(budget, pods, now)
        for name in disrupted.overdue:
            text = f"Pod was expected by PDB {key} to be deleted but it wasn't"
            overdue = next(pod for pod in pods if pod["metadata"]["name"] == name)
            self._recorder.event(overdue, "Warning", "NotDeleted", text)
        expected = plan_expected(budget, len(pods), scale)
        await self._write(budget, plan_status(budget, pods, expected, disrupted, now))
        return Result(disrupted.recheck_seconds)

    async def _write(self, budget: Obj, status: Obj) -> None:
        if status == budget.get("status"):
            return
        new = objects.deep_copy(budget)
        new["status"] = status
        try:
            # With the resourceVersion seen: an eviction in between is a conflict, and this is worked out anew.
            written = await self._client.update_status(POD_DISRUPTION_BUDGETS, new)
        except NotFound:
            return
        await observe(self._budgets, written)

    async def _scale(self, pods: Sequence[Obj]) -> int:
        """The sum of the wanted replicas of the controllers of these pods. Raises NoScale."""
        sizes: dict[str, int] = {}
        seen: set[str] = set()
        for pod in pods:
            controller = objects.controller_of(pod)
            # An unmanaged pod has no number that it would be brought back to.
            if controller is None or controller["uid"] in seen:
                continue
            seen.add(controller["uid"])
            uid, size = await self._size(pod, controller)
            sizes[uid] = size
        return sum(sizes.values())

    async def _size(self, pod: Obj, controller: OwnerReference) -> tuple[str, int]:
        """Uid and wanted replicas of what scales a pod: of a ReplicaSet's pods, its Deployment if it has one."""
        namespace = pod["metadata"]["namespace"]
        if (controller["kind"], controller["apiVersion"]) == (REPLICA_SETS.kind, REPLICA_SETS.api_version):
            owner = self._sets.get(namespace, controller["name"])
            above = objects.controller_of(owner) if owner is not None else None
            if above is not None and above["kind"] == DEPLOYMENTS.kind:
                owner = self._deployments.get(namespace, above["name"])
        else:
            owner = await self._read_scale(namespace, controller)
        if owner is None:
            raise NoScale(f'found no controllers for pod "{pod["metadata"]["name"]}"')
        return owner["metadata"]["uid"], int(owner["spec"].get("replicas") or 0)

    async def _read_scale(self, namespace: str, controller: OwnerReference) -> Obj | None:
        resource = _SCALED.get((controller["kind"], controller["apiVersion"]))
        if resource is None:
            raise NoScale(f"{controller['apiVersion']} {controller['kind']} does not implement the scale subresource")
        try:
            return await self._client.get(resource, controller["name"], namespace, "scale")
        except NotFound:
            return None


def _selector_of(budget: Obj) -> labels.Selector:
    return labels.from_label_selector(budget["spec"].get("selector"))
