"""The file that describes simulated nodes: what it can say, and where a fault in it is."""

from __future__ import annotations

import random
import statistics

import pytest

from sampan.node import shapes
from sampan.node.simulated_behaviour import Behaviour, Spread

WHOLE = """
nodes:
- name: worker
  count: 3
  labels: {topology.kubernetes.io/zone: a}
  taints: [{key: dedicated, value: batch, effect: NoSchedule}]
  capacity: {cpu: 4, memory: 16Gi, pods: 20, ephemeral-storage: 50Gi, example.com/gpu: 2}
  startSeconds: {middle: 1, p99: 5}
  pullSeconds: 1-10
  failureRate: 0.01
  usage: {cpu: 50m, memory: 64Mi}
- name: edge
images:
  busybox:1: {runSeconds: 30, exitCode: 3}
"""


def test_a_file_gives_each_field() -> None:
    made = shapes.parse(WHOLE)
    worker, edge = made.nodes
    assert [name for name, _ in made.each()] == ["worker-0", "worker-1", "worker-2", "edge-0"]
    assert (worker.cpus, worker.memory_bytes, worker.pods, worker.disk_bytes) == (4, 16 << 30, 20, 50 << 30)
    assert worker.extended == {"example.com/gpu": "2"}
    assert worker.labels == {"topology.kubernetes.io/zone": "a"}
    assert worker.taints == ({"key": "dedicated", "value": "batch", "effect": "NoSchedule"},)
    assert worker.pull == Spread(1, 10)
    assert (worker.behaviour.failure_rate, worker.behaviour.cpu_cores) == (0.01, 0.05)
    assert worker.behaviour.memory_bytes == 64 << 20
    assert (edge.cpus, edge.pods, edge.start, edge.behaviour.failure_rate) == (8, 110, 0.0, 0.0)
    assert made.images == {"busybox:1": Behaviour(run_seconds=30, exit_code=3)}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("nodes: 3", "nodes: must be a list"),
        ("nodes: [", "the file is not YAML in line 1"),
        ("- a", "the file: must be an object"),
        ("node: []", "the file: unknown field node; known are nodes, images"),
        ("nodes: [{cuont: 3}]", "nodes[0]: unknown field cuont"),
        ("nodes: [{count: -1}]", "nodes[0].count: must be a whole number from 0 to 5000"),
        ("nodes: [{count: true}]", "nodes[0].count: must be a whole number from 0 to 5000"),
        ("nodes: [{name: Big}]", "nodes[0].name: a lowercase RFC 1123 subdomain"),
        ("nodes: [{name: 7}]", "nodes[0].name: must be text; put it in quotes"),
        ("nodes: [{labels: {a b: c}}]", "nodes[0].labels: "),
        ("nodes: [{labels: {a: 1}}]", "nodes[0].labels[a]: must be text; put it in quotes"),
        ("nodes: [{taints: [{key: a, effect: Never}]}]", "nodes[0].taints[0].effect: Unsupported value"),
        ("nodes: [{taints: {}}]", "nodes[0].taints: must be a list"),
        ("nodes: [{capacity: {cpu: 1500m}}]", "nodes[0].capacity.cpu: must be a whole number from 1 to 65536"),
        ("nodes: [{capacity: {memory: much}}]", "nodes[0].capacity.memory: not a quantity"),
        ("nodes: [{capacity: {gpu: 1}}]", "nodes[0].capacity[gpu]: not a resource"),
        ("nodes: [{capacity: {a.b/gpu: 500m}}]", "nodes[0].capacity[a.b/gpu]: must be an integer"),
        ("nodes: [{startSeconds: soon}]", "nodes[0].startSeconds: write a number, two like 1-3, or"),
        ("nodes: [{startSeconds: 3-1}]", "nodes[0].startSeconds: write a number"),
        ("nodes: [{startSeconds: {middle: 5, p99: 1}}]", "nodes[0].startSeconds.p99: must not be less than middle"),
        ("nodes: [{pullSeconds: .nan}]", "nodes[0].pullSeconds: must be a number from 0 to"),
        ("nodes: [{failureRate: 2}]", "nodes[0].failureRate: must be a number from 0 to 1"),
        ("nodes: [{usage: {cpu: -1}}]", "nodes[0].usage.cpu: must be greater than or equal to 0"),
        ("images: {a: {exitCode: 256}}", "images[a].exitCode: must be a whole number from 0 to 255"),
        ("images: {a: {usage: {disk: 1}}}", "images[a].usage: unknown field disk; known are cpu, memory"),
        ("nodes: [{name: a}, {name: a}]", "nodes: two are named a-0"),
        ("nodes: [{name: a, count: 3000}, {name: b, count: 3000}]", "nodes: 6000 are more than the 5000"),
        ("x" * (1 << 21), "the file is longer than"),
    ],
)
def test_a_fault_is_told_with_its_field(text: str, fault: str) -> None:
    with pytest.raises(shapes.ShapeError) as raised:
        shapes.parse(text)
    assert str(raised.value).startswith(fault)


def test_a_number_alone_gives_so_many_of_the_usual_shape() -> None:
    assert [name for name, _ in shapes.of_count(2).each()] == ["sim-0", "sim-1"]
    assert shapes.of_count(0).count == 0
    with pytest.raises(shapes.ShapeError):
        shapes.of_count(5001)


def test_times_spread_as_they_are_said_to() -> None:
    chance = random.Random(1)
    bell = Spread(0, 1000, middle=2, p99=10)
    drawn = sorted(bell.draw(chance) for _ in range(20_000))
    assert statistics.median(drawn) == pytest.approx(2, rel=0.05)
    assert drawn[int(len(drawn) * 0.99)] == pytest.approx(10, rel=0.1)
    even = [Spread(1, 3).draw(chance) for _ in range(1000)]
    assert 1 <= min(even) < 1.1 and 2.9 < max(even) <= 3
