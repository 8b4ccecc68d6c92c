"""``VirtualCluster``: time that moves when it is told to, courses of events that a seed decides, and copies."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from sampan.api.resources import CRON_JOBS, DEPLOYMENTS, JOBS, NODES, PODS
from sampan.api.types import Obj
from sampan.node.shapes import parse
from sampan.testing.virtual_cluster import START, ForkFailed, VirtualCluster

pytestmark = pytest.mark.timeout(200)

COURSE = """
import sys
from sampan.api.resources import DEPLOYMENTS
from sampan.node.shapes import parse
from sampan.testing.virtual_cluster import VirtualCluster

labels = {"app": "web"}
template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "any"}]}}
web = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
    "spec": {"replicas": 6, "selector": {"matchLabels": labels}, "template": template},
}
shapes = parse("nodes: [{name: node, count: 3, startSeconds: 1-3, failureRate: 0.2}]")
with VirtualCluster(shapes=shapes, seed=int(sys.argv[1])) as cluster:
    cluster.create(DEPLOYMENTS, web)
    cluster.advance(60)
    cluster.ail("node-0", "silent")
    cluster.advance(500)
    print("\\n".join(cluster.trace))
    print(cluster.trace_digest)
"""


def deployment(replicas: int) -> Obj:
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "any"}]}},
        },
    }  # fmt: skip


def test_one_seed_gives_one_course_of_events_byte_for_byte_and_another_seed_another() -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", COURSE, seed],
            env={**os.environ, "PYTHONHASHSEED": hashing, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
            stdout=subprocess.PIPE,
        )
        for seed, hashing in (("1", "1"), ("1", "2"), ("2", "1"))
    ]
    first, again, other = (process.communicate()[0] for process in started)
    assert first.count(b"\n") > 100 and b"/registry/core/pods/default/web-" in first
    assert first == again
    assert first != other


@pytest.fixture(scope="module")
def prepared() -> object:
    with VirtualCluster(nodes=2, seed=1) as cluster:
        cluster.create(DEPLOYMENTS, deployment(4))
        cluster.run_until(lambda: cluster.get(DEPLOYMENTS, "web")["status"].get("readyReplicas") == 4)
        yield cluster


def test_time_moves_only_when_it_is_told_to(prepared: VirtualCluster) -> None:
    def body(cluster: VirtualCluster) -> None:
        before, changes = cluster.now, len(cluster.trace)
        cluster.get(NODES, "node-0")
        assert cluster.now == before and len(cluster.trace) == changes
        cluster.advance(3600)
        assert abs(cluster.now - before - timedelta(hours=1)) < timedelta(milliseconds=1)
        assert cluster.now > START

    prepared.fork(body)


def test_a_step_goes_to_the_next_moment_at_which_anything_happens(prepared: VirtualCluster) -> None:
    def body(cluster: VirtualCluster) -> None:
        moments = []
        for _ in range(20):
            assert cluster.step()
            moments.append(cluster.seconds)
        assert moments == sorted(moments) and len(set(moments)) == 20
        assert moments[-1] - moments[0] < 60

    prepared.fork(body)


def test_what_never_comes_true_is_told_by_virtual_time(prepared: VirtualCluster) -> None:
    def body(cluster: VirtualCluster) -> None:
        with pytest.raises(TimeoutError, match="within 100 s of virtual time"):
            cluster.run_until(lambda: False, within=100)

    prepared.fork(body)


def test_a_copy_changes_nothing_here_and_tells_its_error(prepared: VirtualCluster) -> None:
    def lost(cluster: VirtualCluster) -> list[str]:
        cluster.ail("node-0", "silent")
        cluster.run_until(lambda: serving(cluster) == ["node-1"] * 4)
        return serving(cluster)

    def serving(cluster: VirtualCluster) -> list[str]:
        pods = [pod for pod in cluster.list(PODS) if not pod["metadata"].get("deletionTimestamp")]
        return sorted(pod["spec"]["nodeName"] for pod in pods if pod["status"].get("phase") == "Running")

    def fails(cluster: VirtualCluster) -> None:
        assert cluster.list(PODS) == [], "there are pods"

    before = serving(prepared), len(prepared.trace)
    assert set(prepared.fork(lost)) == {"node-1"}
    assert (serving(prepared), len(prepared.trace)) == before
    with pytest.raises(ForkFailed, match="there are pods"):
        prepared.fork(fails)


def test_what_the_clock_starts_is_started_when_time_has_passed() -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "any"}]}
    annotations = {"simulation.sampan.io/run-seconds": "30"}
    template = {"spec": {"template": {"metadata": {"annotations": annotations}, "spec": pod}}}
    often = {
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "namespace": "default"},
        "spec": {"schedule": "*/5 * * * *", "jobTemplate": template, "successfulJobsHistoryLimit": 100},
    }  # fmt: skip
    with VirtualCluster(shapes=parse("nodes: [{name: n}]")) as cluster:
        cluster.create(CRON_JOBS, often)
        cluster.advance(19 * 60)
        assert [job["status"].get("succeeded") for job in cluster.list(JOBS)] == [1, 1, 1]
