"""``/metrics`` of the API server, under upstream's metric names.

The pipeline calls ``observe`` once a request; ``Metrics`` owns its collectors, so that several servers in one process
do not mix. Label values come from request info, never from raw paths: their number stays bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Protocol, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from sampan.server.request import Request, RequestInfo, Response
from sampan.server.threads import aside

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2, 3, 4, 5, 8, 10, 15, 20, 30, 45, 60)
_REQUEST = ("verb", "group", "version", "resource", "subresource", "scope")

_VERBS = frozenset(
    {
        "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection",
        "post", "put", "head", "options", "connect",
    }
)  # fmt: skip


#: values for ``_REQUEST``
Labels: TypeAlias = tuple[str, str, str, str, str, str]


class _Latencies:
    """The requests of one series, by how long they took."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        #: requests in each bucket alone; the last is for what took longer than all bounds
        self.buckets = [0] * (len(_BUCKETS) + 1)
        self.seconds = 0.0


class RequestMetrics(Collector):
    """Counts requests in plain dicts, for the event loop only, and makes metrics of them when scraped.

    The library's own counters take a lock for each of the three numbers that a request changes.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[Labels, int], int] = {}
        self._latencies: dict[Labels, _Latencies] = {}

    def observe(self, labels: Labels, status: int, seconds: float) -> None:
        key = (labels, status)
        self._counts[key] = self._counts.get(key, 0) + 1
        latencies = self._latencies.get(labels)
        if latencies is None:
            latencies = self._latencies[labels] = _Latencies()
        latencies.seconds += seconds
        latencies.buckets[bisect_left(_BUCKETS, seconds)] += 1

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "apiserver_request", "Requests by verb, resource and code", labels=(*_REQUEST, "code")
        )
        for (labels, status), count in self._counts.items():
            requests.add_metric((*labels, str(status)), count)
        yield requests
        durations = HistogramMetricFamily("apiserver_request_duration_seconds", "Response latency", labels=_REQUEST)
        bounds = [*map(floatToGoString, _BUCKETS), "+Inf"]
        for series, latencies in self._latencies.items():
            counts = accumulate(latencies.buckets)
            durations.add_metric(series, list(zip(bounds, counts, strict=True)), latencies.seconds)
        yield durations


class State(Protocol):
    """What a server is doing at the moment. Asked when scraped; answers at once."""

    def inflight(self) -> Mapping[str, int]:
        """Requests that count against the limits, by ``readOnly`` and ``mutating``."""
        ...

    def longrunning(self) -> Mapping[Labels, int]:
        """Watches and streams being served."""
        ...

    def refused(self) -> Mapping[str, int]:
        """Requests refused in self-defence since the start, by code."""
        ...

    def objects(self) -> Mapping[tuple[str, str], int]:
        """Stored objects by group and resource."""
        ...

    def loops(self) -> Mapping[str, tuple[bool, int]]:
        """The server's own loops: whether each runs, and how often it failed."""
        ...


class _StateCollector(Collector):
    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        state = self._state
        inflight = GaugeMetricFamily(
            "apiserver_current_inflight_requests", "Requests being served", labels=("request_kind",)
        )
        for kind, count in state.inflight().items():
            inflight.add_metric((kind,), count)
        yield inflight
        longrunning = GaugeMetricFamily(
            "apiserver_longrunning_requests", "Watches and streams being served", labels=_REQUEST
        )
        for labels, count in state.longrunning().items():
            longrunning.add_metric(labels, count)
        yield longrunning
        refused = CounterMetricFamily(
            "apiserver_request_terminations", "Requests refused in self-defence", labels=("code",)
        )
        for code, count in state.refused().items():
            refused.add_metric((code,), count)
        yield refused
        objects = GaugeMetricFamily("apiserver_resource_objects", "Stored objects", labels=("group", "resource"))
        for resource, count in state.objects().items():
            objects.add_metric(resource, count)
        yield objects
        running = GaugeMetricFamily("sampan_loop_running", "Whether a loop of the server runs", labels=("loop",))
        help_text = "How often a loop had to be started again"
        failures = CounterMetricFamily("sampan_loop_failures", help_text, labels=("loop",))
        for name, (runs, failed) in state.loops().items():
            running.add_metric((name,), int(runs))
            failures.add_metric((name,), failed)
        yield running
        yield failures


class Metrics:
    def __init__(self) -> None:
        self._served = RequestMetrics()
        self._collectors: list[Collector] = [self._served]

    def follow(self, state: State) -> None:
        """Shows what this server is doing, too."""
        self._collectors.append(_StateCollector(state))

    def observe(self, info: RequestInfo, status: int, seconds: float) -> None:
        self._served.observe(request_labels(info), status, seconds)

    def observe_labels(self, labels: Labels, status: int, seconds: float) -> None:
        """The same where the labels are at hand."""
        self._served.observe(labels, status, seconds)

    async def handle(self, request: Request) -> Response | None:
        """None: not the metrics path."""
        if request.raw_path.rstrip("/") != "/metrics":
            return None
        # Collected here, where nothing changes meanwhile; written out, which takes longest, in a thread.
        collected = [family for collector in self._collectors for family in collector.collect()]
        return Response(200, await aside(generate_latest, _Collected(collected)), CONTENT_TYPE)


class _Collected(CollectorRegistry):
    """A registry of metrics that have been collected already."""

    def __init__(self, families: list[Metric]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def request_labels(info: RequestInfo) -> Labels:
    """Values for ``_REQUEST``. Paths that are no known resource share one series a verb."""
    verb = info.verb.upper() if info.verb in _VERBS else "OTHER"
    if not info.is_resource or info.kind is None:
        return (verb, "", "", "", "", "")
    if info.name and info.verb not in ("list", "watch", "deletecollection"):
        scope = "resource"
    else:
        scope = "namespace" if info.namespace else "cluster"
    kind = info.kind
    # A subresource that the kind does not have is whatever the client likes: it makes no series.
    known = info.subresource in ("", "status", "scale") or any(
        sub.name == info.subresource for sub in kind.subresources
    )
    return (verb, info.group, info.version, info.resource, info.subresource if known else "", scope)
