"""What is measured, read from the metrics APIs: of pods (metrics.k8s.io), custom, external.

They are served by others, if at all: nothing of an answer is believed to be well formed, and one that does not answer
is given up, and left alone for a while. Errors are ``Unable``, worded as upstream's client words them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote

from sampan.api import durations, quantity
from sampan.api.errors import ApiError, NotFound
from sampan.api.reading import moment, part, parts, text, whole
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.timeline import Timeline
from sampan.controllers.horizontalpodautoscaling.grouping import Sample, Unable
from sampan.controllers.horizontalpodautoscaling.turns import parts_of

RESOURCE_API: Final = "metrics.k8s.io/v1beta1"
CUSTOM_GROUP: Final = "custom.metrics.k8s.io"
CUSTOM_VERSIONS: Final = ("v1beta2", "v1beta1")
EXTERNAL_API: Final = "external.metrics.k8s.io/v1beta1"

#: one question; after one that took longer, its API is not asked for so long
ANSWER_SECONDS: Final = 10.0
REST_SECONDS: Final = 10.0
#: each is some tens of microseconds of reading
_AT_A_TIME: Final = 100
_DEFAULT_WINDOW_SECONDS: Final = 60.0

#: what a server answers that serves no such thing, or not now: upstream's client says it in its own words
_PLAIN: Final = {
    404: (("404 page not found",), "the server could not find the requested resource"),
    503: (("service unavailable",), "the server is currently unable to handle the request"),
}


class MetricsReader:
    def __init__(self, client: Client, timeline: Timeline) -> None:
        self._client, self._timeline = client, timeline
        #: until when an API that did not answer is left alone
        self._resting: dict[str, float] = {}

    async def pod_metrics(self, namespace: str, selector: str) -> list[Obj]:
        """PodMetrics, at least one."""
        path = f"/apis/{RESOURCE_API}/namespaces/{quote(namespace, safe='')}/pods"
        try:
            answer = await self._get(RESOURCE_API, path, _query(labelSelector=selector), "pods.metrics.k8s.io")
        except Unable as error:
            raise Unable(f"unable to fetch metrics from resource metrics API: {error}") from None
        found = list(parts(answer, "items"))
        if not found:
            raise Unable("no metrics returned from resource metrics API")
        return found

    async def custom_of_pods(
        self, metric: str, namespace: str, selector: str, metric_selector: str
    ) -> dict[str, Sample]:
        query = _query(labelSelector=selector, metricLabelSelector=metric_selector)
        where = f"namespaces/{quote(namespace, safe='')}/pods/*/{quote(metric, safe='')}"
        found = await self._custom(where, query, f"pods.{CUSTOM_GROUP} *")
        if not found:
            raise Unable("no metrics returned from custom metrics API")
        samples: dict[str, Sample] = {}
        async for some in parts_of(found, _AT_A_TIME):
            samples.update(map(_custom_sample, some))
        return samples

    async def custom_of_object(
        self, metric: str, namespace: str, resource: str, name: str, metric_selector: str
    ) -> int:
        """``resource``: with its group, as ``ingresses.networking.k8s.io``; "" is the namespace itself."""
        space, called = quote(namespace, safe=""), quote(metric, safe="")
        where = f"namespaces/{space}/metrics/{called}"
        subject = f"metrics.{CUSTOM_GROUP} {metric}"
        if resource:
            where = f"namespaces/{space}/{quote(resource, safe='')}/{quote(name, safe='')}/{called}"
            subject = f"{resource}.{CUSTOM_GROUP} {name}"
        found = await self._custom(where, _query(metricLabelSelector=metric_selector), subject)
        if len(found) != 1:
            raise Unable(
                "unable to fetch metrics from custom metrics API: "
                f"the custom metrics API server returned {len(found)} results when we asked for exactly one"
            )
        return _millis(found[0].get("value"))

    async def external(self, metric: str, namespace: str, metric_selector: str) -> list[int]:
        """The values of all series that match, at least one."""
        path = f"/apis/{EXTERNAL_API}/namespaces/{quote(namespace, safe='')}/{quote(metric, safe='')}"
        subject = f"{metric}.external.metrics.k8s.io"
        try:
            answer = await self._get(EXTERNAL_API, path, _query(labelSelector=metric_selector), subject)
        except Unable as error:
            raise Unable(f"unable to fetch metrics from external metrics API: {error}") from None
        found: list[int] = []
        async for some in parts_of(list(parts(answer, "items")), _AT_A_TIME):
            found += [_millis(item.get("value")) for item in some]
        if not found:
            raise Unable("no metrics returned from external metrics API")
        return found

    async def _custom(self, where: str, query: dict[str, str], subject: str) -> Sequence[Obj]:
        try:
            version = await self._custom_version()
            answer = await self._get(CUSTOM_GROUP, f"/apis/{CUSTOM_GROUP}/{version}/{where}", query, subject)
        except Unable as error:
            raise Unable(f"unable to fetch metrics from custom metrics API: {error}") from None
        return list(parts(answer, "items"))

    async def _custom_version(self) -> str:
        try:
            group = await self._client.raw("GET", f"/apis/{CUSTOM_GROUP}")
        except NotFound:
            raise Unable(f"no custom metrics API ({CUSTOM_GROUP}) registered") from None
        except ApiError as error:
            raise Unable(error.message) from None
        served = {text(each, "version") for each in parts(group, "versions")}
        for version in CUSTOM_VERSIONS:
            if version in served:
                return version
        raise Unable("no known available metric versions found")

    async def _get(self, api: str, path: str, query: dict[str, str], subject: str) -> Any:
        now = self._timeline.monotonic()
        if self._resting.get(api, now) > now:
            raise Unable("context deadline exceeded")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._client.raw("GET", path, query=query)
        except ApiError as error:
            raise Unable(_worded(error, subject)) from None
        except TimeoutError:
            self._resting[api] = self._timeline.monotonic() + REST_SECONDS
            raise Unable("context deadline exceeded") from None


def _worded(error: ApiError, subject: str) -> str:
    plain, words = _PLAIN.get(error.code, ((), ""))
    if words and error.message.strip() in (*plain, words):
        return f"{words} (get {subject})"
    return error.message


def _query(**values: str) -> dict[str, str]:
    return {key: value for key, value in values.items() if value}


# -- what PodMetrics say -----------------------------------------------------------------------------------------


def _custom_sample(item: Obj) -> tuple[str, Sample]:
    window = whole(item, "windowSeconds")
    if window is None:
        window = whole(item, "window")  # v1beta1
    seconds = _DEFAULT_WINDOW_SECONDS if window is None else float(window)
    sample = Sample(_millis(item.get("value")), moment(item, "timestamp"), seconds)
    return text(part(item, "describedObject"), "name"), sample


async def samples_of(items: Sequence[Obj], resource: str, container: str) -> dict[str, Sample]:
    """By the pod's name. A pod of which one container was not measured is left out; of many pods the loop is given
    turns. Raises Unable."""
    samples: dict[str, Sample] = {}
    async for some in parts_of(items, _AT_A_TIME):
        samples.update(_samples(some, resource, container))
    return samples


def _samples(items: Iterable[Obj], resource: str, container: str) -> dict[str, Sample]:
    found: dict[str, Sample] = {}
    for item in items:
        used = _of_container(item, resource, container) if container else _of_pod(item, resource)
        if used is not None:
            name = text(part(item, "metadata"), "name")
            found[name] = Sample(used, moment(item, "timestamp"), _seconds(text(item, "window")))
    return found


def _of_pod(item: Obj, resource: str) -> int | None:
    usages = [part(container, "usage").get(resource) for container in parts(item, "containers")]
    if not usages or any(usage is None for usage in usages):
        return None
    return sum(map(_millis, usages))


def _of_container(item: Obj, resource: str, name: str) -> int | None:
    for container in parts(item, "containers"):
        if text(container, "name") == name:
            usage = part(container, "usage").get(resource)
            return None if usage is None else _millis(usage)
    meta = part(item, "metadata")
    pod = f"{text(meta, 'namespace')}/{text(meta, 'name')}"
    raise Unable(f"failed to get container metrics: container {name} not present in metrics for pod {pod}")


def _millis(written: Any) -> int:
    """0 for what is no quantity."""
    try:
        return quantity.millis(written) if type(written) in (str, int, float) else 0
    except (ValueError, OverflowError):
        return 0


def _seconds(duration: str) -> float:
    """0 for what is no duration."""
    try:
        return durations.parse(duration)
    except ValueError:
        return 0.0
