"""``/metrics/resource`` of our node agent and of a kubelet, and what a hostile node could send."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sampan.api.nodes.usage import Point
from sampan.node.api.machine import MachineUsage
from sampan.node.api.stats import Sampler, render_resource_metrics
from sampan.node.runtime import ContainerStats
from sampan.server.resourcemetrics import exposition
from sampan.server.resourcemetrics.exposition import parse

NOW = 1_770_000_000.0
NODE = """\
# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 357.35491 1769999999500
node_memory_working_set_bytes 1.616273408e+09 1769999999500
scrape_error 0
"""
CONTAINER = """\
container_cpu_usage_seconds_total{container="app",namespace="ns",pod="web"} 4.710169 1769999999000
container_memory_working_set_bytes{container="app",namespace="ns",pod="web"} 2.1454848e+07 1769999999000
container_start_time_seconds{container="app",namespace="ns",pod="web"} 1.7699e+09
pod_cpu_usage_seconds_total{namespace="ns",pod="web"} 5 1769999999000
"""


def test_a_kubelets_text_is_read() -> None:
    found = parse(NODE + CONTAINER, NOW)
    assert found.node == Point(NOW - 0.5, 357_354_910_000, 1_616_273_408)
    assert found.pods == {("ns", "web"): {"app": Point(NOW - 1, 4_710_169_000, 21_454_848, 1.7699e9)}}


def test_what_our_node_agent_writes_is_read() -> None:
    time = datetime.fromtimestamp(NOW - 2, UTC)
    labels = {
        "io.kubernetes.pod.uid": "u",
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "ns",
        "io.kubernetes.container.name": "app",
    }
    stats = ContainerStats("id", labels, time, 2_500_000_000, 4096, 8192, 2048, 0)
    started = datetime.fromtimestamp(NOW - 60, UTC)
    sample = Sampler().sample(time, MachineUsage(9_000_000_000, 1 << 30, 2 << 30, 1 << 30), [stats], {"id": started})
    found = parse(render_resource_metrics(sample), NOW)
    assert found.node == Point(NOW - 2, 9_000_000_000, 1 << 30)
    assert found.pods == {("ns", "web"): {"app": Point(NOW - 2, 2_500_000_000, 4096, NOW - 60)}}


def test_a_container_without_memory_or_cpu_is_left_out() -> None:
    assert parse('container_cpu_usage_seconds_total{container="a",namespace="n",pod="p"} 1 1\n', NOW).pods == {}
    assert parse("node_cpu_usage_seconds_total 1\n", NOW).node is None


@pytest.mark.parametrize(
    "line",
    [
        'container_cpu_usage_seconds_total{container="app",namespace="ns"} 1 1',
        'container_cpu_usage_seconds_total{container="app",namespace="ns",pod="web"} NaN 1',
        'container_cpu_usage_seconds_total{container="app",namespace="ns",pod="web"} -1 1',
        'container_cpu_usage_seconds_total{container="app",namespace="ns",pod="web"} 1e400 1',
        'container_cpu_usage_seconds_total{container="app",namespace="ns",pod="web"} - 1',
        'container_cpu_usage_seconds_total{container="app",namespace="ns",pod="web"',
        'container_cpu_usage_seconds_total{container="app",namespace="ns",pod="' + "x" * 300 + '"} 1 1',
        "container_cpu_usage_seconds_total{" + '=",' * 5000,
        'container_cpu_usage_seconds_total{container="app",namespace="ns",pod="web",more="' + "x" * 5000 + '"} 1 1',
    ],
)
def test_a_line_that_makes_no_sense_costs_itself_only(line: str) -> None:
    assert parse(f"{line}\n{NODE}{CONTAINER}", NOW) == parse(NODE + CONTAINER, NOW)


def test_a_clock_that_is_ahead_is_not_believed() -> None:
    ahead = parse("node_cpu_usage_seconds_total 1 9999999999000\nnode_memory_working_set_bytes 1 9999999999000\n", NOW)
    assert ahead.node is not None
    assert ahead.node.time == NOW


def test_the_number_of_containers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "MOST_CONTAINERS", 1)
    assert set(parse(CONTAINER + CONTAINER.replace("web", "other"), NOW).pods) == {("ns", "web")}


@pytest.mark.parametrize("word", ["a", "a_", 'a="', 'a="b\\'])
def test_labels_of_a_hostile_node_cost_no_more_than_their_length(word: str) -> None:
    """Of two million characters, which each begin a search to the end, nobody would see the end."""
    assert len(exposition._LABEL.findall(word * (2_000_000 // len(word)))) < 1_000_000


def test_lines_are_bounded_however_short_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "_MOST_LINES", 5)
    assert parse("\n" * 5 + NODE, NOW).node is None
    assert parse(NODE, NOW).node is not None


def test_escaped_labels_hide_none_of_the_others() -> None:
    more = CONTAINER.replace("{container", r'{Image1="a\"b\\",container')
    assert parse(NODE + more, NOW) == parse(NODE + CONTAINER, NOW)


def test_of_a_pod_with_too_many_containers_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "MOST_OF_POD", 1)
    other = CONTAINER.replace('"web"', '"other"')
    assert set(parse(CONTAINER + CONTAINER.replace('"app"', '"more"') + other, NOW).pods) == {("ns", "other")}
