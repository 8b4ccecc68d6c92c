"""``kubectl top`` of simulated pods, which use what their annotations say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from client_harness import Program, eventually

from sampan.api.quantity import millis

# Third-party clients warn of their own dependencies; that is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")


def pod(name: str, cpu: str, memory: str, *containers: str) -> str:
    used = {"simulation.sampan.io/cpu": cpu, "simulation.sampan.io/memory": memory}
    spec = {"containers": [{"name": each, "image": "example.com/a:1"} for each in containers]}
    metadata = {"name": name, "labels": {"app": name}, "annotations": used}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_top_shows_pods_containers_and_nodes(kubectl: Program, namespace: str) -> None:
    for manifest in (pod("busy", "1250m", "100Mi", "app", "side"), pod("idle", "10m", "3Mi", "app")):
        kubectl("apply", "-n", namespace, "-f", "-", stdin=manifest)
    top = ("top", "pods", "-n", namespace, "--no-headers")

    def both() -> Any:
        done = kubectl.run(*top, check=False)
        return rows(done.stdout) if len(done.stdout.splitlines()) == 2 else None

    found = eventually(both)
    assert sorted(found) == [["busy", "2500m", "200Mi"], ["idle", "10m", "3Mi"]]
    assert [row[0] for row in rows(kubectl(*top, "--sort-by=cpu"))] == ["busy", "idle"]
    assert [row[0] for row in rows(kubectl(*top, "--sort-by=memory"))] == ["busy", "idle"]
    assert rows(kubectl(*top, "-l", "app=idle")) == [["idle", "10m", "3Mi"]]
    assert rows(kubectl("top", "pod", "busy", "-n", namespace, "--no-headers")) == [["busy", "2500m", "200Mi"]]
    of_containers = rows(kubectl(*top, "--containers"))
    assert sorted(of_containers) == [
        ["busy", "app", "1250m", "100Mi"],
        ["busy", "side", "1250m", "100Mi"],
        ["idle", "app", "10m", "3Mi"],
    ]
    assert [namespace, "idle", "10m", "3Mi"] in rows(kubectl("top", "pods", "-A", "--no-headers"))

    def of_node() -> Any:
        (row,) = rows(kubectl("top", "nodes", "--no-headers"))
        return row if int(row[1].rstrip("m")) >= 2510 else None

    node = eventually(of_node)
    assert node[2].endswith("%")
    assert node[3].endswith("Mi")


def test_what_is_not_there_is_said_in_the_references_words(kubectl: Program, namespace: str) -> None:
    assert "No resources found" in kubectl.run("top", "pods", "-n", namespace).stderr
    assert 'pods "none" not found' in kubectl.fails("top", "pod", "none", "-n", namespace)


def test_the_tables_are_metrics_servers(kubectl: Program, namespace: str) -> None:
    kubectl("apply", "-n", namespace, "-f", "-", stdin=pod("web", "250m", "64Mi", "app"))

    def shown() -> Any:
        done = kubectl.run("get", "pods.v1beta1.metrics.k8s.io", "-n", namespace, check=False)
        return done.stdout if "web" in done.stdout else None

    heads, row = rows(eventually(shown))
    assert heads == ["NAME", "CPU", "MEMORY", "WINDOW"]
    assert (row[0], row[2]) == ("web", "64Mi")
    assert millis(row[1]) == 250
