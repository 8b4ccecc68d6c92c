"""A KubeletConfiguration for a real cluster: what runs is shown, and pods end in order when it is taken down."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_harness import DEMO_IMAGE, NEEDS, Cluster, Kubectl, build_demo_image, eventually, faults_in_logs, own_name

from sampan.node.processors import parse, read_topology
from sampan.testing import free

NAME = own_name("kco", os.getpid())
CONFIG = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
maxPods: 17
kubeReserved: {memory: 100Mi}
systemReserved: {cpu: 500m}
cpuManagerPolicy: static
topologyManagerPolicy: single-numa-node
memoryManagerPolicy: Static
reservedMemory: [{numaNode: 0, limits: {memory: 200Mi}}]   # with what eviction keeps free
shutdownGracePeriod: 20s
shutdownGracePeriodCriticalPods: 5s
eventBurst: 7
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: hooked}
spec:
  terminationGracePeriodSeconds: 20
  containers:
  - name: main
    image: %s
    command: [sh, -c, "trap 'exit 0' TERM; sleep 1000 & wait"]
    resources: {limits: {cpu: %s, memory: 32Mi}}
    lifecycle: {preStop: {exec: {command: [sh, -c, "echo ended > /kept/hook"]}}}
    volumeMounts: [{name: kept, mountPath: /kept}]
  volumes: [{name: kept, hostPath: {path: %s}}]
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, that is not there yet."""
    if os.geteuid() != 0 or any(shutil.which(program) is None for program in NEEDS):
        pytest.skip("needs root and the programs of a cluster")
    made = Cluster(tmp_path / "kubeconfig", tmp_path, NAME)
    yield made
    faults = faults_in_logs(NAME)
    made.sampan("down", "--name", NAME, "--purge")
    assert not faults, "\n".join(faults)


def test_a_cluster_goes_by_its_file_and_ends_pods_with_their_hooks(own: Cluster, tmp_path: Path) -> None:
    """[sig-node] GracefulNodeShutdown: pods are ended, and their status says so."""
    config, kept = tmp_path / "kubelet.yaml", tmp_path / "kept"
    kept.mkdir()
    config.write_text(CONFIG)
    where = free.arguments(free.instance(NAME))
    said = own.sampan("up", *where, "--kubelet-config", str(config), "--timeout", "90")
    assert f"{config}: nothing acts on eventBurst\n" in said.stderr + said.stdout
    build_demo_image(own)
    kubectl = Kubectl(Path(shutil.which("kubectl") or "kubectl"), own, "default")
    node = kubectl.json("get", "nodes")["items"][0]
    assert node["status"]["allocatable"]["pods"] == "17"
    shown = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{node['metadata']['name']}/proxy/configz"))
    assert shown["kubeletconfig"]["shutdownGracePeriod"] == "20s"
    assert shown["kubeletconfig"]["evictionHard"]["memory.available"] == "100Mi"
    eventually(lambda: kubectl.run("get", "serviceaccount", "default", check=False).returncode == 0)
    alone = len(os.sched_getaffinity(0)) > 1  # one processor is reserved
    kubectl("apply", "-f", "-", stdin=POD % (DEMO_IMAGE, 1 if alone else "250m", kept))
    kubectl("wait", "--for=condition=Ready", "pod/hooked", "--timeout=90s", timeout=100)
    # By the kernel's own word: one processor, and memory of its NUMA node.
    told = eventually(lambda: kubectl("exec", "hooked", "--", "grep", "allowed_list", "/proc/self/status"))
    allowed = {line.split()[0]: parse(line.split()[1]) for line in told.splitlines()}
    places = read_topology().places
    if alone:
        assert len(allowed["Cpus_allowed_list:"]) == 1
        assert allowed["Mems_allowed_list:"] == {places[cpu].node for cpu in allowed["Cpus_allowed_list:"]}

    own.sampan("down", "--name", NAME)
    assert (kept / "hook").read_text() == "ended\n"
    config.write_text(CONFIG.replace("17", "-1"))
    wrong = own.sampan("up", "--name", NAME, check=False)
    assert wrong.returncode == 1
    assert f"--kubelet-config: {config}: invalid configuration: maxPods -1 must not be" in wrong.stderr
    config.write_text(CONFIG.replace("cpu: 500m", "cpu: '5000'"))
    wrong = own.sampan("up", "--name", NAME, check=False)
    assert 'Resource "cpu" has a reservation of 5k but capacity of ' in wrong.stderr
    own.sampan("up", "--name", NAME, "--kubelet-config", "", "--timeout", "90")
    status = kubectl.json("get", "pod", "hooked")["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Terminated")
    assert status["message"] == "Pod was terminated in response to imminent node shutdown."
    eventually(lambda: kubectl.json("get", "nodes")["items"][0]["status"]["allocatable"]["pods"] == "110")
