"""The shell of the ScheduledScaler controller: rests until the definition of its kind is installed, and then until a
rule comes due."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

from sampan.api import objects
from sampan.api.clock import format_time
from sampan.api.errors import ApiError
from sampan.api.reading import flag, part, parts, text
from sampan.api.resources import CUSTOM_RESOURCE_DEFINITIONS, HORIZONTAL_POD_AUTOSCALERS, Resource
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType, Informer
from sampan.client.keys import ObjectKey, key_of
from sampan.client.timeline import Timeline
from sampan.controllers.context import Context
from sampan.controllers.scheduledscaling.plan import Due, Fault, Plan, planning
from sampan.controllers.workload.scales import NoScale, Targets

#: the ServiceAccount, whose rights come with the definition, and the source of Events
NAME: Final = "scheduled-scaler"
GROUP: Final = "autoscaling.sampan.io"
KIND: Final = "ScheduledScaler"
PLURAL: Final = "scheduledscalers"
DEFINITION: Final = f"{PLURAL}.{GROUP}"

#: a target that is not there, or refuses, is tried again after so long
_RETRY_SECONDS: Final = 15.0
#: the clock is looked at so often whatever comes next: it may have been set
_LONGEST_SECONDS: Final = 3600.0
#: a timer is set so much later than the time itself, so that the clock has reached it when it fires
_MARGIN_SECONDS: Final = 0.1


class ScheduledScalerController:
    def __init__(self, context: Context) -> None:
        self._clock, self._factory = context.clock, context.informers
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        self._targets = Targets(self._client, Timeline.of(context.clock))
        self._resource: Resource | None = None
        self._scalers: Informer | None = None
        self._controller: Controller[ObjectKey] = Controller(f"{NAME}-controller", self.sync)
        definition = context.informers.informer(
            CUSTOM_RESOURCE_DEFINITIONS, field_selector=f"metadata.name={DEFINITION}"
        )
        definition.add_handler(self._definition_changed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    def _definition_changed(self, kind: ChangeType, definition: Obj, previous: Obj | None) -> None:
        resource = None if kind == "DELETED" else _served(definition)
        if resource == self._resource:
            return
        if self._scalers is not None:
            self._factory.retire(self._scalers)
        self._resource = resource
        self._scalers = None if resource is None else self._factory.informer(resource)
        if self._scalers is not None:
            self._scalers.add_handler(self._changed)

    def _changed(self, kind: ChangeType, scaler: Obj, previous: Obj | None) -> None:
        """The status is this controller's own."""
        if kind == "DELETED" or (previous is not None and part(scaler, "spec") == part(previous, "spec")):
            return
        self._controller.enqueue(key_of(scaler))

    async def sync(self, key: ObjectKey) -> Result:
        scaler = self._scalers.get(*key) if self._scalers is not None else None
        if scaler is None or self._resource is None or objects.is_deleting(scaler):
            return DONE
        steps = await _planned(scaler, self._clock.now())
        fault, done = steps.fault, steps.now
        if done is not None and (failed := await self._carry_out(scaler, done)) is not None:
            fault, done = failed, None
        await self._write(self._resource, scaler, self._status(scaler, steps, done, fault))
        if steps.now is not None and done is None:
            return Result(_RETRY_SECONDS)
        if steps.following is None:
            return DONE
        wait = (steps.following.at - self._clock.now()).total_seconds() + _MARGIN_SECONDS
        return Result(max(_MARGIN_SECONDS, min(wait, _LONGEST_SECONDS)))

    async def _carry_out(self, scaler: Obj, due: Due) -> Fault | None:
        reference, namespace = part(part(scaler, "spec"), "scaleTargetRef"), objects.namespace(scaler)
        try:
            changed = await self._set(namespace, reference, due.replicas)
        except NoScale as error:
            self._recorder.event(scaler, "Warning", "FailedGetScale", str(error))
            return Fault("FailedGetScale", str(error))
        except ApiError as error:
            message = f"New size: {due.replicas}; rule: {due.rule}; error: {error.message}"
            self._recorder.event(scaler, "Warning", "FailedRescale", message)
            return Fault("FailedRescale", error.message)
        if changed:
            message = f"New size: {due.replicas}; rule: {due.rule}"
            self._recorder.event(scaler, "Normal", "SuccessfulRescale", message)
        return None

    async def _set(self, namespace: str, reference: Obj, replicas: int) -> bool:
        """Whether it was otherwise. Of a HorizontalPodAutoscaler the minimum is set. Raises NoScale, ApiError."""
        autoscalers = HORIZONTAL_POD_AUTOSCALERS
        if (text(reference, "kind"), text(reference, "apiVersion").partition("/")[0]) == (
            autoscalers.kind,
            autoscalers.group,
        ):
            name = text(reference, "name")
            before = await self._client.get(autoscalers, name, namespace)
            if part(before, "spec").get("minReplicas") == replicas:
                return False
            await self._client.patch(autoscalers, name, {"spec": {"minReplicas": replicas}}, namespace)
            return True
        target = await self._targets.find(namespace, reference)
        if target.replicas == replicas:
            return False
        await self._targets.set_replicas(target, replicas)
        return True

    def _status(self, scaler: Obj, steps: Plan, done: Due | None, fault: Fault | None) -> Obj:
        status = dict(part(scaler, "status"))
        if done is not None:
            status |= {
                "lastScheduleTime": format_time(done.at), "lastRule": done.rule, "replicas": done.replicas,
            }  # fmt: skip
        for key in ("nextScheduleTime", "nextRule"):
            status.pop(key, None)
        if steps.following is not None:
            status |= {"nextScheduleTime": format_time(steps.following.at), "nextRule": steps.following.rule}
        generation = objects.generation(scaler)
        ready = {
            "type": "Ready", "status": "False" if fault else "True", "observedGeneration": generation,
            "reason": fault.reason if fault else "Scheduled",
            "message": fault.message if fault else "the rules are carried out as they come due",
        }  # fmt: skip
        before = next((each for each in parts(status, "conditions") if each.get("type") == "Ready"), {})
        same = before.get("status") == ready["status"] and text(before, "lastTransitionTime")
        ready["lastTransitionTime"] = text(before, "lastTransitionTime") if same else format_time(self._clock.now())
        return {**status, "observedGeneration": generation, "conditions": [ready]}

    async def _write(self, resource: Resource, scaler: Obj, status: Obj) -> None:
        if status == part(scaler, "status"):
            return
        written = await self._client.update_status(resource, {**scaler, "status": status})
        if self._scalers is not None:
            await observe(self._scalers, written)


async def _planned(scaler: Obj, now: datetime) -> Plan:
    """The loop has its turns between two rules."""
    work = planning(scaler, now)
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: Plan = end.value
            return found
        await asyncio.sleep(0)


def _served(definition: Obj) -> Resource | None:
    """In the first version that is served; None: in none yet."""
    conditions = parts(part(definition, "status"), "conditions")
    if not any(each.get("type") == "Established" and each.get("status") == "True" for each in conditions):
        return None
    for version in parts(part(definition, "spec"), "versions"):
        if flag(version, "served"):
            return Resource(GROUP, text(version, "name"), PLURAL, KIND, True)
    return None
