"""``sampan registry``: a registry beside the cluster, from its start to the pod that runs what was pushed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_harness import DEMO_IMAGE, SAMPAN, Cluster, Kubectl, eventually

pytestmark = pytest.mark.skipif(shutil.which("docker-registry") is None, reason="needs docker-registry")


@pytest.fixture
def address(cluster: Cluster) -> Iterator[str]:
    try:
        found = re.search(r"localhost:\d+", cluster.sampan("registry", "up", "--name", cluster.name).stdout)
        assert found is not None
        yield found[0]
    finally:
        cluster.sampan("registry", "down", "--purge", "--name", cluster.name, check=False)
        listed = cluster.sampan("image", "list", "--name", cluster.name).stdout
        for image in re.findall(r"^localhost:\S+", listed, re.MULTILINE):
            cluster.sampan("image", "rm", image, "--name", cluster.name, check=False)


def build(cluster: Cluster, image: str, said: str, folder: Path) -> None:
    """An image that says something and ends, over whatever had its name."""
    (folder / "said").write_text(said)
    words = ("--binary", f"{shutil.which('busybox')}:/bin/busybox", "--file", f"{folder}/said:/said")
    cluster.sampan("image", "build", "--name", cluster.name, "-t", image, *words, "--cmd", "/bin/busybox cat /said")


def said_by(kubectl: Kubectl, policy: str = "Always", **images: str) -> list[str]:
    """What pods of these images say, by the name of each."""
    for name, image in images.items():
        kubectl("run", name, f"--image={image}", "--restart=Never", f"--image-pull-policy={policy}")
    pods = [f"pod/{name}" for name in images]
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", *pods, "--timeout=120s")
    return [kubectl("logs", name) for name in images]


def test_what_is_pushed_to_the_clusters_registry_is_what_pods_run(
    cluster: Cluster, kubectl: Kubectl, address: str, tmp_path: Path
) -> None:
    name = ("--name", cluster.name)
    image = f"{address}/team/app:1"
    assert address in kubectl("get", "configmap", "local-registry-hosting", "-n", "kube-public", "-o", "yaml")

    build(cluster, "app:1", "first", tmp_path)
    cluster.sampan("image", "tag", "app:1", image, *name)
    digest = cluster.sampan("image", "push", image, *name).stdout.rpartition("@")[2].strip()
    assert json.loads(cluster.sampan("image", "inspect", image, *name).stdout)["digest"] == digest
    cluster.sampan("image", "rm", image, *name)
    cluster.sampan("image", "rm", "app:1", *name)
    assert said_by(kubectl, one=image) == ["first"]

    build(cluster, image, "second", tmp_path)
    assert said_by(kubectl, "IfNotPresent", rebuilt=image) == ["second"]
    cluster.sampan("image", "push", image, *name)
    cluster.sampan("image", "tag", DEMO_IMAGE, image, *name)
    assert said_by(kubectl, pushed=image) == ["second"]

    status = json.loads(cluster.sampan("registry", "status", "-o", "json", *name).stdout)
    assert status["images"] == {"team/app": ["1"]}
    killed = _pid(cluster)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: _pid(cluster) not in (0, killed))
    eventually(lambda: cluster.sampan("registry", "status", *name, check=False).returncode == 0)

    cluster.sampan("registry", "down", *name)
    assert kubectl.run("get", "configmap", "local-registry-hosting", "-n", "kube-public", check=False).returncode == 1
    assert cluster.sampan("registry", "status", *name, check=False).returncode == 1
    assert cluster.sampan("registry", "up", *name).stdout.count(address) >= 1, "it has its port again"
    again = json.loads(cluster.sampan("registry", "status", "-o", "json", *name).stdout)
    assert again["images"] == {"team/app": ["1"]}, "its images stayed"
    cluster.sampan("registry", "down", "--purge", *name)
    state = Path("/var/lib/sampan") / cluster.name
    assert not (state / "registry").exists()
    assert not list((state / "registries").iterdir())


def test_an_import_that_is_interrupted_leaves_nothing_behind(cluster: Cluster) -> None:
    importing = subprocess.Popen(
        [SAMPAN, "image", "import", "-", "--name", cluster.name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=cluster.env,
    )  # fmt: skip
    try:
        assert importing.stdin is not None
        importing.stdin.write(tarfile.TarInfo("blobs/sha256/0").tobuf() + bytes(1 << 20))
        importing.stdin.flush()
        socket = f"/run/sampan/{cluster.name}/containerd.sock"
        eventually(lambda: _tools(socket) != [])
        importing.send_signal(signal.SIGINT)
        assert importing.wait(60) == 130
        eventually(lambda: _tools(socket) == [])
    finally:
        importing.kill()
        importing.communicate()


def _tools(socket: str) -> list[str]:
    """The ctr processes that speak to it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if Path(words[0]).name == "ctr" and socket in words:
            found.append(path.parent.name)
    return found


def _pid(cluster: Cluster) -> int:
    path = Path("/run/sampan") / cluster.name / "status.json"
    return int(json.loads(path.read_text())["processes"].get("registry", {}).get("pid") or 0)
