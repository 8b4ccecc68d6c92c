"""``/metrics`` of the API server, under upstream's metric names.

The pipeline calls ``observe`` once a request; ``Metrics`` owns its sources, so that several servers in one process do
not mix. A scrape copies the numbers on the event loop, which takes a millisecond or two, and makes text of them in a
thread. Label values come from request info, never from raw paths, and what has proved no right to ask makes no series.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from sampan.api.registry import registry
from sampan.api.versions.lifecycle import lifecycle
from sampan.keeping.metrics import FAILURES, RUNNING
from sampan.metrics.families import Family, Histogram
from sampan.server.request import Request, RequestInfo, Response
from sampan.server.threads import aside

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2, 3, 4, 5, 8, 10, 15, 20, 30, 45, 60)
_REQUEST = ("verb", "group", "version", "resource", "subresource", "scope")
_DEPRECATED = ("group", "version", "resource", "subresource", "removed_release")

_VERBS = frozenset(
    {
        "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection",
        "post", "put", "head", "options", "connect",
    }
)  # fmt: skip


#: values for ``_REQUEST``
Labels: TypeAlias = tuple[str, str, str, str, str, str]
#: makes metrics of a copy of the numbers, in any thread
Build: TypeAlias = Callable[[], Iterable[Family]]

#: what a request may end with before it is known that its user may ask it
_UNPROVEN = frozenset({400, 401, 403, 429})
#: of requests, by all labels; what comes later is counted together
_SERIES = 10_000
_OTHER: Labels = ("OTHER", "", "", "", "", "")


class _Latencies:
    """The requests of one series, by how long they took."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        #: requests in each bucket alone; the last is for what took longer than all bounds
        self.buckets = [0] * (len(_BUCKETS) + 1)
        self.seconds = 0.0


class RequestMetrics:
    """Counts requests in plain dicts, for the event loop only, and makes metrics of them when scraped.

    The library's own counters take a lock for each of the three numbers that a request changes. Invariant: there are
    ``series`` entries at most in each dict, and a few more for what all others share.
    """

    def __init__(self, series: int = _SERIES) -> None:
        self._most = series
        self._counts: dict[tuple[Labels, int], int] = {}
        self._latencies: dict[Labels, _Latencies] = {}

    def observe(self, labels: Labels, status: int, seconds: float) -> None:
        latencies = self._latencies.get(labels)
        if latencies is None:
            labels, latencies = self._admit(labels, status)
        key = (labels, status)
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) >= self._most:
                key = (_OTHER, status)
            count = self._counts.get(key, 0)
        self._counts[key] = count + 1
        latencies.seconds += seconds
        latencies.buckets[bisect_left(_BUCKETS, seconds)] += 1

    def _admit(self, labels: Labels, status: int) -> tuple[Labels, _Latencies]:
        """A new series, or the one that shall count for it: strangers choose among thousands."""
        if status in _UNPROVEN:
            labels = (labels[0], "", "", "", "", "")
        if labels not in self._latencies and len(self._latencies) >= self._most:
            labels = _OTHER
        return labels, self._latencies.setdefault(labels, _Latencies())

    def copy(self) -> Build:
        counts = self._counts.copy()
        latencies = [(labels, tuple(found.buckets), found.seconds) for labels, found in self._latencies.items()]
        return lambda: _request_metrics(counts, latencies)


def _request_metrics(
    counts: Mapping[tuple[Labels, int], int], latencies: Iterable[tuple[Labels, tuple[int, ...], float]]
) -> Iterable[Family]:
    requests = {(*labels, str(status)): count for (labels, status), count in counts.items()}
    yield Family("counter", "apiserver_request", "Requests by verb, resource and code", (*_REQUEST, "code"), requests)
    durations = {labels: Histogram(_BUCKETS, buckets, seconds) for labels, buckets, seconds in latencies}
    yield Family("histogram", "apiserver_request_duration_seconds", "Response latency", _REQUEST, durations)
    deprecated = {found: 1 for labels in {labels[1:5] for labels, _ in counts} if (found := _deprecated(*labels))}
    help_ = "Deprecated APIs that have been requested, by the release that removes them"
    yield Family("gauge", "apiserver_requested_deprecated_apis", help_, _DEPRECATED, deprecated)


def _deprecated(group: str, version: str, resource: str, subresource: str) -> tuple[str, ...] | None:
    """Values for ``_DEPRECATED``; None: nothing is said against this version."""
    kind = registry().by_resource(group, version, resource)
    if kind is None or not kind.deprecation_warning:
        return None
    entry = lifecycle(kind.api_version, kind.kind)
    removed = str(entry.removed or "") if entry is not None else ""
    return group, version, resource, subresource, removed


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

    def components(self) -> Mapping[str, tuple[bool, int]]:
        """What is kept running in this process: whether each runs, and how often it failed."""
        ...


def _copy(state: State) -> Build:
    inflight = {(kind,): count for kind, count in state.inflight().items()}
    longrunning = dict(state.longrunning())
    refused = {(code,): count for code, count in state.refused().items()}
    objects = dict(state.objects())
    components = dict(state.components())

    def build() -> Iterable[Family]:
        served = "Requests being served"
        yield Family("gauge", "apiserver_current_inflight_requests", served, ("request_kind",), inflight)
        yield Family("gauge", "apiserver_longrunning_requests", "Watches and streams served", _REQUEST, longrunning)
        yield Family("counter", "apiserver_request_terminations", "Requests refused", ("code",), refused)
        yield Family("gauge", "apiserver_resource_objects", "Stored objects", ("group", "resource"), objects)
        running = {(name,): int(runs) for name, (runs, _) in components.items()}
        yield Family("gauge", *RUNNING, ("component",), running)
        failures = {(name,): failed for name, (_, failed) in components.items()}
        yield Family("counter", *FAILURES, ("component",), failures)

    return build


class Metrics:
    def __init__(self) -> None:
        self._served = RequestMetrics()
        self._states: list[State] = []
        self._others: list[Callable[[], Build]] = []

    def include(self, copy: Callable[[], Build]) -> None:
        """Shows what a part of the server counts by itself; ``copy`` takes its numbers, when scraped."""
        self._others.append(copy)

    def follow(self, state: State) -> None:
        """Shows what this server is doing, too."""
        self._states.append(state)

    def observe(self, info: RequestInfo, status: int, seconds: float) -> None:
        self._served.observe(request_labels(info), status, seconds)

    def observe_labels(self, labels: Labels, status: int, seconds: float) -> None:
        """The same where the labels are at hand."""
        self._served.observe(labels, status, seconds)

    async def handle(self, request: Request) -> Response | None:
        """None: not the metrics path."""
        if request.raw_path.rstrip("/") != "/metrics":
            return None
        copies = [self._served.copy(), *map(_copy, self._states), *(copy() for copy in self._others)]
        return Response(200, await aside(_text, copies), CONTENT_TYPE)


def _text(copies: Sequence[Build]) -> bytes:
    from sampan.metrics.text import text  # late: few servers are scraped, and its library brings an HTTP server

    return text(family for build in copies for family in build())


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
