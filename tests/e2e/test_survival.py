"""What a cluster survives: the death of its server, its node agent, and a full stop and start."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from e2e_harness import NAME, Cluster, Kubectl, eventually
from e2e_manifests import pod, web
from kubernetes import client as official

pytestmark = [pytest.mark.timeout(400), pytest.mark.filterwarnings("ignore")]


def status_of(name: str) -> Any:
    return json.loads(Path(f"/run/sampan/{NAME}/status.json").read_text())["processes"][name]


def kill(name: str) -> None:
    """SIGKILL for one of the cluster's processes; returns when the supervisor runs a new one."""
    before = status_of(name)["pid"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: status_of(name)["pid"] not in (None, before))


def ready(kubectl: Kubectl) -> bool:
    return kubectl.run("get", "--raw", "/readyz", check=False).returncode == 0


def test_killing_the_server_in_the_middle_of_writes_loses_no_acknowledged_one(
    kubectl: Kubectl, official_client: Any
) -> None:
    core = official.CoreV1Api(official_client())
    acknowledged: list[str] = []
    refused = 0
    killed: Future[None] = Future()
    killer = threading.Thread(target=lambda: killed.set_result(kill("server")))
    after = 0
    # A hundred before the kill and a hundred after it, however fast the server is and comes again.
    for number in itertools.count():
        if number == 100:
            killer.start()
        if after == 100:
            break
        name = f"w-{number:04}"
        body = official.V1ConfigMap(metadata=official.V1ObjectMeta(name=name), data={"n": str(number)})
        try:
            core.create_namespaced_config_map(kubectl.namespace, body, _request_timeout=5)
            acknowledged.append(name)
            after += killed.done()
        except official.ApiException as error:
            if error.status == 409:  # written, but the answer was lost with the server
                acknowledged.append(name)
            else:
                refused += 1
        except Exception as error:  # the client's own connection errors, of several libraries
            assert "onnection" in repr(error) or "Protocol" in repr(error) or "Timeout" in repr(error), error
            refused += 1
            time.sleep(0.05)
    killer.join()
    eventually(lambda: ready(kubectl))
    present = {item.metadata.name for item in core.list_namespaced_config_map(kubectl.namespace).items}
    assert refused > 0, "the server was not killed in the middle"
    assert set(acknowledged) - present == set()
    assert status_of("server")["restarts"] >= 1


def test_killing_the_node_agent_restarts_no_container(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=pod("p"))
    kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=90s")
    kubectl("exec", "p", "--", "touch", "/tmp/here")
    before = kubectl.json("get", "pod", "p")["status"]["containerStatuses"][0]
    kill("node")
    eventually(lambda: kubectl.run("exec", "p", "--", "ls", "/tmp/here", check=False).returncode == 0)
    kubectl("run", "later", "--image=docker.io/sampan/e2e:1", "--", "sleep", "3600")
    kubectl("wait", "pod/later", "--for=condition=Ready", "--timeout=90s")
    after = kubectl.json("get", "pod", "p")["status"]["containerStatuses"][0]
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)


@contextlib.contextmanager
def lost_shim(directory: Path, socket: str) -> Iterator[subprocess.Popen[bytes]]:
    """What containerd leaves behind when it is killed while it makes a sandbox: a shim that it never asks again."""
    program = directory / "containerd-shim-lost"
    shutil.copy("/bin/bash", program)
    with subprocess.Popen([program, "-c", "read", "-address", socket], stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_down_and_up_bring_everything_back(cluster: Cluster, kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("apply", "-f", "-", stdin=web(replicas=2))
    kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    kubectl("create", "configmap", "kept", "--from-literal=a=1")
    socket = f"/run/sampan/{NAME}/containerd.sock"
    with lost_shim(tmp_path, socket) as shim:
        cluster.sampan("down", "--name", NAME)
        shim.wait(timeout=30)
    # What was stopped goes in its own time.
    eventually(lambda: subprocess.run(["pgrep", "-f", socket], check=False).returncode == 1)
    assert cluster.sampan("status", "--name", NAME, check=False).returncode == 1
    cluster.sampan("up", "--name", NAME)
    assert kubectl("get", "cm", "kept", "-o", "jsonpath={.data.a}") == "1"
    eventually(lambda: kubectl.json("get", "deployment", "web")["status"].get("readyReplicas") == 2)
    kubectl("run", "new", "--image=docker.io/sampan/e2e:1", "--", "sleep", "3600")
    kubectl("wait", "pod/new", "--for=condition=Ready", "--timeout=90s")
    address = kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    eventually(
        lambda: "web-" in kubectl.run("exec", "new", "--", "wget", "-qO-", f"http://{address}/", check=False).stdout
    )


def test_status_tells_of_each_process(cluster: Cluster) -> None:
    said = cluster.sampan("status", "--name", NAME).stdout
    for word in ("containerd", "server", "node", "Ready", "pods"):
        assert word in said


def test_a_killed_supervisor_is_replaced_by_up_and_no_container_notices(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=pod("p"))
    kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=90s")
    before = kubectl.json("get", "pod", "p")["status"]["containerStatuses"][0]
    os.kill(json.loads(Path(f"/run/sampan/{NAME}/status.json").read_text())["supervisor"], signal.SIGKILL)
    # Two at once: one waits for the other, neither fails.
    both = [threading.Thread(target=cluster.sampan, args=("up", "--name", NAME)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert cluster.sampan("status", "--name", NAME, check=False).returncode == 0
    eventually(lambda: kubectl.run("exec", "p", "--", "true", check=False).returncode == 0)
    after = kubectl.json("get", "pod", "p")["status"]["containerStatuses"][0]
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)


def test_damaged_settings_are_told_and_do_not_keep_it_running(cluster: Cluster) -> None:
    settings = Path(f"/var/lib/sampan/{NAME}/cluster.json")
    good = settings.read_bytes()
    settings.write_text("{")
    try:
        said = cluster.sampan("up", "--name", NAME, check=False)
        assert said.returncode == 1 and "is damaged" in said.stderr and "--purge" in said.stderr
        assert cluster.sampan("down", "--name", NAME).returncode == 0
    finally:
        settings.write_bytes(good)
    cluster.sampan("up", "--name", NAME)
