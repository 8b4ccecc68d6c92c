"""``/metrics`` of the API server, under upstream's metric names.

The pipeline calls ``observe`` once a request; ``Metrics`` owns its registry, so that several servers in one process
do not mix. Label values come from request info, never from raw paths: their number stays bounded.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._series: dict[tuple[tuple[str, ...], int], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "apiserver_request", "Requests by verb, resource and code", (*_REQUEST, "code"), registry=self.registry
        )
        self._durations = Histogram(
            "apiserver_request_duration_seconds", "Response latency", _REQUEST, buckets=_BUCKETS, registry=self.registry
        )
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
        labels = request_labels(info)
        series = self._series.get((labels, status))
        if series is None:
            # Finding a series by its labels costs more than counting in it; there are few, so they are kept.
            series = self._series[labels, status] = (
                self._requests.labels(*labels, str(status)),
                self._durations.labels(*labels),
            )
        requests, durations = series
        requests.inc()
        durations.observe(seconds)

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
