"""A second cluster finds its own ports and ranges, and the first does not notice it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_harness import NAME, Cluster, Kubectl, build_demo_image, eventually, own_name
from e2e_manifests import web

OTHER = own_name("second-cluster-of-tests", os.getpid())


@pytest.fixture
def second(cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "kubeconfig", tmp_path, OTHER)
    yield made
    made.sampan("down", "--name", OTHER, "--purge")


def serves(kubectl: Kubectl) -> bool:
    done = kubectl.run("exec", "deployment/web", "--", "wget", "-qO-", "http://web/", check=False)
    return "web-" in done.stdout


def test_a_second_cluster_without_any_option_leaves_the_first_alone(
    cluster: Cluster, kubectl: Kubectl, second: Cluster
) -> None:
    kubectl("apply", "-f", "-", stdin=web(replicas=2))
    kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    eventually(lambda: serves(kubectl))

    said = second.sampan("up", "--name", OTHER).stdout
    assert "It has ports" in said
    build_demo_image(second)
    other = Kubectl(Path(shutil.which("kubectl") or "kubectl"), second, "default")
    other("apply", "-f", "-", stdin=web(replicas=1))
    other("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    eventually(lambda: serves(other))
    assert serves(kubectl)

    low, high = kubectl.json("get", "service", "web")["spec"], other.json("get", "service", "web")["spec"]
    assert low["clusterIP"] != high["clusterIP"]
    clash = second.sampan("up", "--name", f"{OTHER}3", "--api-port", _api_port(cluster), check=False)
    assert clash.returncode == 1 and f"belongs to cluster '{NAME}'" in clash.stderr
    dropped = second.sampan("up", "--name", OTHER, "--pod-cidr", "10.1.0.0/16", check=False)
    assert dropped.returncode == 1 and "cannot become 10.1.0.0/16" in dropped.stderr

    second.sampan("down", "--name", OTHER, "--purge")
    assert serves(kubectl)


def _api_port(made: Cluster) -> str:
    return str(made.kubeconfig.read_text().partition("https://127.0.0.1:")[2].split()[0])
