"""``sampan down --purge`` leaves nothing behind; ``up`` tells what is missing and cleans up when it is interrupted."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from e2e_harness import SAMPAN, Cluster, Kubectl, build_demo_image, eventually, own_name, up
from e2e_manifests import web
from test_ingress import INGRESS
from test_network_policy import DENY_ALL

from sampan.cluster.processes import look as running
from sampan.node.cgroups.tree import CgroupTree
from sampan.testing import free

NAME = own_name("pur", os.getpid())


def traces() -> set[str]:
    """Everything on this machine that carries the instance's name."""
    places = ("/run/sampan", "/var/lib/sampan", "/var/run/netns", "/var/lib/cni/results", "/sys/class/net")
    found = {str(path) for place in places for path in Path(place).glob(f"*{NAME}*")}
    found |= {line for line in Path("/proc/mounts").read_text().splitlines() if f"sampan/{NAME}" in line}
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    found |= {line for line in (links + tables).splitlines() if f"sam-{NAME}" in line or f"sampan-{NAME}" in line}
    found |= {str(path) for path in Path("/sys/fs/cgroup").glob(f"*/sampan-{NAME}")}
    return found | processes()


def processes() -> set[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"sampan/{NAME}" in command or f"--name\0{NAME}\0" in command:
            found.add(command.replace("\0", " "))
    return found


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("needs root: containers, cgroups and nftables")
    made = Cluster(tmp_path / "kubeconfig", tmp_path, NAME)
    yield made
    made.sampan("down", "--name", NAME, "--purge")


def test_purge_leaves_no_process_mount_interface_rule_or_file(other: Cluster) -> None:
    up(other)
    build_demo_image(other)
    kubectl = Kubectl(Path(shutil.which("kubectl") or "kubectl"), other, "default")
    kubectl("apply", "-f", "-", stdin=web(replicas=2))
    kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    near = ("--name", "near", "--type", "LoadBalancer", "--port", "8898", "--target-port", "8080")
    kubectl("expose", "deployment", "web", *near)
    eventually(lambda: kubectl("get", "service", "near", "-o", "jsonpath={.status.loadBalancer.ingress[*].ip}") != "")
    kubectl("apply", "-f", "-", stdin=DENY_ALL)
    eventually(lambda: f"table inet sampan-{NAME}.policy" in traces())
    other.sampan("down", "--name", NAME, "--purge")
    assert traces() == set()
    assert kubectl.cluster.kubeconfig.read_text().count(NAME) == 0
    other.sampan("down", "--name", NAME, "--purge")  # and again: still fine


def kill(*marks: str) -> None:
    """Whoever of the instance has one of these words in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes().decode(errors="replace")
            if any(mark in command for mark in marks):
                os.kill(int(path.parent.name), signal.SIGKILL)


def test_purge_leaves_nothing_of_a_cluster_whose_processes_were_all_killed(other: Cluster) -> None:
    """Supervisor, programs, the proxy of Ingresses and the shims that hold containers, which go on without them."""
    up(other)
    build_demo_image(other)
    kubectl = Kubectl(Path(shutil.which("kubectl") or "kubectl"), other, "default")
    kubectl("apply", "-f", "-", stdin=web(replicas=1) + "---" + INGRESS % {"host": "killed.example"})
    kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    eventually(lambda: any("haproxy" in command for command in processes()))
    containers = [running(pid) for pid in CgroupTree().processes(f"/sampan-{NAME}")]
    assert any(containers)
    kill(f"sampan.cluster.supervisor\0{NAME}\0")
    kill(f"sampan/{NAME}/", f"--name\0{NAME}\0")
    other.sampan("down", "--name", NAME, "--purge")
    assert traces() == set()
    left = [(each, running(each.pid)) for each in containers if each is not None]
    assert [each for each, now in left if now is not None and now.started == each.started] == []


def test_interrupted_up_stops_what_it_started(other: Cluster) -> None:
    command = [SAMPAN, "up", *free.arguments(free.instance(NAME))]
    process = subprocess.Popen(
        command, env=other.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell lets what it runs in the background ignore SIGINT, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    # In the middle: something of it runs, and it has not ended.
    eventually(lambda: any("sampan.cluster" in line for line in processes()), every=0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert not [line for line in traces() if "sampan.cluster" in line]


def test_up_says_what_is_missing_and_how_to_get_it(other: Cluster, tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    env = {**other.env, "PATH": str(bare)}
    done = subprocess.run([SAMPAN, "up", "--name", NAME], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "not installed: containerd" in done.stderr
    assert "apt-get install -y containerd" in done.stderr
    assert "Traceback" not in done.stderr


def test_up_refuses_a_bad_name_and_an_occupied_port(other: Cluster) -> None:
    bad = other.sampan("up", "--name", "No/Good", check=False)
    assert bad.returncode == 1 and "is not valid" in bad.stderr

    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        chosen = free.instance(NAME)
        chosen = replace(chosen, cluster=replace(chosen.cluster, api_port=port))
        said = other.sampan("up", *free.arguments(chosen), check=False)
    assert said.returncode == 1
    assert f"port {port} is taken" in said.stderr
