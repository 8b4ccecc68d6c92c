"""``kubectl top`` of real containers: soon after their start, and close to what their cgroups count."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from e2e_harness import Cluster, Kubectl, eventually
from e2e_manifests import IMAGE

KUBECTLS = ("1.20", "1.32", "1.37")
METRICS = "/apis/metrics.k8s.io/v1beta1"
BURN = "while :; do :; done"
#: what the burning container may use
LIMIT_MILLICORES = 300


def pod(name: str, *commands: str, **labels: str) -> str:
    limits = {"cpu": f"{LIMIT_MILLICORES}m", "memory": "64Mi"}
    containers = [
        {"name": f"c{number}", "image": IMAGE, "command": ["sh", "-c", command], "resources": {"limits": limits}}
        for number, command in enumerate(commands)
    ]
    spec = {"terminationGracePeriodSeconds": 0, "containers": containers}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec})


def first_metrics(kubectl: Kubectl, name: str) -> Any:
    path = f"{METRICS}/namespaces/{kubectl.namespace}/pods/{name}"

    def known() -> Any:
        done = kubectl.run("get", "--raw", path, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    return eventually(known, seconds=60, every=0.5)


def moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def millicores(text: str) -> int:
    assert text.endswith("m"), text
    return int(text[:-1])


def counted_by_cgroup(uid: str) -> int:
    """Nanoseconds of processor that the pod has used, wherever this machine counts them."""
    root = Path("/sys/fs/cgroup")
    for counter in root.glob(f"cpuacct/**/pod{uid}*/cpuacct.usage"):
        return int(counter.read_text())
    for counter in root.glob(f"**/pod{uid}*/cpu.stat"):
        return int(dict(line.split() for line in counter.read_text().splitlines())["usage_usec"]) * 1000
    raise AssertionError("no cgroup of the pod was found")


def test_a_pods_use_is_known_soon_after_its_start_and_is_what_its_cgroup_counts(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=pod("burner", BURN))
    kubectl("wait", "pod/burner", "--for=condition=Ready", "--timeout=90s")
    found = first_metrics(kubectl, "burner")
    status = kubectl.json("get", "pod", "burner")
    started = moment(status["status"]["containerStatuses"][0]["state"]["running"]["startedAt"])
    assert moment(found["timestamp"]) - started <= 45  # 15 where nothing else is at work
    # Both are asked over the same time: a busy machine gives both of them less.
    uid = status["metadata"]["uid"]
    before, at = counted_by_cgroup(uid), time.monotonic()
    seen = {found["timestamp"]: found}
    while time.monotonic() - at < 25:
        each = first_metrics(kubectl, "burner")
        seen[each["timestamp"]] = each
        time.sleep(1)
    rate = (counted_by_cgroup(uid) - before) / (time.monotonic() - at) / 1e6
    later = sorted(seen)[1:]
    told = [nano(seen[when]["containers"][0]["usage"]["cpu"]) / 1e6 for when in later]
    assert len(told) >= 2
    assert sum(told) / len(told) == pytest.approx(rate, rel=0.25)
    top = kubectl("top", "pod", "burner", "--no-headers").split()
    assert top[0] == "burner"
    assert millicores(top[1]) == pytest.approx(rate, rel=0.35)
    assert top[2].endswith("Mi")


def nano(text: str) -> float:
    for suffix, factor in (("n", 1), ("u", 1e3), ("m", 1e6)):
        if text.endswith(suffix):
            return float(text[:-1]) * factor
    return float(text) * 1e9


def test_top_of_every_version_shows_pods_containers_and_nodes(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=pod("busy", BURN, "sleep 3600", role="busy"))
    kubectl("apply", "-f", "-", stdin=pod("idle", "sleep 3600", role="idle"))
    kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=90s")
    first_metrics(kubectl, "busy")
    first_metrics(kubectl, "idle")
    (node,) = [each["metadata"]["name"] for each in kubectl.json("get", "nodes")["items"]]
    for version in KUBECTLS:
        program = Path(__file__).parents[2] / ".venv" / "programs" / f"kubectl-{version}"
        each = Kubectl(program, cluster, kubectl.namespace)
        by_cpu = [line.split()[0] for line in each("top", "pods", "--no-headers", "--sort-by=cpu").splitlines()]
        assert by_cpu == ["busy", "idle"], version
        rows = [line.split() for line in each("top", "pods", "--no-headers", "--containers").splitlines()]
        assert [row[:2] for row in rows] == [["busy", "c0"], ["busy", "c1"], ["idle", "c0"]], version
        assert millicores(rows[0][2]) > 50 > millicores(rows[1][2]), version
        assert [row.split()[0] for row in each("top", "pods", "--no-headers", "-l", "role=idle").splitlines()] == [
            "idle"
        ]
        everywhere = [line.split()[:2] for line in each("top", "pods", "--no-headers", "-A").splitlines()]
        assert [kubectl.namespace, "busy"] in everywhere, version
        (row,) = [line.split() for line in each("top", "nodes", "--no-headers").splitlines()]
        assert row[0] == node, version
        assert millicores(row[1]) > millicores(rows[0][2]) / 2, version
        assert row[2].endswith("%") and row[3].endswith("Mi") and row[4].endswith("%"), version


def test_the_nodes_own_statistics_can_be_read_through_the_api_server(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=pod("measured", BURN))
    kubectl("wait", "pod/measured", "--for=condition=Ready", "--timeout=90s")
    (node,) = [each["metadata"]["name"] for each in kubectl.json("get", "nodes")["items"]]
    proxy = f"/api/v1/nodes/{node}/proxy"

    def summary() -> Any:
        found = json.loads(kubectl("get", "--raw", f"{proxy}/stats/summary"))
        pods = [each for each in found["pods"] if each["podRef"]["name"] == "measured"]
        return pods[0] if pods and "usageNanoCores" in pods[0]["cpu"] else None

    measured = eventually(summary)
    assert measured["containers"][0]["cpu"]["usageNanoCores"] > 0
    labels = f'container="c0",namespace="{kubectl.namespace}",pod="measured"'
    resource = kubectl("get", "--raw", f"{proxy}/metrics/resource")
    for series in ("cpu_usage_seconds_total", "memory_working_set_bytes", "start_time_seconds"):
        assert f"container_{series}{{{labels}}}" in resource
    cadvisor = kubectl("get", "--raw", f"{proxy}/metrics/cadvisor")
    assert 'container_cpu_usage_seconds_total{container="c0",cpu="total"' in cadvisor
