"""The shell of the HorizontalPodAutoscaler controller: each autoscaler is looked at again and again, and by whatever
changes its spec. One look: the target's Scale, what the metrics propose, how fast that may be followed, the status."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from sampan.api import labels, objects, quantity
from sampan.api.clock import format_time
from sampan.api.errors import ApiError, Conflict, NotFound
from sampan.api.labels import Selector
from sampan.api.reading import part, parts, text, whole
from sampan.api.resources import HORIZONTAL_POD_AUTOSCALERS, PODS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.client.keys import ObjectKey, key_of
from sampan.client.timeline import Timeline
from sampan.controllers.context import Context
from sampan.controllers.horizontalpodautoscaling.behavior import Bounds, History, Said, steady
from sampan.controllers.horizontalpodautoscaling.calculator import Tolerance
from sampan.controllers.horizontalpodautoscaling.conditions import UNABLE, Conditions, has_outer_metric, same_status
from sampan.controllers.horizontalpodautoscaling.counting import Counts
from sampan.controllers.horizontalpodautoscaling.grouping import Readiness, Unable
from sampan.controllers.horizontalpodautoscaling.look import Look
from sampan.controllers.horizontalpodautoscaling.metrics import MetricsReader
from sampan.controllers.horizontalpodautoscaling.overlaps import Selectors
from sampan.controllers.horizontalpodautoscaling.sources import Failure, Sight, propose
from sampan.controllers.horizontalpodautoscaling.sources import Result as Proposed
from sampan.controllers.workload.scales import NoScale, Target, Targets
from sampan.controllers.workload.selecting import index_by_label, selected
from sampan.metrics import current

log = logging.getLogger(__name__)

#: the ServiceAccount, and the source of Events
NAME: Final = "horizontal-pod-autoscaler"

ABLE: Final = "AbleToScale"
ACTIVE: Final = "ScalingActive"
LIMITED: Final = "ScalingLimited"
AT_ZERO: Final = "ScaledToZero"

#: a look waits for others' servers, not for the machine: many may wait at once
_WORKERS: Final = 20
_ATTEMPTS: Final = 5


class HorizontalPodAutoscalerController:
    def __init__(self, context: Context) -> None:
        config = context.config
        self._clock, self._timeline = context.clock, Timeline.of(context.clock)
        self._period = config.autoscaler_sync_seconds
        self._window = config.autoscaler_downscale_stabilization_seconds
        self._tolerance = config.autoscaler_tolerance
        self._readiness = Readiness(
            config.autoscaler_cpu_initialization_seconds, config.autoscaler_initial_readiness_seconds
        )
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        self._autoscalers = context.informers.informer(HORIZONTAL_POD_AUTOSCALERS)
        self._pods = context.informers.informer(PODS)
        index_by_label(self._pods)
        self._targets = Targets(self._client, self._timeline)
        self._reader = MetricsReader(self._client, self._timeline)
        self._selectors = Selectors()
        #: by UID
        self._histories: dict[str, History] = {}
        self._counts = Counts(current())
        informers = [self._autoscalers, self._pods]
        self._controller: Controller[ObjectKey] = Controller(
            f"{NAME}-controller", self.sync, workers=_WORKERS, informers=informers
        )
        self._autoscalers.add_handler(self._changed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    def _changed(self, kind: ChangeType, autoscaler: Obj, previous: Obj | None) -> None:
        """The status is this controller's own; pods and metrics are looked at by the clock."""
        key = key_of(autoscaler)
        if kind == "DELETED":
            self._histories.pop(objects.uid(autoscaler), None)
            self._controller.enqueue(key)
        elif kind == "ADDED" or previous is None or part(autoscaler, "spec") != part(previous, "spec"):
            self._controller.enqueue(key)

    async def sync(self, key: ObjectKey) -> Result:
        autoscaler = self._autoscalers.get(*key)
        if autoscaler is None:
            # Here, since no two looks at a key overlap: one that was going on when it went would bring these back.
            self._selectors.drop(key)
            self._counts.gone(key)
            return DONE
        look, began = self._look(autoscaler, key), self._timeline.monotonic()
        await self._reconcile(look)
        await self._write(look)
        took = self._timeline.monotonic() - began
        self._counts.looked(look.current or 0, look.replicas if look.scaled else None, look.failed, took)
        if look.replicas is not None:
            self._counts.wants(key, look.replicas)
        self._counts.present(len(self._histories))
        return Result(self._period)

    def _look(self, autoscaler: Obj, key: ObjectKey) -> Look:
        now = format_time(self._clock.now())
        conditions = Conditions(part(autoscaler, "status"), objects.generation(autoscaler), now)
        history = self._histories.setdefault(objects.uid(autoscaler), History())
        return Look(autoscaler, key, conditions, history)

    async def _reconcile(self, look: Look) -> None:
        try:
            target = await self._targets.find(look.key.namespace, part(look.spec, "scaleTargetRef"))
        except NoScale as error:
            look.failed = "internal"
            self._tell(look, "Warning", "FailedGetScale", str(error))
            message = f"the HPA controller was unable to get the target's current scale: {error}"
            look.conditions.set(ABLE, False, "FailedGetScale", message)
            return
        message = "the HPA controller was able to get the target's current scale"
        look.conditions.set(ABLE, True, "SucceededGetScale", message)
        look.current = target.replicas
        look.history.begin(target.replicas, self._timeline.monotonic())
        await self._decide(look, target)
        if look.replicas is not None and look.replicas != look.current:
            await self._scale(look, target, look.replicas)

    # -- how many ------------------------------------------------------------------------------------------------

    async def _decide(self, look: Look, target: Target) -> None:
        current, most = target.replicas, whole(look.spec, "maxReplicas") or 0
        scaled_to_zero = look.conditions.is_true(AT_ZERO)
        if current == 0 and not (scaled_to_zero and (look.least or has_outer_metric(parts(look.spec, "metrics")))):
            message = "scaling is disabled since the replica count of the target is zero"
            look.conditions.set(ACTIVE, False, "ScalingDisabled", message)
            look.replicas = 0
        elif current > most:
            look.replicas, look.reason = most, "Current number of replicas above Spec.MaxReplicas"
        elif 0 < current < look.least:
            look.replicas, look.reason = look.least, "Current number of replicas below Spec.MinReplicas"
        else:
            await self._follow(look, target, most)

    async def _follow(self, look: Look, target: Target, most: int) -> None:
        proposed, name = await self._measure(look, target)
        if proposed is None:
            return
        current = target.replicas
        if proposed > current:
            look.reason = f"{name} above target"
        elif proposed < current:
            look.reason = "All metrics below target"
        bounds = Bounds(current, look.least, most)
        steadied = steady(look.history, look.behavior, bounds, proposed, self._window, self._timeline.monotonic())
        look.conditions.set(ABLE, True, *steadied.able)
        look.conditions.set(LIMITED, steadied.limited, *steadied.limit)
        look.replicas = steadied.replicas
        if current == 0 and steadied.replicas <= look.least and proposed < look.least:
            look.replicas, look.reason = look.least, "Current number of replicas below Spec.MinReplicas"

    async def _measure(self, look: Look, target: Target) -> tuple[int | None, str]:
        """The most that any metric proposes, and which; None: too little is known."""
        selector = self._parse_selector(look, target.selector)
        if selector is None:
            return None, ""
        pods = selected(self._pods, look.key.namespace, selector)
        if await self._is_ambiguous(look, target.selector, selector, pods):
            return None, ""
        sight = Sight(
            self._reader, self._resource_name, look.key.namespace, target.replicas, target.present, selector,
            selector.to_string(), pods, self._clock.now(), self._readiness, self._tolerances(look.behavior),
        )  # fmt: skip
        wanted = list(parts(look.spec, "metrics"))
        look.metrics, failures, best, name = [], [], 0, ""
        for metric in wanted:
            began = self._timeline.monotonic()
            found = await propose(sight, metric)
            self._count(metric, found, target.replicas, self._timeline.monotonic() - began)
            if isinstance(found, Failure):
                look.failed = "internal"
                self._tell(look, "Warning", found.reason, found.message)
                failures.append(found)
                look.metrics.append({"type": ""})
                continue
            look.metrics.append(found.status)
            if best == 0 or found.replicas > best:
                best, name = found.replicas, found.name
        if failures and (len(failures) == len(wanted) or best < target.replicas):
            first = failures[0]
            look.conditions.set(ACTIVE, False, first.reason, UNABLE + first.message)
            count = f"{len(failures)} invalid out of {len(wanted)}"
            message = f"invalid metrics ({count}), first error is: {first.error}"
            self._tell(look, "Warning", "FailedComputeMetricsReplicas", message)
            return None, ""
        message = f"the HPA was able to successfully calculate a replica count from {name}"
        look.conditions.set(ACTIVE, True, "ValidMetricFound", message)
        return best, name

    def _count(self, metric: Obj, found: Proposed | Failure, before: int, seconds: float) -> None:
        proposed, error = None, ""
        if isinstance(found, Failure):
            error = "spec" if found.reason == "InvalidMetricSourceType" else "internal"
        else:
            proposed = found.replicas
        self._counts.measured(text(metric, "type"), before, proposed, error, seconds)

    def _parse_selector(self, look: Look, written: str) -> Selector | None:
        if not written:
            missing = "the HPA target's scale is missing a selector"
            self._refuse_selector(look, "SelectorRequired", "selector is required", Said("InvalidSelector", missing))
            return None
        try:
            selector = labels.parse(written)
        except ValueError as error:
            message = f"couldn't convert selector into a corresponding internal selector object: {error}"
            self._refuse_selector(look, "InvalidSelector", message, Said("InvalidSelector", message))
            return None
        return selector

    async def _is_ambiguous(self, look: Look, written: str, selector: Selector, pods: Sequence[Obj]) -> bool:
        self._selectors.put(look.key, selector)
        others = await self._selectors.selecting(look.key.namespace, pods)
        if len(others) < 2:
            return False
        listed = " ".join(map(str, others))
        message = f"pods by selector {written} are controlled by multiple HPAs: [{listed}]"
        self._refuse_selector(look, "AmbiguousSelector", message, Said("AmbiguousSelector", message))
        return True

    def _refuse_selector(self, look: Look, reason: str, message: str, said: Said) -> None:
        look.failed = "internal"
        self._tell(look, "Warning", reason, message)
        look.conditions.set(ACTIVE, False, *said)
        self._tell(look, "Warning", "FailedComputeMetricsReplicas", message)

    async def _resource_name(self, api_version: str, kind: str) -> str:
        try:
            resource = await self._targets.resource(api_version, kind)
        except NoScale as error:
            raise Unable(str(error)) from None
        return f"{resource.plural}.{resource.group}" if resource.group else resource.plural

    def _tolerances(self, behavior: Obj | None) -> Tolerance:
        down = _tolerance(part(behavior, "scaleDown"), self._tolerance)
        return Tolerance(down, _tolerance(part(behavior, "scaleUp"), self._tolerance))

    # -- doing it ------------------------------------------------------------------------------------------------

    async def _scale(self, look: Look, target: Target, replicas: int) -> None:
        to_zero = replicas == 0 and look.least == 0 and has_outer_metric(parts(look.spec, "metrics"))
        if to_zero:
            # Said before it is done: if this process ended between the two, nobody would scale from zero again.
            look.conditions.set(AT_ZERO, True, "ScaledToZero", "the HPA controller scaled the workload to zero")
            intended, look.replicas = look.replicas, None
            if (failed := await self._write(look)) is not None:
                raise failed
            look.replicas = intended
        try:
            await self._targets.set_replicas(target, replicas)
        except ApiError as error:
            message = f"New size: {replicas}; reason: {look.reason}; error: {error.message}"
            self._tell(look, "Warning", "FailedRescale", message)
            message = f"the HPA controller was unable to update the target scale: {error.message}"
            look.conditions.set(ABLE, False, "FailedUpdateScale", message)
            look.replicas, look.failed = None, "internal"
            return
        message = f"the HPA controller was able to update the target scale to {replicas}"
        look.conditions.set(ABLE, True, "SucceededRescale", message)
        self._tell(look, "Normal", "SuccessfulRescale", f"New size: {replicas}; reason: {look.reason}")
        look.history.scaled(look.behavior, target.replicas, replicas, self._timeline.monotonic())
        look.scaled = True
        if not to_zero:
            message = "the HPA controller did not scale the workload to zero"
            look.conditions.set(AT_ZERO, False, "NotScaledToZero", message)

    async def _write(self, look: Look) -> ApiError | None:
        """The status, over whatever was written to the autoscaler meanwhile; returns what prevented it."""
        for attempt in range(1, _ATTEMPTS + 1):
            status = look.status(format_time(self._clock.now()))
            if same_status(part(look.autoscaler, "status"), status):
                return None
            try:
                written = await self._client.update_status(
                    HORIZONTAL_POD_AUTOSCALERS, {**look.autoscaler, "status": status}
                )
            except NotFound as error:
                return error
            except Conflict as error:
                if attempt == _ATTEMPTS or not await self._renew(look):
                    self._tell(look, "Warning", "FailedUpdateStatus", error.message)
                    return error
            except ApiError as error:
                self._tell(look, "Warning", "FailedUpdateStatus", error.message)
                return error
            else:
                look.autoscaler = written
                await observe(self._autoscalers, written)
                return None
        return None

    async def _renew(self, look: Look) -> bool:
        """Takes the autoscaler as it is now; False: it is gone, or another one."""
        try:
            newest = await self._client.get(HORIZONTAL_POD_AUTOSCALERS, look.key.name, look.key.namespace)
        except ApiError:
            return False
        if objects.uid(newest) != objects.uid(look.autoscaler):
            return False
        meta = {**newest["metadata"], "generation": objects.generation(look.autoscaler)}
        look.autoscaler = {**newest, "metadata": meta}
        return True

    def _tell(self, look: Look, kind: str, reason: str, message: str) -> None:
        log.debug("%s: %s: %s", look.key, reason, message)
        self._recorder.event(look.autoscaler, "Normal" if kind == "Normal" else "Warning", reason, message)


def _tolerance(rules: Obj, otherwise: float) -> float:
    written = rules.get("tolerance")
    try:
        return otherwise if written is None else float(quantity.parse(written))
    except ValueError:
        return otherwise
