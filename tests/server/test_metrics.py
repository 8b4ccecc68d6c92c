"""Request metrics as a scraper sees them."""

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from sampan.server import metrics as metrics_module
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.metrics import Labels, Metrics, RequestMetrics
from sampan.server.request import Request, RequestInfo


async def scrape(metrics: Metrics) -> dict[str, float]:
    response = await metrics.handle(Request("GET", "/metrics", {}, {}))
    assert response is not None
    assert isinstance(response.body, bytes)
    lines = [line for line in response.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_requests_are_counted_by_code_and_sorted_by_duration() -> None:
    metrics = Metrics()
    info = RequestInfo(False, "get", "/healthz")
    for status, seconds in ((200, 0.005), (200, 0.3), (404, 100.0)):
        metrics.observe(info, status, seconds)
    seen = await scrape(metrics)
    by_code = {name: value for name, value in seen.items() if name.startswith("apiserver_request_total")}
    assert sorted(by_code.values()) == [1.0, 2.0]
    buckets = [value for name, value in seen.items() if name.startswith("apiserver_request_duration_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-2], buckets[-1]) == (1.0, 2.0, 3.0)
    assert seen[next(name for name in seen if name.startswith("apiserver_request_duration_seconds_count"))] == 3.0
    total = seen[next(name for name in seen if name.startswith("apiserver_request_duration_seconds_sum"))]
    assert abs(total - 100.305) < 1e-9


async def test_random_subresources_and_paths_make_no_series(api: Any) -> None:
    """Anybody can ask for them, credentials or not."""
    before = len(await scrape(api.server.metrics))
    for number in range(50):
        await api("GET", f"/api/v1/namespaces/default/pods/x/nothing-{number}")
        await api("GET", f"/apis/group-{number}/v1/things")
        await api("GET", f"/path-{number}")
    after = await scrape(api.server.metrics)
    assert not any("nothing-" in name or "group-" in name or "path-" in name for name in after)
    assert len(after) - before < 120  # a histogram of each of three verbs and scopes at most


async def test_a_scrape_shows_what_the_server_is_doing(api: Any) -> None:
    await api("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "a"}})
    watch = api.watch("/api/v1/namespaces/default/configmaps?watch=1")
    assert (await anext(watch))["type"] == "ADDED"
    seen = await scrape(api.server.metrics)
    labels = 'group="",resource="configmaps",scope="namespace",subresource="",verb="WATCH",version="v1"'
    assert seen[f"apiserver_longrunning_requests{{{labels}}}"] == 1
    assert seen['apiserver_resource_objects{group="",resource="configmaps"}'] == 1
    assert seen['apiserver_current_inflight_requests{request_kind="readOnly"}'] == 0
    assert seen['sampan_component_running{component="age resource versions"}'] == 1
    await watch.aclose()
    after = await scrape(api.server.metrics)
    assert not any("WATCH" in name and "longrunning" in name for name in after)


async def test_strangers_make_no_series_whatever_they_ask_for() -> None:
    async with Server(ServerConfig(listen=False)) as server:
        for kind in server.surface.kinds.kinds():
            base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
            for path in (f"/{kind.plural}", f"/namespaces/d/{kind.plural}/n/status"):
                for method, query in (("GET", {}), ("GET", {"timeout": "x"}), ("PATCH", {}), ("DELETE", {})):
                    response = await server.handler(Request(method, base + path, query, {}))
                    assert response.status in (400, 403)
        seen = await scrape(server.metrics)
    assert not any("apiserver_request" in name and 'resource="pods"' in name for name in seen)
    assert len([name for name in seen if name.startswith("apiserver_request_duration_seconds_count")]) < 10


async def test_a_refusal_counts_with_the_series_that_others_have_made(api: Any) -> None:
    pods = ("GET", "", "v1", "pods", "", "resource")
    metrics = Metrics()
    for status in (200, 403):
        metrics.observe_labels(pods, status, 0.01)
    labels = 'group="",resource="pods",scope="resource",subresource="",verb="GET",version="v1"'
    seen = await scrape(metrics)
    assert seen[f"apiserver_request_duration_seconds_count{{{labels}}}"] == 2
    assert seen['apiserver_request_total{code="403",' + labels + "}"] == 1


def test_the_number_of_series_is_bounded_and_nothing_goes_uncounted() -> None:
    served = RequestMetrics(series=10)
    for number in range(100):
        labels: Labels = ("GET", "", "v1", f"things{number % 50}", "", "cluster")
        for status in (200, 404, 500):
            served.observe(labels, status, 0.01)
    totals, durations, _ = served.copy()()
    assert len(served._counts) <= 10 + 3
    assert len(served._latencies) <= 10 + 1
    assert sum(totals.values.values()) == 300
    assert sum(sum(histogram.buckets) for histogram in durations.values.values()) == 300


async def test_metrics_are_made_in_a_thread_of_numbers_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    build = metrics_module._request_metrics

    def noted(*args: Any) -> Iterable[Any]:
        threads.append(threading.current_thread())
        return build(*args)

    monkeypatch.setattr(metrics_module, "_request_metrics", noted)
    metrics = Metrics()
    metrics.observe(RequestInfo(False, "get", "/healthz"), 200, 0.01)
    assert len(await scrape(metrics)) > 1
    assert threads
    assert threading.main_thread() not in threads
