"""Claims in real containers: the shop of examples/shop, whose data outlives its pods and leaves nothing on the disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_harness import Cluster, Kubectl, eventually, files_on_loop_devices
from e2e_manifests import IMAGE

SHOP = Path(__file__).parents[2] / "examples" / "shop"
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("redis-check-rdb", "redis-cli", "catatonit"))), reason="needs redis-tools, catatonit"
)


@pytest.fixture
def shop(kubectl: Kubectl, cluster: Cluster) -> Iterator[Kubectl]:
    path = f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"  # type: ignore[attr-defined]
    built = subprocess.run(
        [SHOP / "build-images", "--name", cluster.name],
        env={**cluster.env, "PATH": path}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    kubectl("apply", "-f", str(SHOP))
    kubectl("rollout", "status", "statefulset/db", "deployment/shop", "--timeout=120s")
    yield kubectl


def buy(kubectl: Kubectl, thing: str = "") -> str:
    query = f"?buy={thing}" if thing else ""
    url = f"http://shop/cgi-bin/index.cgi{query}"

    def answer() -> str:
        done = kubectl.run("exec", "deployment/shop", "--", "wget", "-qO-", url, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    return str(eventually(answer))


def paint(kubectl: Kubectl, thing: str) -> None:
    """A picture on the disk that the pods of the web tier share."""
    kubectl("exec", "deployment/shop", "--", "sh", "-c", f"echo {thing} >/pictures/new")


def painted(kubectl: Kubectl) -> str:
    return kubectl("exec", "deployment/shop", "--", "cat", "/pictures/new").strip()


def directory_of(found: dict[str, Any], claim: str) -> Path:
    (volume,) = (each for each in found.values() if each["spec"]["claimRef"]["name"] == claim)
    return Path(volume["spec"]["local"]["path"])


def node_agent(cluster: Cluster) -> int:
    """Its process."""
    status = json.loads(Path(f"/run/sampan/{cluster.name}/status.json").read_text())
    return int(status["processes"]["node"]["pid"])


def volumes_of(kubectl: Kubectl) -> dict[str, Any]:
    """Those of the namespace's claims, by name."""
    found = kubectl.json("get", "persistentvolumes")["items"]
    return {
        each["metadata"]["name"]: each for each in found if each["spec"]["claimRef"]["namespace"] == kubectl.namespace
    }


def test_a_database_a_web_tier_and_a_backup_run_end_to_end(shop: Kubectl) -> None:
    """WL24, ST1, ST7, ST9, ST11; StatefulSet with claim templates on real disks"""
    assert buy(shop, "boots").startswith("1 orders")
    assert buy(shop, "a-hat") == "2 orders, the last one of: a-hat"
    paint(shop, "boots")
    made = volumes_of(shop)
    assert len(made) == 2, "the backups' claim waits for its first pod"
    directory, pictures = directory_of(made, "data-db-0"), directory_of(made, "pictures")
    assert (directory / "appendonlydir").is_dir()
    # The pods go, their data stays.
    before = shop.json("get", "pod", "db-0")["metadata"]["uid"]
    shop("delete", "pod", "-l", "app in (db, shop)")
    eventually(lambda: shop.json("get", "pods", "-l", "app=db")["items"])
    shop("rollout", "status", "statefulset/db", "deployment/shop", "--timeout=120s")
    assert shop.json("get", "pod", "db-0")["metadata"]["uid"] != before
    assert buy(shop) == "2 orders, the last one of: a-hat"
    assert painted(shop) == "boots"
    # A backup on a claim of its own.
    shop("create", "job", "now", "--from=cronjob/backup")
    shop("wait", "--for=condition=complete", "job/now", "--timeout=120s")
    copies = [Path(each["spec"]["local"]["path"]) for name, each in volumes_of(shop).items() if name not in made]
    assert [entry.suffix for copy in copies for entry in copy.iterdir()] == [".rdb"]
    described = shop("describe", "pvc", "data-db-0")
    assert (
        "StorageClass:  standard" in described
        and "Status:        Bound" in described
        and "Used By:       db-0" in described
    )
    assert "sampan.io/local-path" in shop("describe", "storageclass", "standard")
    assert f"{shop.namespace}/data-db-0" in shop("describe", "pv", *made)
    # Claims that are deleted leave nothing on the disk.
    shop("delete", "-f", str(SHOP), "--wait=false")
    shop("delete", "job", "now", "--ignore-not-found")
    shop("delete", "pvc", "--all")
    eventually(lambda: not volumes_of(shop))
    assert not any(each.exists() for each in (directory, pictures, *copies))
    assert list(directory.parent.iterdir()) == [] or all(
        entry.name in json.dumps(shop.json("get", "pv")) for entry in directory.parent.iterdir()
    )


def test_orders_outlive_a_killed_node_agent_and_the_whole_cluster(shop: Kubectl, cluster: Cluster) -> None:
    """Issue 10, Must show 2: data is there after pod deletion, kill of the node agent, ``down`` and ``up``"""
    buy(shop, "lamp")
    paint(shop, "lamp")
    directory = directory_of(volumes_of(shop), "data-db-0")
    os.kill(node_agent(cluster), signal.SIGKILL)
    assert buy(shop, "table") == "2 orders, the last one of: table"
    cluster.sampan("down", "--name", cluster.name)
    assert directory.is_dir()
    cluster.sampan("up", "--name", cluster.name)
    shop("rollout", "status", "statefulset/db", "deployment/shop", "--timeout=120s")
    eventually(lambda: buy(shop) == "2 orders, the last one of: table")
    assert painted(shop) == "lamp"
    # A claim that goes while the agent is dead is removed from the disk when the agent is back.
    shop("delete", "statefulset", "db")
    eventually(lambda: not shop.json("get", "pods", "-l", "app=db")["items"])
    os.kill(node_agent(cluster), signal.SIGKILL)
    shop("delete", "pvc", "data-db-0")
    eventually(lambda: len(volumes_of(shop)) == 1)
    assert not directory.exists()


def test_a_claim_is_bound_when_its_pod_comes_and_the_pod_runs_on_it(kubectl: Kubectl) -> None:
    """How soon is shown in virtual time: ``tests/testing/test_claims.py``."""
    manifest = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
    pod = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: claiming}\nspec:\n  terminationGracePeriodSeconds: 0\n"
        "  volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]\n  containers:\n"
        f"  - name: c\n    image: {IMAGE}\n    command: [sleep, '3600']\n"
        "    volumeMounts: [{name: d, mountPath: /data}]\n"
    )
    kubectl("apply", "-f", "-", stdin=manifest)
    kubectl("apply", "-f", "-", stdin=pod)
    kubectl("wait", "--for=condition=Ready", "pod/claiming", "--timeout=60s")
    assert kubectl("get", "pvc", "data", "-o", "jsonpath={.status.phase}") == "Bound"
    assert kubectl("exec", "claiming", "--", "sh", "-c", "echo kept >/data/x && cat /data/x") == "kept\n"


def test_volumes_of_a_size_hold_no_more_and_a_block_volume_is_a_device(kubectl: Kubectl) -> None:
    """Block mode and `backing: file` of the provisioner, in a container that is not privileged"""
    storage_class = f"sized-{kubectl.namespace}"
    claims = [
        ("raw", {"volumeMode": "Block", "resources": {"requests": {"storage": "8Mi"}}}),
        ("sized", {"storageClassName": storage_class, "resources": {"requests": {"storage": "16Mi"}}}),
    ]
    script = (
        "dd if=/dev/zero of=/sized/filler bs=1M count=32 2>/tmp/said; grep -o 'No space.*' /tmp/said;"
        " rm /sized/filler; blockdev --getsize64 /dev/xvda; echo raw >/dev/xvda; head -c 3 /dev/xvda"
    )
    main = {
        "name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script],
        "volumeMounts": [{"name": "sized", "mountPath": "/sized"}, {"name": "tmp", "mountPath": "/tmp"}],
        "volumeDevices": [{"name": "raw", "devicePath": "/dev/xvda"}],
    }  # fmt: skip
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name, _ in claims]
    spec = {"restartPolicy": "Never", "containers": [main], "volumes": [*volumes, {"name": "tmp", "emptyDir": {}}]}
    items: list[Any] = [
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": storage_class},
         "provisioner": "sampan.io/local-path", "volumeBindingMode": "WaitForFirstConsumer",
         "parameters": {"backing": "file"}},
        *({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
           "spec": {"accessModes": ["ReadWriteOnce"], **more}} for name, more in claims),
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sizes"}, "spec": spec},
    ]  # fmt: skip
    try:
        kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        eventually(lambda: kubectl("get", "pod", "sizes", "-o", "jsonpath={.status.phase}") in ("Succeeded", "Failed"))
        assert kubectl("logs", "sizes").split("\n") == ["No space left on device", str(8 << 20), "raw"]
        directories = [Path(each["spec"]["local"]["path"]) for each in volumes_of(kubectl).values()]
        assert len(directories) == 2 and all((each / "disk").is_file() for each in directories)
    finally:
        kubectl("delete", "pod", "sizes", "--ignore-not-found")
        kubectl("delete", "pvc", "--all")
        kubectl("delete", "storageclass", storage_class, "--ignore-not-found")
    eventually(lambda: not volumes_of(kubectl))
    assert not any(each.exists() for each in directories)
    # Another mount namespace may hold a device for a moment longer.
    eventually(
        lambda: not [each for each in files_on_loop_devices() if any(str(place) in each for place in directories)]
    )
