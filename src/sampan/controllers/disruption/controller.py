"""Keeps the status of PodDisruptionBudgets current (upstream ``pkg/controller/disruption``).

``plan`` decides; this reads the sizes of the pods' controllers, writes the status and tells of trouble.
"""

from __future__ import annotations

from sampan.api import labels, objects
from sampan.api.errors import ApiError, NotFound
from sampan.api.resources import POD_DISRUPTION_BUDGETS, PODS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.client.keys import ObjectKey, own_key
from sampan.client.timeline import Timeline
from sampan.controllers.context import Context
from sampan.controllers.disruption.plan import needs_scale, plan_disrupted, plan_expected, plan_failure, plan_status
from sampan.controllers.disruption.sizes import NoScale, Size, Sizes
from sampan.controllers.disruption.stale import StaleDisruptions
from sampan.controllers.workload.selecting import Selectors, index_by_label, selected
from sampan.controllers.workload.words import selector_words

NAME = "disruption-controller"
_NO_SIZE = Size(0, ())
#: A server that could not be asked is asked again.
_AGAIN_SECONDS = 30.0
_UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of "
    "the PDB cannot be calculated correctly, which may result in undefined behavior. "
    'To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.'
)


class DisruptionController:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, "controllermanager")
        self._budgets = context.informers.informer(POD_DISRUPTION_BUDGETS)
        self._pods = context.informers.informer(PODS)
        self._sizes = Sizes(self._client, context.informers)
        self._stale = StaleDisruptions(NAME, self._client, self._pods, Timeline.of(context.clock))
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, informers=self._sizes.informers)
        self._controller.watch(self._budgets, own_key)
        # A budget is synced when it is seen: pods that come before it need nobody.
        self._selecting = Selectors(self._budgets, _selector_of)
        self._controller.watch(self._pods, self._selecting.matching)
        self._pods.add_handler(self._pod_changed)
        index_by_label(self._pods)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), stale=self._stale.run(), events=self._recorder.run())

    def _pod_changed(self, kind: ChangeType, pod: Obj, previous: Obj | None) -> None:
        """Which of several budgets an eviction asks is nobody's choice: whoever made them is told."""
        if kind == "DELETED" or (previous is not None and objects.labels(pod) == objects.labels(previous)):
            return
        matching = self._selecting.matching(pod)
        if len(matching) > 1:
            text = (
                f'Pod "{pod["metadata"]["namespace"]}"/"{pod["metadata"]["name"]}" matches multiple '
                f'PodDisruptionBudgets.  Chose "{matching[0].name}" arbitrarily.'
            )
            self._recorder.event(pod, "Warning", "MultiplePodDisruptionBudgets", text)

    async def sync(self, key: ObjectKey) -> Result:
        budget = self._budgets.get(*key)
        if budget is None:
            return DONE
        now = self._clock.now()
        pods = selected(self._pods, key.namespace, _selector_of(budget))
        if not pods:
            self._recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            size = await self._sizes.of(pods) if needs_scale(budget) else _NO_SIZE
        except (NoScale, ApiError) as error:
            why = error.message if isinstance(error, ApiError) else str(error)
            text = f"Failed to calculate the number of expected pods: {why}"
            self._recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", text)
            await self._write(budget, plan_failure(budget, why, now))
            return Result(_AGAIN_SECONDS if isinstance(error, ApiError) else None)
        if size.unmanaged:
            text = _UNMANAGED.format(selector_words(budget["spec"].get("selector")))
            self._recorder.event(budget, "Warning", "UnmanagedPods", text)
        disrupted = plan_disrupted(budget, pods, now)
        overdue = frozenset(disrupted.overdue)
        for pod in (each for each in pods if each["metadata"]["name"] in overdue):
            text = f"Pod was expected by PDB {key} to be deleted but it wasn't"
            self._recorder.event(pod, "Warning", "NotDeleted", text)
        expected = plan_expected(budget, len(pods), size.replicas)
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


def _selector_of(budget: Obj) -> labels.Selector:
    return labels.from_label_selector(budget["spec"].get("selector"))
