"""A cluster of the previous commit's code goes over to this one's, control planes one after another, under load.

Takes minutes: only with ``SAMPAN_LONG=1``. ``SAMPAN_UPGRADE_FROM`` names another commit. Where the history is not there
(a source archive), it is skipped.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_harness import eventually
from e2e_manifests import pod
from load import Caller, Writer, running
from machines_lab import Machine, Machines, pods_run, skip_where_there_can_be_none
from suite_sweep import sweep

ROOT = Path(__file__).resolve().parents[2]
FROM = os.environ.get("SAMPAN_UPGRADE_FROM", "HEAD~1")
LONGEST_GAP = 3.0 * float(os.environ.get("SAMPAN_TEST_PATIENCE", "3"))
CONTROL = 2
SERVE = "mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.environ.get("SAMPAN_LONG") != "1", reason="takes minutes: SAMPAN_LONG=1"),
]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the version of before."""
    place = tmp_path_factory.mktemp("before")
    done = subprocess.run(["git", "-C", str(ROOT), "archive", FROM, "src"], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the history has no {FROM}: {done.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(place, filter="data")
    return place / "src"


@pytest.fixture(scope="module")
def made(before: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    skip_where_there_can_be_none()
    sweep()
    lab = Machines(tmp_path_factory.mktemp("upgrade"), CONTROL + 1, kind="mcu")
    lab.each = [dataclasses.replace(machine, extra={"PYTHONPATH": str(before)}) for machine in lab.each]
    try:
        lab.wire()
        lab.init(CONTROL)
        yield lab
    finally:
        lab.close()


def sources(machine: Machine) -> dict[str, str]:
    """Where the machine's programs have their code from, by program."""
    told = json.loads(machine.sampan("status", "--name", machine.name, "-o", "json").stdout)
    found = {}
    for each in told["processes"]:
        words = Path(f"/proc/{each['pid']}/environ").read_bytes().split(b"\0")
        found[each["name"]] = next((w.decode().partition("=")[2] for w in words if w.startswith(b"PYTHONPATH=")), "")
    return found


def test_control_planes_go_over_one_after_another_and_nobody_waits(made: Machines, before: Path) -> None:
    kubectl, worker = made.cluster.kubectl(), made[CONTROL + 1]
    kubectl("apply", "-f", "-", stdin=pod("web", SERVE, f"nodeName: {worker.node_name}"))
    pods_run(kubectl, ["web"])
    kubectl("expose", "pod", "web", "--port=80", "--target-port=8080", "--type=NodePort")
    port = kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
    was = kubectl.json("get", "pod", "web")["status"]["containerStatuses"][0]
    assert sources(made.cluster)["server"] == str(before)

    writer = Writer(made.cluster.kubeconfig, [made.server(m) for m in made.each[:CONTROL]], "default")
    caller = Caller(f"http://{worker.ipv4}:{port}")
    with running(made.outside, writer, caller):
        eventually(lambda: len(writer.seen.written) > 20)
        for machine in made.each:
            now = dataclasses.replace(machine, extra={})
            if machine is made.cluster:
                plan = now.sampan("upgrade", "plan", "--name", machine.name).stdout
                assert "kube-apiserver" in plan
                assert "To be mended first" not in plan
            verb = "apply" if machine in made.each[:CONTROL] else "node"
            now.sampan("upgrade", verb, "--name", machine.name)
            now_from = sources(machine)
            # What runs containers and what has the data go on as they are.
            assert str(before) not in [now_from[name] for name in now_from if name not in ("containerd", "etcd")]
        there = len(writer.seen.written)
        eventually(lambda: len(writer.seen.written) > there + 20)
    assert writer.seen.gap < LONGEST_GAP, writer.seen.faults
    assert caller.seen.faults == []
    found = kubectl.json("get", "pod", "web")["status"]["containerStatuses"][0]
    assert (found["containerID"], found["restartCount"]) == (was["containerID"], was["restartCount"])
    names = set(kubectl("get", "configmap", "-o", "name").split())
    assert not {f"configmap/{name}" for name in writer.seen.written} - names
