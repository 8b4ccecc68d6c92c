"""What each metric of an autoscaler proposes: the five kinds of sources, read and reckoned, in upstream's words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Final

from sampan.api import labels, quantity
from sampan.api.labels import Selector
from sampan.api.reading import part, text, whole
from sampan.api.types import Obj
from sampan.controllers.horizontalpodautoscaling import calculator
from sampan.controllers.horizontalpodautoscaling.calculator import Proposal, Tolerance
from sampan.controllers.horizontalpodautoscaling.conditions import amount, identifier
from sampan.controllers.horizontalpodautoscaling.grouping import (
    Grouped,
    Readiness,
    Samples,
    Unable,
    group,
    merged,
    pod_requests,
    ready_pods,
)
from sampan.controllers.horizontalpodautoscaling.metrics import MetricsReader, samples_of
from sampan.controllers.horizontalpodautoscaling.turns import parts_of
from sampan.controllers.workload.words import selector_words
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """``name``: what more is wanted for. ``status``: of ``status.currentMetrics``."""

    replicas: int
    name: str
    status: Obj


@dataclass(frozen=True, slots=True)
class Failure:
    """``reason`` and ``message`` are of the Event and of the condition; ``error`` is what the autoscaler as a whole
    says."""

    reason: str
    message: str
    error: str


@dataclass(slots=True)
class Sight:
    """What one look at an autoscaler sees: its target, and the pods of it."""

    reader: MetricsReader
    #: of a kind that something is measured of: its resource with the group
    resource_name: Callable[[str, str], Awaitable[str]]
    namespace: str
    #: wanted, and present by the target's status
    current: int
    present: int
    selector: Selector
    selector_text: str
    pods: Sequence[Obj]
    now: datetime
    readiness: Readiness
    tolerance: Tolerance
    _pod_metrics: list[Obj] = field(default_factory=list)

    async def pod_metrics(self) -> list[Obj]:
        """Asked for once, for all metrics of the autoscaler."""
        if not self._pod_metrics:
            self._pod_metrics = await self.reader.pod_metrics(self.namespace, self.selector_text)
        return self._pod_metrics


async def propose(sight: Sight, metric: Obj) -> Result | Failure:
    kind = text(metric, "type")
    source = _SOURCES.get(kind)
    if source is None:
        unknown = f'unknown metric source type "{kind}"'
        return Failure("InvalidMetricSourceType", unknown, unknown)
    return await source(sight, metric)


# -- resources of pods -------------------------------------------------------------------------------------------


async def _resource(sight: Sight, metric: Obj) -> Result | Failure:
    source = part(metric, "resource")
    name = text(source, "name")
    try:
        proposal, called = await _of_resource(sight, source, "")
    except Unable as error:
        outer = f"failed to get {name} resource metric value: {error}"
        return Failure("FailedGetResourceMetric", str(error), outer)
    status = {"type": "Resource", "resource": {"name": name, "current": _current(proposal)}}
    return Result(proposal.replicas, called, status)


async def _container_resource(sight: Sight, metric: Obj) -> Result | Failure:
    source = part(metric, "containerResource")
    name, container = text(source, "name"), text(source, "container")
    try:
        proposal, called = await _of_resource(sight, source, container)
    except Unable as error:
        outer = f"failed to get {container} container metric value: {error}"
        return Failure("FailedGetContainerResourceMetric", str(error), outer)
    inner = {"name": name, "container": container, "current": _current(proposal)}
    return Result(proposal.replicas, called, {"type": "ContainerResource", "containerResource": inner})


async def _of_resource(sight: Sight, source: Obj, container: str) -> tuple[Proposal, str]:
    target, resource = part(source, "target"), text(source, "name")
    average = _millis(target, "averageValue")
    if average is not None:
        try:
            samples = await _resource_samples(sight, resource, container)
            return await _average(sight, samples, average, resource), f"{resource} resource"
        except Unable as error:
            raise Unable(f"failed to get {resource} usage: {error}") from None
    percent = whole(target, "averageUtilization")
    if not percent:
        raise Unable(
            "invalid resource metric source: neither an average utilization target nor an average value (usage) "
            "target was set"
        )
    try:
        samples = await _resource_samples(sight, resource, container)
        proposal = await _utilization(sight, samples, percent, resource, container)
    except Unable as error:
        raise Unable(f"failed to get {resource} utilization: {error}") from None
    of_what = "container resource" if container else "resource"
    return proposal, f"{resource} {of_what} utilization (percentage of request)"


async def _resource_samples(sight: Sight, resource: str, container: str) -> Samples:
    try:
        return await samples_of(await sight.pod_metrics(), resource, container)
    except Unable as error:
        raise Unable(f"unable to get metrics for resource {resource}: {error}") from None


async def _utilization(sight: Sight, samples: Samples, percent: int, resource: str, container: str) -> Proposal:
    grouped = await _grouped(sight, samples, resource)
    values = calculator.counted(samples, grouped)
    requests: dict[str, int] = {}
    async for pods in parts_of(sight.pods):
        requests.update(pod_requests(pods, container, resource))
    return calculator.by_utilization(sight.current, values, grouped, requests, percent, sight.tolerance)


async def _average(sight: Sight, samples: Samples, target: int, resource: str) -> Proposal:
    grouped = await _grouped(sight, samples, resource)
    values = calculator.counted(samples, grouped)
    return calculator.by_average(sight.current, values, grouped, target, sight.tolerance)


async def _grouped(sight: Sight, samples: Samples, resource: str) -> Grouped:
    if not sight.pods:
        raise Unable("no pods returned by selector while calculating replica count")
    found = [group(pods, samples, resource, sight.now, sight.readiness) async for pods in parts_of(sight.pods)]
    return merged(found)


# -- custom metrics ----------------------------------------------------------------------------------------------


async def _pods(sight: Sight, metric: Obj) -> Result | Failure:
    source = part(metric, "pods")
    named = identifier(source)
    name = text(named, "name")
    try:
        target = _millis(part(source, "target"), "averageValue") or 0
        if target == 0:
            raise Unable("invalid pods metric source: no average value target was set")
        proposal = await _of_pods(sight, named, target)
    except Unable as error:
        return Failure("FailedGetPodsMetric", str(error), f"failed to get pods metric value: {error}")
    status = {"type": "Pods", "pods": {"metric": named, "current": _current(proposal)}}
    return Result(proposal.replicas, f"pods metric {name}", status)


async def _of_pods(sight: Sight, named: Obj, target: int) -> Proposal:
    name, wanted = text(named, "name"), _selector_text(named)
    try:
        samples = await sight.reader.custom_of_pods(name, sight.namespace, sight.selector_text, wanted)
    except Unable as error:
        raise Unable(f"unable to get metric {name}: {error}") from None
    return await _average(sight, samples, target, "")


async def _object(sight: Sight, metric: Obj) -> Result | Failure:
    source = part(metric, "object")
    target, named, described = part(source, "target"), identifier(source), part(source, "describedObject")
    name = text(named, "name")
    value, average = _millis(target, "value"), _millis(target, "averageValue")
    try:
        if text(target, "type") == "Value" and value:
            total = await _of_object(sight, named, described)
            proposal = calculator.by_total(sight.current, total, value, lambda: _ready(sight), sight.tolerance)
            called, shown = f"{text(described, 'kind')} metric {name}", {"value": amount(proposal.value)}
        elif text(target, "type") == "AverageValue" and average:
            try:
                total = await _of_object(sight, named, described)
            except Unable as error:
                outer = f"failed to get object metric value: failed to get {name} object metric: {error}"
                return Failure("FailedGetObjectMetric", str(error), outer)
            proposal = calculator.by_share(sight.present, total, average, sight.tolerance)
            called, shown = _outer_name(named), {"averageValue": amount(proposal.value)}
        else:
            raise Unable("invalid object metric source: neither a value target nor an average value target was set")
    except Unable as error:
        return Failure("FailedGetObjectMetric", str(error), f"failed to get object metric value: {error}")
    inner = {"describedObject": dict(described), "metric": named, "current": shown}
    return Result(proposal.replicas, called, {"type": "Object", "object": inner})


async def _of_object(sight: Sight, named: Obj, described: Obj) -> int:
    name, kind, of = text(named, "name"), text(described, "kind"), text(described, "name")
    api_version = text(described, "apiVersion")
    try:
        is_namespace = kind == "Namespace" and "/" not in api_version
        try:
            resource = "" if is_namespace else await sight.resource_name(api_version, kind)
        except Unable as error:
            api = "unable to fetch metrics from custom metrics API"
            raise Unable(f"{api}: unable to map kind {_qualified(api_version, kind)} to resource: {error}") from None
        return await sight.reader.custom_of_object(name, sight.namespace, resource, of, _selector_text(named))
    except Unable as error:
        raise Unable(f"unable to get metric {name}: {kind} on {sight.namespace} {of}/{error}") from None


def _qualified(api_version: str, kind: str) -> str:
    group = api_version.rpartition("/")[0]
    return f"{kind}.{group}" if group else kind


def _ready(sight: Sight) -> int:
    try:
        return ready_pods(sight.pods)
    except Unable as error:
        raise Unable(f"unable to calculate ready pods: {error}") from None


# -- external metrics --------------------------------------------------------------------------------------------


async def _external(sight: Sight, metric: Obj) -> Result | Failure:
    source = part(metric, "external")
    target, named = part(source, "target"), identifier(source)
    name, reason = text(named, "name"), "FailedGetExternalMetric"
    outer = f"failed to get {name} external metric value"
    value, average = _millis(target, "value"), _millis(target, "averageValue")
    try:
        if average:
            total = await _of_external(sight, named)
            proposal = calculator.by_share(sight.present, total, average, sight.tolerance)
            shown = {"averageValue": amount(proposal.value)}
        elif value:
            total = await _of_external(sight, named)
            proposal = calculator.by_total(sight.current, total, value, lambda: _ready(sight), sight.tolerance)
            shown = {"value": amount(proposal.value)}
        else:
            nothing = "invalid external metric source: neither a value target nor an average value target was set"
            return Failure(reason, nothing, f"{outer}: {nothing}")
    except Unable as error:
        inner = f"failed to get {name} external metric" if average else f"failed to get external metric {name}"
        return Failure(reason, str(error), f"{outer}: {inner}: {error}")
    status = {"type": "External", "external": {"metric": named, "current": shown}}
    return Result(proposal.replicas, _outer_name(named), status)


async def _of_external(sight: Sight, named: Obj) -> int:
    name = text(named, "name")
    try:
        return sum(await sight.reader.external(name, sight.namespace, _selector_text(named)))
    except Unable as error:
        raise Unable(
            f"unable to get external metric {sight.namespace}/{name}/{selector_words(named.get('selector'))}: {error}"
        ) from None


# -- what they share ---------------------------------------------------------------------------------------------


def _outer_name(named: Obj) -> str:
    return f"external metric {text(named, 'name')}({selector_words(named.get('selector'))})"


def _selector_text(named: Obj) -> str:
    """Raises Unable for one that is none."""
    selector = named.get("selector")
    if selector is None:
        return ""
    try:
        return labels.from_label_selector(selector).to_string()
    except ValueError as error:
        raise Unable(str(error)) from None


def _current(proposal: Proposal) -> Obj:
    shown: Obj = {"averageValue": amount(proposal.value)}
    return shown if proposal.percent is None else {"averageUtilization": proposal.percent, **shown}


def _millis(target: Obj, key: str) -> int | None:
    written = target.get(key)
    try:
        return None if written is None else quantity.millis(written)
    except ValueError:
        return None


_SOURCES: Final[Mapping[str, Callable[[Sight, Obj], Awaitable[Result | Failure]]]] = {
    "Object": _object,
    "Pods": _pods,
    "Resource": _resource,
    "ContainerResource": _container_resource,
    "External": _external,
}
