"""``sampan up --simulate``: a cluster of simulated nodes for somebody who is not root, driven by stock kubectl."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_harness import PROGRAMS, Program, Served, eventually
from etcd_members import free_ports
from up_harness import Sampan, nobodys, own_ports

SHAPES = """
nodes:
- {name: worker, count: 2, labels: {topology.kubernetes.io/zone: a}, startSeconds: 0.1}
- {name: edge, labels: {topology.kubernetes.io/zone: b}, capacity: {cpu: 2, memory: 4Gi}}
images:
  docker.io/library/busybox:1: {runSeconds: 0.1}
"""


@pytest.fixture
def sampan(tmp_path: Path) -> Iterator[Sampan]:
    with nobodys(tmp_path) as made:
        yield made


def test_whoever_is_not_root_has_a_cluster_of_the_nodes_that_a_file_describes(sampan: Sampan) -> None:
    shapes = sampan.home / "nodes.yaml"
    shapes.write_text(SHAPES)
    ports = own_ports()
    assert "is ready after" in sampan("up", "--name", "sim", "--simulate", str(shapes), *ports)
    kubectl = Program(PROGRAMS / "kubectl-1.37", Served(sampan.kubeconfig, sampan.home))
    names = kubectl("get", "nodes", "-o", "name", "-L", "topology.kubernetes.io/zone").split()
    assert names == ["node/edge-0", "node/worker-0", "node/worker-1"]

    kubectl("create", "deployment", "web", "--image=nginx", "--replicas=6")
    kubectl("rollout", "status", "deployment/web")
    kubectl("create", "job", "once", "--image=busybox:1")
    kubectl("wait", "--for=condition=complete", "job/once")
    assert "nginx of image docker.io/library/nginx:latest started" in kubectl("logs", "deployment/web")
    assert "a simulated container runs no programs" in kubectl.fails("exec", "deployment/web", "--", "true")
    summary = json.loads(kubectl("get", "--raw", "/api/v1/nodes/edge-0/proxy/stats/summary"))
    assert summary["node"]["nodeName"] == "edge-0"
    assert "address not allowed" in kubectl.fails("get", "--raw", "/api/v1/nodes/edge-0:22/proxy/")

    seen = json.loads(sampan("status", "--name", "sim", "-o", "json"))
    assert seen["healthy"] and seen["simulatedNodes"] == {"total": 3, "ready": 3}
    assert [process["name"] for process in seen["processes"]] == ["server"]
    assert "its nodes are simulated" in sampan.run("image", "list", "--name", "sim").stderr

    kubectl("annotate", "node", "edge-0", "simulation.sampan.io/fault=crashing")
    eventually(lambda: "CrashLoopBackOff" in kubectl("get", "pods", "--field-selector=spec.nodeName=edge-0"))

    # Another number of nodes, from the same state.
    sampan("down", "--name", "sim")
    sampan("up", "--name", "sim", "--simulate", "1")
    eventually(lambda: kubectl("get", "nodes", "-o", "name").split() == ["node/sim-0"])
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "after"}}
    pod["spec"] = {"nodeName": "sim-0", "containers": [{"name": "c", "image": "nginx"}]}
    kubectl("create", "-f", "-", stdin=json.dumps(pod))
    eventually(lambda: "Running" in kubectl("get", "pod", "after"))


def test_a_cluster_on_etcd_outlives_its_member_and_starts_again_with_all_it_had(sampan: Sampan) -> None:
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed (Debian's package etcd-server; scripts/setup does it)")
    etcd = [f"--etcd-{use}-port={port}" for use, port in zip(("client", "peer"), free_ports(2), strict=True)]
    ports = own_ports()
    sampan("up", "--name", "sim", "--simulate", "1", "--store", "etcd", *etcd, *ports)
    kubectl = Program(PROGRAMS / "kubectl-1.37", Served(sampan.kubeconfig, sampan.home))
    kubectl("create", "configmap", "before", "--from-literal=a=1")

    seen = json.loads(sampan("status", "--name", "sim", "-o", "json"))
    assert [process["name"] for process in seen["processes"]] == ["etcd", "server"]
    (member,) = seen["etcd"]
    assert member["leads"] and member["problem"] == "" and seen["healthy"]
    os.kill(seen["processes"][0]["pid"], signal.SIGKILL)
    kubectl("create", "configmap", "while-it-was-away", "--from-literal=a=1")  # no error, it waits

    # Nobody without a certificate of its own CA gets in.
    at = f"https://{member['endpoint']}/health"
    with pytest.raises(OSError):
        urllib.request.urlopen(at, timeout=10, context=ssl._create_unverified_context())

    sampan("down", "--name", "sim")
    sampan("up", "--name", "sim")
    names = kubectl("get", "configmaps", "-o", "name").split()
    assert {"configmap/before", "configmap/while-it-was-away"} <= set(names)
    told = sampan.run("up", "--name", "sim", "--store", "sqlite")
    assert told.returncode == 1 and "was made with --store etcd, which cannot become sqlite" in told.stderr
    assert sampan.run("logs", "etcd", "--name", "sim").returncode == 0


def test_what_names_no_etcd_is_told_by_its_option(sampan: Sampan) -> None:
    done = sampan.run("up", "--name", "sim", "--simulate", "1", "--store", "etcd://a:b")
    assert done.returncode == 1 and "'a:b' is no endpoint of etcd" in done.stderr
    done = sampan.run("up", "--name", "sim", "--simulate", "1", "--store", "raft")
    assert done.returncode == 1 and "--store 'raft' is not known" in done.stderr
    done = sampan.run("up", "--name", "sim", "--simulate", "1", "--store", "etcd", "--etcd-program", "/none")
    assert done.returncode == 1 and "/none is no program (--etcd-program)" in done.stderr


def test_a_wrong_file_is_told_with_its_field_and_leaves_nothing(sampan: Sampan) -> None:
    shapes = sampan.home / "nodes.yaml"
    shapes.write_text("nodes: [{count: many}]")
    done = sampan.run("up", "--name", "sim", "--simulate", str(shapes))
    assert done.returncode == 1 and "nodes[0].count: must be a whole number from 0 to 5000" in done.stderr
    assert not (sampan.home / ".local/state/sampan/sim").exists()
    missing = sampan.run("up", "--name", "sim", "--simulate", str(sampan.home / "none.yaml"))
    assert missing.returncode == 1 and "no such file" in missing.stderr
    many = sampan.run("up", "--name", "sim", "--simulate", "2000", "--pod-cidr", "10.200.0.0/16")
    assert many.returncode == 1 and "has room for 256 nodes with a /24 each" in many.stderr


def test_whoever_is_not_root_is_told_what_needs_no_root(sampan: Sampan) -> None:
    done = sampan.run("up", "--name", "sim")
    assert done.returncode == 1 and "not running as root" in done.stderr and "--simulate" in done.stderr
    assert "only root's clusters start with the machine" in sampan.run("up", "--simulate", "1", "--boot").stderr
