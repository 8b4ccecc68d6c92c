"""The cluster that users get in their tests: everything but real containers, in one process."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from shutil import which

import pytest

from sampan.api.resources import DEPLOYMENTS, PODS
from sampan.testing.cluster import Cluster

pytestmark = pytest.mark.timeout(120)


def deployment(replicas: int) -> dict[str, object]:
    labels = {"app": "web"}
    container = {"name": "c", "image": "any", "resources": {"requests": {"cpu": "10m"}}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }  # fmt: skip


async def test_a_deployment_becomes_ready_pods(sampan_cluster: Cluster) -> None:
    client = sampan_cluster.client
    await client.create(DEPLOYMENTS, deployment(3))
    async with asyncio.timeout(60), client.watch(DEPLOYMENTS, "default") as events:
        async for event in events:
            if event.object.get("status", {}).get("readyReplicas") == 3:
                break
    pods = (await client.list(PODS, "default"))["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node-0"}


def test_programs_reach_it_by_kubeconfig(sampan_kubeconfig: Path) -> None:
    kubectl = which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed: run scripts/setup dev")
    said = subprocess.run(
        [kubectl, "--kubeconfig", sampan_kubeconfig, "get", "nodes", "--no-headers"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.split()[:2] == ["node-0", "Ready"]
