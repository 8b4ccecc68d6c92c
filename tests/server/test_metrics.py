"""Request metrics as a scraper sees them."""

from sampan.server.metrics import Metrics
from sampan.server.request import Request, RequestInfo


def scrape(metrics: Metrics) -> dict[str, float]:
    response = metrics.handle(Request("GET", "/metrics", {}, {}))
    assert response is not None
    assert isinstance(response.body, bytes)
    lines = [line for line in response.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_requests_are_counted_by_code_and_sorted_by_duration() -> None:
    metrics = Metrics()
    info = RequestInfo(False, "get", "/healthz")
    for status, seconds in ((200, 0.005), (200, 0.3), (404, 100.0)):
        metrics.observe(info, status, seconds)
    seen = scrape(metrics)
    by_code = {name: value for name, value in seen.items() if name.startswith("apiserver_request_total")}
    assert sorted(by_code.values()) == [1.0, 2.0]
    buckets = [value for name, value in seen.items() if name.startswith("apiserver_request_duration_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-2], buckets[-1]) == (1.0, 2.0, 3.0)
    assert seen[next(name for name in seen if name.startswith("apiserver_request_duration_seconds_count"))] == 3.0
    total = seen[next(name for name in seen if name.startswith("apiserver_request_duration_seconds_sum"))]
    assert abs(total - 100.305) < 1e-9
