"""Volumes, claims and storage classes as upstream requires them, with the official client and kubectl."""

from __future__ import annotations

from typing import Any

import pytest
from client_harness import Program, eventually
from kubernetes import client as k8s
from kubernetes.client.exceptions import ApiException

# Third-party clients warn of their own dependencies; that is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def core(official: Any) -> Any:
    return k8s.CoreV1Api(official)


@pytest.fixture
def storage(official: Any) -> Any:
    return k8s.StorageV1Api(official)


def volume(name: str, label: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": label}
    spec |= {"hostPath": {"path": "/tmp/e2e"}, "persistentVolumeReclaimPolicy": "Retain"}
    return {"metadata": {"name": name, "labels": {"e2e": label}}, "spec": spec}


def claim(name: str, label: str, **spec: Any) -> dict[str, Any]:
    wanted = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": label,
    }
    return {"metadata": {"name": name, "labels": {"e2e": label}}, "spec": {**wanted, **spec}}


def is_gone(read: Any, *arguments: str) -> bool:
    try:
        read(*arguments)
    except ApiException as error:
        return bool(error.status == 404)
    return False


def test_the_life_of_a_volume_and_a_claim(core: Any, namespace: str) -> None:
    """[sig-storage] PersistentVolumes CSI Conformance should run through the lifecycle of a PV and a PVC"""
    label = f"life-{namespace}"
    core.create_persistent_volume(volume(f"pv-{namespace}", label))
    core.create_namespaced_persistent_volume_claim(namespace, claim("pvc", label))
    (found,) = core.list_persistent_volume(label_selector=f"e2e={label}").items
    assert len(core.list_namespaced_persistent_volume_claim(namespace).items) == 1
    patch = {"metadata": {"labels": {"patched": "yes"}}}
    assert core.patch_persistent_volume(found.metadata.name, patch).metadata.labels["patched"] == "yes"
    patched = core.patch_namespaced_persistent_volume_claim("pvc", namespace, patch)
    assert patched.metadata.labels["patched"] == "yes"
    assert core.read_persistent_volume(found.metadata.name).metadata.uid == found.metadata.uid
    bound = eventually(lambda: core.read_namespaced_persistent_volume_claim("pvc", namespace).status.phase == "Bound")
    assert bound
    core.delete_namespaced_persistent_volume_claim("pvc", namespace)
    eventually(lambda: is_gone(core.read_namespaced_persistent_volume_claim, "pvc", namespace))
    core.delete_persistent_volume(found.metadata.name)
    eventually(lambda: is_gone(core.read_persistent_volume, found.metadata.name))
    # Their replacements, by deletecollection.
    core.create_persistent_volume(volume(f"pv2-{namespace}", label))
    core.create_namespaced_persistent_volume_claim(namespace, claim("pvc2", label))
    eventually(lambda: core.read_namespaced_persistent_volume_claim("pvc2", namespace).status.phase == "Bound")
    again = core.read_persistent_volume(f"pv2-{namespace}")
    again.metadata.labels["updated"] = "yes"
    assert core.replace_persistent_volume(again.metadata.name, again).metadata.labels["updated"] == "yes"
    core.delete_collection_namespaced_persistent_volume_claim(namespace, label_selector=f"e2e={label}")
    eventually(lambda: not core.list_namespaced_persistent_volume_claim(namespace).items)
    core.delete_collection_persistent_volume(label_selector=f"e2e={label}")
    eventually(lambda: not core.list_persistent_volume(label_selector=f"e2e={label}").items)


def test_status_of_a_volume_and_a_claim_can_be_changed(core: Any, namespace: str) -> None:
    """[sig-storage] PersistentVolumes CSI Conformance should apply changes to a pv/pvc status"""
    label = f"status-{namespace}"
    name = f"pv-{namespace}"
    core.create_persistent_volume(volume(name, label))
    core.create_namespaced_persistent_volume_claim(namespace, claim("pvc", label))
    eventually(lambda: core.read_namespaced_persistent_volume_claim_status("pvc", namespace).status.phase == "Bound")
    assert core.read_persistent_volume_status(name).status.phase == "Bound"
    condition = {"type": "StatusPatched", "status": "True", "reason": "E2E", "message": "patched"}
    patched = core.patch_namespaced_persistent_volume_claim_status(
        "pvc", namespace, {"status": {"conditions": [condition]}}
    )
    assert [each.type for each in patched.status.conditions] == ["StatusPatched"]
    status = {"status": {"message": "patched", "reason": "E2E"}}
    assert core.patch_persistent_volume_status(name, status).status.reason == "E2E"
    assert core.read_persistent_volume_status(name).status.phase == "Bound"
    core.delete_namespaced_persistent_volume_claim("pvc", namespace)
    eventually(lambda: core.read_persistent_volume_status(name).status.phase == "Released")
    core.delete_persistent_volume(name)
    eventually(lambda: is_gone(core.read_persistent_volume, name))


def test_the_life_of_a_storage_class(storage: Any, namespace: str) -> None:
    """[sig-storage] StorageClasses CSI Conformance should run through the lifecycle of a StorageClass"""
    for name in (f"one-{namespace}", f"two-{namespace}"):
        made = {"metadata": {"name": name, "labels": {"e2e": namespace}}, "provisioner": "example.com/e2e"}
        storage.create_storage_class({**made, "volumeBindingMode": "Immediate", "reclaimPolicy": "Delete"})
        patched = storage.patch_storage_class(name, {"metadata": {"labels": {"patched": "yes"}}})
        assert patched.metadata.labels["patched"] == "yes"
        found = storage.read_storage_class(name)
        found.metadata.labels["updated"] = "yes"
        assert storage.replace_storage_class(name, found).metadata.labels["updated"] == "yes"
    storage.delete_storage_class(f"one-{namespace}")
    assert is_gone(storage.read_storage_class, f"one-{namespace}")
    storage.delete_collection_storage_class(label_selector=f"e2e={namespace}")
    assert not storage.list_storage_class(label_selector=f"e2e={namespace}").items


def test_kubectl_says_what_a_claim_waits_for_and_what_it_has(kubectl: Program, core: Any, namespace: str) -> None:
    """ST6, ST10: ``kubectl describe``"""
    core.create_namespaced_persistent_volume_claim(namespace, claim("none", ""))
    core.create_namespaced_persistent_volume_claim(namespace, claim("waits", "standard"))
    words = "no persistent volumes available for this claim and no storage class is set"
    eventually(lambda: words in kubectl("describe", "pvc", "none", "-n", namespace))
    later = "waiting for first consumer to be created before binding"
    eventually(lambda: later in kubectl("describe", "pvc", "waits", "-n", namespace))
    described = kubectl("describe", "storageclass", "standard")
    for line in ("IsDefaultClass:        Yes", "Provisioner:           sampan.io/local-path"):
        assert line in described
    assert "VolumeBindingMode:     WaitForFirstConsumer" in described
    assert "standard (default)" in kubectl("get", "storageclass")
    container = {"name": "c", "image": "example.com/a:1"}
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "waits"}}]
    core.create_namespaced_pod(
        namespace, {"metadata": {"name": "p"}, "spec": {"containers": [container], "volumes": volumes}}
    )
    eventually(lambda: core.read_namespaced_pod("p", namespace).status.phase == "Running")
    done = "Successfully provisioned volume pvc-"
    described = eventually(lambda: done in (text := kubectl("describe", "pvc", "waits", "-n", namespace)) and text)
    for line in ("Status:        Bound", "Used By:       p", "Finalizers:    [kubernetes.io/pvc-protection]"):
        assert line in described
    name = core.read_namespaced_persistent_volume_claim("waits", namespace).spec.volume_name
    shown = kubectl("describe", "pv", name)
    assert f"Claim:             {namespace}/waits" in shown and "Type:  LocalVolume" in shown
    assert "Reclaim Policy:    Delete" in shown
