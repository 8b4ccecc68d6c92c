"""Logs over HTTPS, which container's log is meant, pods, statistics and metrics."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sampan.api.errors import ApiError, BadRequest, Invalid
from sampan.node.api.containers import log_container_id
from sampan.node.api.machine import MachineUsage, read_machine
from sampan.node.api.options import parse_log_options
from sampan.node.api.stats import Sampler
from sampan.node.runtime import ContainerStats

NodeWorld = Any  # the fixture of conftest.py
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LABELS = {
    "io.kubernetes.pod.uid": "u1",
    "io.kubernetes.pod.name": "web",
    "io.kubernetes.pod.namespace": "ns",
    "io.kubernetes.container.name": "c",
}
RUNNING = {"containerID": "containerd://id1", "state": {"running": {}}}


def pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "ns", "uid": "u1"},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"containerStatuses": [{"name": "c", **status}]},
    }


def waiting(reason: str) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason}}}


DEAD = {"terminated": {"containerID": "containerd://id0"}}


@pytest.mark.parametrize(
    ("status", "previous", "expected"),
    [
        (RUNNING, False, "id1"),
        ({**RUNNING, "lastState": DEAD}, True, "id0"),
        ({"state": DEAD}, False, "id0"),
        ({**waiting("CrashLoopBackOff"), "lastState": DEAD}, False, "id0"),
        (RUNNING, True, 'previous terminated container "c" in pod "web" not found'),
        (
            waiting("ContainerCreating"),
            False,
            'container "c" in pod "web" is waiting to start: ContainerCreating',
        ),
        (
            waiting("ImagePullBackOff"),
            False,
            'container "c" in pod "web" is waiting to start: trying and failing to pull image',
        ),
        ({}, False, 'container "c" in pod "web" is waiting to start - no logs yet'),
    ],
)
def test_status_says_whose_log_is_meant(status: dict[str, Any], previous: bool, expected: str) -> None:
    try:
        found = log_container_id(pod(**status), "c", previous)
    except BadRequest as error:
        found = error.message
    assert found == expected


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"tailLines": "-1"}, Invalid),
        ({"tailLines": "x"}, BadRequest),
        ({"limitBytes": "0"}, Invalid),
        ({"sinceSeconds": "5", "sinceTime": "2026-03-01T00:00:00Z"}, Invalid),
        ({"stream": "Both"}, Invalid),
        ({"sinceTime": "yesterday"}, BadRequest),
    ],
)
def test_bad_log_options_are_refused(query: dict[str, str], error: type[ApiError]) -> None:
    with pytest.raises(error):
        parse_log_options(query, NOW)


def test_since_seconds_counts_from_now() -> None:
    assert parse_log_options({"sinceSeconds": "60"}, NOW).since == NOW - timedelta(minutes=1)
    beyond = parse_log_options({"sinceSeconds": str(2**63 - 1)}, NOW).since
    assert beyond is not None and beyond < NOW - timedelta(days=365 * 290)


@pytest.fixture
def log(node: NodeWorld, tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_text("2026-03-01T12:00:00Z stdout F hello\n2026-03-01T12:00:01Z stdout F world\n")
    node.pods["ns/web"] = pod(**RUNNING)
    node.runtime.add("id1", "running", str(path))
    return path


async def test_log_is_sent_as_text(node: NodeWorld, log: Path) -> None:
    status, body = await node.request("/containerLogs/ns/web/c?tailLines=1")
    assert (status, body) == (200, "6\r\nworld\n\r\n0\r\n\r\n")


async def test_followed_log_ends_when_the_container_stops(node: NodeWorld, log: Path) -> None:
    reader, writer = await node.connect()
    writer.write(b"GET /containerLogs/ns/web/c?follow=true HTTP/1.1\r\nHost: n\r\n\r\n")
    assert b"200" in await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(len(b"c\r\nhello\nworld\n\r\n")) == b"c\r\nhello\nworld\n\r\n"
    with log.open("a") as file:
        file.write("2026-03-01T12:00:02Z stdout F bye\n")
    node.api.container_stopped("id1")
    assert await reader.readexactly(len(b"4\r\nbye\n\r\n0\r\n\r\n")) == b"4\r\nbye\n\r\n0\r\n\r\n"
    writer.close()


async def test_follower_that_leaves_is_forgotten(node: NodeWorld, log: Path) -> None:
    reader, writer = await node.connect()
    writer.write(b"GET /containerLogs/ns/web/c?follow=true HTTP/1.1\r\nHost: n\r\n\r\n")
    await reader.readuntil(b"world\n\r\n")
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(15):
        while node.api._endings:  # noqa: ASYNC110 - the server notices in its own time
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/containerLogs/ns/none/c", 404, 'pod "none" does not exist\n'),
        ("/containerLogs/ns/web/none", 404, 'container "none" not found in pod "web"'),
        ("/containerLogs/ns/web/c?tailLines=-1", 422, '{"message": "Invalid request."}'),
    ],
)
async def test_log_refusals_are_upstreams(node: NodeWorld, log: Path, path: str, status: int, text: str) -> None:
    assert await node.request(path) == (status, text)


async def test_log_replaced_by_a_symlink_is_refused(node: NodeWorld, log: Path) -> None:
    log.unlink()
    log.symlink_to("/etc/passwd")
    assert await node.request("/containerLogs/ns/web/c") == (400, "unable to retrieve container logs for id1")


async def test_pods_and_running_pods(node: NodeWorld, log: Path) -> None:
    _, body = await node.request("/pods")
    assert json.loads(body)["items"] == [node.pods["ns/web"]]
    _, body = await node.request("/runningpods/")
    assert json.loads(body)["items"][0]["spec"]["containers"][0]["name"] == "c"
    _, body = await node.request("/configz")
    assert json.loads(body) == {"kubeletconfig": {"maxPods": 110}}


async def test_statistics_of_node_pod_and_container(node: NodeWorld) -> None:
    node.runtime.add("id1", "running")
    node.runtime.usage["id1"] = ContainerStats("id1", LABELS, NOW, 2_500_000_000, 4096, 8192, 2048, 100)
    _, body = await node.request("/stats/summary")
    summary = json.loads(body)
    assert summary["node"]["memory"]["workingSetBytes"] == 1 << 30
    assert summary["pods"][0]["podRef"] == {"name": "web", "namespace": "ns", "uid": "u1"}
    assert summary["pods"][0]["containers"][0]["cpu"]["usageCoreNanoSeconds"] == 2_500_000_000
    _, metrics = await node.request("/metrics/resource")
    stamp = int(NOW.timestamp() * 1000)
    assert f'container_cpu_usage_seconds_total{{container="c",namespace="ns",pod="web"}} 2.5 {stamp}' in metrics
    assert f'pod_memory_working_set_bytes{{namespace="ns",pod="web"}} 4096 {stamp}' in metrics
    _, metrics = await node.request("/metrics/cadvisor")
    assert 'container_memory_rss{container="c",id="id1",name="id1",namespace="ns",pod="web"} 2048' in metrics
    assert (await node.request("/metrics"))[0] == 200


def test_rates_come_from_two_samples() -> None:
    def one(seconds: int, cpu: int) -> Any:
        time = NOW + timedelta(seconds=seconds)
        machine = MachineUsage(cpu * 2, 0, 0, 0)
        return sampler.sample(time, machine, [ContainerStats("id1", LABELS, time, cpu, 0, 0, 0, 0)])

    sampler = Sampler()
    assert one(0, 0).nano_cores == {}
    assert one(2, 1_000_000_000).nano_cores == {"id1": 500_000_000, "": 1_000_000_000}
    restarted = one(4, 0)
    assert "id1" not in restarted.nano_cores


def test_this_machine_can_be_read() -> None:
    usage = read_machine()
    assert usage.cpu_nanoseconds > 0
    assert 0 < usage.memory_available_bytes < usage.memory_total_bytes
