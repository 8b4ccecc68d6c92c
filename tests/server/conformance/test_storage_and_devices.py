"""Requirements of upstream's conformance suite on kinds of storage and devices, each test named after its own."""

from __future__ import annotations

from typing import Any

from tests.server.conformance.test_api_operations import MERGE, all_operations, ok, resources

STORAGE = "/apis/storage.k8s.io/v1"
DEVICES = "/apis/resource.k8s.io/v1"
REQUESTS = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}


def named(**content: Any) -> Any:
    return {"metadata": {"name": "e2e"}, **content}


async def test_storage_classes(api: Any) -> None:
    """[sig-storage] StorageClasses CSI Conformance should run through the lifecycle of a StorageClass [Conformance]"""
    assert "storageclasses" in await resources(api, "storage.k8s.io")
    await all_operations(api, f"{STORAGE}/storageclasses", named(provisioner="e2e.ex.io"), None)


async def test_nodes_of_drivers(api: Any) -> None:
    """[sig-storage] CSINodes CSI Conformance should run through the lifecycle of a csinode [Conformance]"""
    assert "csinodes" in await resources(api, "storage.k8s.io")
    await all_operations(api, f"{STORAGE}/csinodes", named(spec={"drivers": None}), None)


async def test_drivers(api: Any) -> None:
    """[sig-storage] CSIInlineVolumes should run through the lifecycle of a CSIDriver [Conformance]"""
    assert "csidrivers" in await resources(api, "storage.k8s.io")
    spec = {"volumeLifecycleModes": ["Ephemeral"]}
    await all_operations(api, f"{STORAGE}/csidrivers", {"metadata": {"name": "e2e"}, "spec": spec}, None)


async def test_capacities(api: Any) -> None:
    """[sig-storage] CSIStorageCapacity should support CSIStorageCapacities API operations [Conformance]"""
    assert "csistoragecapacities" in await resources(api, "storage.k8s.io")
    collection = f"{STORAGE}/namespaces/default/csistoragecapacities"
    await all_operations(api, collection, named(storageClassName="e2e", capacity="1Gi"), None)
    obj = {"metadata": {"name": "everywhere", "labels": {"e2e": "x"}}, "storageClassName": "e2e"}
    await ok(api, "POST", collection, obj, 201)
    listed = await ok(api, "GET", f"{STORAGE}/csistoragecapacities?labelSelector=e2e%3Dx")
    assert [each["metadata"]["namespace"] for each in listed["items"]] == ["default"]


async def test_attachments(api: Any) -> None:
    """[sig-storage] VolumeAttachment Conformance should run through the lifecycle of a VolumeAttachment [Conformance]

    [sig-storage] VolumeAttachment Conformance should apply changes to a volumeattachment status [Conformance]"""
    assert {"volumeattachments", "volumeattachments/status"} <= await resources(api, "storage.k8s.io")
    spec = {"attacher": "e2e.ex.io", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}
    await all_operations(api, f"{STORAGE}/volumeattachments", named(spec=spec), None)
    one = f"{STORAGE}/volumeattachments/e2e"
    await ok(api, "POST", f"{STORAGE}/volumeattachments", named(spec=spec), 201)
    patched = await ok(api, "PATCH", f"{one}/status", {"status": {"attached": True}}, content_type=MERGE)
    assert patched["status"]["attached"] is True
    found = await ok(api, "GET", f"{one}/status")
    found["status"]["attached"] = False
    assert (await ok(api, "PUT", f"{one}/status", found))["status"]["attached"] is False
    assert (await ok(api, "GET", one))["spec"] == spec


async def test_classes_of_attributes(api: Any) -> None:
    """[sig-storage] VolumeAttributesClass [FeatureGate:VolumeAttributesClass] should run through the lifecycle of a
    VolumeAttributesClass [Conformance]"""
    assert "volumeattributesclasses" in await resources(api, "storage.k8s.io")
    obj = named(driverName="e2e.ex.io", parameters={"iops": "4000"})
    collection = f"{STORAGE}/volumeattributesclasses"
    await all_operations(api, collection, obj, None, protection="kubernetes.io/vac-protection")


async def test_device_classes(api: Any) -> None:
    """[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 DeviceClass [Conformance]"""
    assert "deviceclasses" in await resources(api, "resource.k8s.io")
    selectors = [{"cel": {"expression": 'device.driver == "e2e.ex.io"'}}]
    await all_operations(api, f"{DEVICES}/deviceclasses", named(spec={"selectors": selectors}), None)


async def test_claims(api: Any) -> None:
    """[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceClaim [Conformance]"""
    assert {"resourceclaims", "resourceclaims/status"} <= await resources(api, "resource.k8s.io")
    collection = f"{DEVICES}/namespaces/default/resourceclaims"
    await all_operations(api, collection, named(spec=REQUESTS), None)
    await ok(api, "POST", collection, named(spec=REQUESTS), 201)
    device = {"request": "r", "driver": "e2e.ex.io", "pool": "p", "device": "d"}
    allocation = {"devices": {"results": [device]}}
    change = {"status": {"allocation": allocation}}
    status = await ok(api, "PATCH", f"{collection}/e2e/status", change, content_type=MERGE)
    assert status["status"]["allocation"] == allocation
    await ok(api, "PUT", f"{collection}/e2e/status", status)
    assert (await ok(api, "GET", f"{collection}/e2e/status"))["status"]["allocation"] == allocation


async def test_templates_of_claims(api: Any) -> None:
    """[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceClaimTemplate [Conformance]"""
    assert "resourceclaimtemplates" in await resources(api, "resource.k8s.io")
    collection = f"{DEVICES}/namespaces/default/resourceclaimtemplates"
    await all_operations(api, collection, named(spec={"spec": REQUESTS}), None)


async def test_slices(api: Any) -> None:
    """[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceSlice [Conformance]"""
    assert "resourceslices" in await resources(api, "resource.k8s.io")
    pool = {"name": "p", "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": "e2e.ex.io", "nodeName": "n", "pool": pool, "devices": [{"name": "d"}]}
    await all_operations(api, f"{DEVICES}/resourceslices", named(spec=spec), None)
