"""``/metrics`` of the API server, under upstream's metric names.

The pipeline calls ``observe`` once a request; ``Metrics`` owns its registry, so that several servers in one process
do not mix. Label values come from request info, never from raw paths: their number stays bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from sampan.server.request import Request, RequestInfo, Response

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2, 3, 4, 5, 8, 10, 15, 20, 30, 45, 60)
_REQUEST = ("verb", "group", "version", "resource", "subresource", "scope")

_VERBS = frozenset(
    {
        "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection",
        "post", "put", "head", "options", "connect",
    }
)  # fmt: skip


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
        self._counts: dict[tuple[tuple[str, ...], int], int] = {}
        self._latencies: dict[tuple[str, ...], _Latencies] = {}

    def observe(self, labels: tuple[str, ...], status: int, seconds: float) -> None:
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


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._served = RequestMetrics()
        self.registry.register(self._served)
        self.inflight = Gauge(
            "apiserver_current_inflight_requests", "Requests being served", ("request_kind",), registry=self.registry
        )
        self.longrunning = Gauge(
            "apiserver_longrunning_requests", "Watches and streams being served", _REQUEST, registry=self.registry
        )
        self.terminated = Counter(
            "apiserver_request_terminations", "Requests refused in self-defence", ("code",), registry=self.registry
        )

    def observe(self, info: RequestInfo, status: int, seconds: float) -> None:
        self._served.observe(request_labels(info), status, seconds)

    def handle(self, request: Request) -> Response | None:
        """None: not the metrics path."""
        if request.raw_path.rstrip("/") != "/metrics":
            return None
        return Response(200, generate_latest(self.registry), CONTENT_TYPE)


def request_labels(info: RequestInfo) -> tuple[str, str, str, str, str, str]:
    """Values for ``_REQUEST``. Paths that are no known resource share one series a verb."""
    verb = info.verb.upper() if info.verb in _VERBS else "OTHER"
    if not info.is_resource or info.kind is None:
        return (verb, "", "", "", "", "")
    if info.name and info.verb not in ("list", "watch", "deletecollection"):
        scope = "resource"
    else:
        scope = "namespace" if info.namespace else "cluster"
    return (verb, info.group, info.version, info.resource, info.subresource, scope)
