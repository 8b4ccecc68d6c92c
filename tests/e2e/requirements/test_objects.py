"""Objects that the requirements of nodes are about, from creation to deletion: what the API alone answers for.

The four kinds of dynamic resources are in this list for their API; how a device reaches a container is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from object_lives import MARK, lives, names, served
from requirement_room import Obj, Refused, Room, config_map, pod, secret

NODE_API, RESOURCE_API = "/apis/node.k8s.io/v1", "/apis/resource.k8s.io/v1"

PODS: tuple[Obj, ...] = ()


@pytest.fixture
def node(room: Room) -> Iterator[str]:
    """The address of a node that is not there."""
    path = f"/api/v1/nodes/{MARK}"
    yield path
    try:
        room.api("DELETE", path)
    except Refused as refused:
        assert refused.code == 404


def test_config_maps_from_creation_to_deletion(room: Room) -> None:
    """ConfigMap should run through a ConfigMap lifecycle; ConfigMap should update ConfigMap successfully
    [NodeConformance]"""
    lives(room, room.path("configmaps"), config_map("c", a="1"))
    path = room.path("configmaps", "updated")
    made = room.create(config_map("updated", a="1"))
    room.api("PUT", path, {**made, "data": {"a": "2", "b": "3"}})
    assert room.api("GET", path)["data"] == {"a": "2", "b": "3"}


def test_a_key_is_never_empty(room: Room) -> None:
    """ConfigMap should fail to create ConfigMap with empty key; Secrets should fail to create secret due to empty
    secret key"""
    for obj, field in ((config_map("empty", **{"": "1"}), "data[]"), (secret("empty", **{"": "1"}), "data[]")):
        with pytest.raises(Refused) as refused:
            room.create(obj)
        assert refused.value.code == 422
        assert f'{field}: Invalid value: "": a valid config key must consist of' in refused.value.message


def test_a_patched_secret_has_the_new_values(room: Room) -> None:
    """Secrets should patch a secret"""
    lives(room, room.path("secrets"), secret("s", key="value"))
    room.create(secret("patched", key="value"))
    change = {"metadata": {"labels": {"testsecret": "true"}}, "data": {"key": "cGF0Y2hlZA=="}}
    room.api.patch(room.path("secrets", "patched"), change, "strategic-merge")
    found = room.api("GET", room.path("secrets"), labelSelector="testsecret=true")["items"]
    assert [each["data"] for each in found] == [{"key": "cGF0Y2hlZA=="}]
    room.api("DELETE", room.path("secrets"), labelSelector="testsecret=true")
    assert room.api("GET", room.path("secrets"), labelSelector="testsecret=true")["items"] == []


def test_leases_keep_what_their_holders_write(room: Room) -> None:
    """Lease lease API should be available"""
    collection = room.path("leases", group="coordination.k8s.io/v1")
    begun = "2026-01-02T03:04:05.678901Z"
    spec: Obj = {
        "holderIdentity": "holder", "leaseDurationSeconds": 30, "leaseTransitions": 0, "acquireTime": begun,
        "renewTime": begun,
    }  # fmt: skip
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "lease"}, "spec": spec}
    lives(room, collection, lease)
    made = room.create(lease)
    assert made["spec"] == spec
    updated = room.api(
        "PUT", f"{collection}/lease", {**made, "spec": {**spec, "holderIdentity": "other", "leaseTransitions": 1}}
    )
    assert (updated["spec"]["holderIdentity"], updated["spec"]["leaseTransitions"]) == ("other", 1)
    patched = room.api.patch(f"{collection}/lease", {"spec": {"leaseDurationSeconds": 40}})
    assert patched["spec"] == {**updated["spec"], "leaseDurationSeconds": 40}
    assert room.api("GET", f"{collection}/lease")["spec"] == patched["spec"]


def test_pod_templates_from_creation_to_deletion(room: Room) -> None:
    """PodTemplates should run the lifecycle of PodTemplates; PodTemplates should replace a pod template; PodTemplates
    should delete a collection of pod templates"""
    template = {"metadata": {"labels": {"name": "t"}}, "spec": pod("t")["spec"]}
    lives(room, room.path("podtemplates"), {"apiVersion": "v1", "kind": "PodTemplate", "template": template})


def test_a_node_from_creation_to_deletion(room: Room, node: str) -> None:
    """Node Lifecycle should run through the lifecycle of a node"""
    api = room.api
    made = api("POST", "/api/v1/nodes", {"metadata": {"name": MARK}, "spec": {"unschedulable": True}})
    assert made["metadata"]["name"] == api("GET", node)["metadata"]["name"] == MARK
    patched = api.patch(node, {"metadata": {"labels": {MARK: "patched"}}}, "strategic-merge")
    assert patched["metadata"]["labels"][MARK] == "patched"
    assert names(api("GET", "/api/v1/nodes", labelSelector=f"{MARK}=patched")) == [MARK]
    for _ in range(20):  # controllers write it too
        read = api("GET", node)
        read["metadata"]["labels"][MARK] = "updated"
        try:
            updated = api("PUT", node, read)
            break
        except Refused as refused:
            assert refused.code == 409
    assert updated["metadata"]["labels"][MARK] == "updated"
    api("DELETE", node)
    with pytest.raises(Refused) as refused_read:
        api("GET", node)
    assert refused_read.value.code == 404


def test_runtime_classes_from_creation_to_deletion(room: Room) -> None:
    """RuntimeClass should support RuntimeClasses API operations"""
    assert served(room, "node.k8s.io", "runtimeclasses")
    lives(room, f"{NODE_API}/runtimeclasses", {"handler": "some"})


def test_device_classes_from_creation_to_deletion(room: Room) -> None:
    """[DRA] CRUD Tests resource.k8s.io/v1 DeviceClass"""
    selector = {"cel": {"expression": "device.driver == 'gpu.example.com'"}}
    lives(room, f"{RESOURCE_API}/deviceclasses", {"spec": {"selectors": [selector]}})


def claim() -> Obj:
    request = {"name": "gpu", "exactly": {"deviceClassName": "gpu.example.com", "allocationMode": "All"}}
    return {"devices": {"requests": [request]}}


def test_resource_claims_from_creation_to_deletion(room: Room) -> None:
    """[DRA] CRUD Tests resource.k8s.io/v1 ResourceClaim"""
    assert served(
        room, "resource.k8s.io", "deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"
    )
    lives(room, room.path("resourceclaims", group="resource.k8s.io/v1"), {"spec": claim()})


def test_resource_claim_templates_from_creation_to_deletion(room: Room) -> None:
    """[DRA] CRUD Tests resource.k8s.io/v1 ResourceClaimTemplate"""
    lives(room, room.path("resourceclaimtemplates", group="resource.k8s.io/v1"), {"spec": {"spec": claim()}})


def test_resource_slices_from_creation_to_deletion(room: Room) -> None:
    """[DRA] CRUD Tests resource.k8s.io/v1 ResourceSlice"""
    spec: dict[str, Any] = {
        "driver": f"{MARK}.example.com", "allNodes": True, "devices": [{"name": "gpu-0"}],
        "pool": {"name": MARK, "generation": 1, "resourceSliceCount": 1},
    }  # fmt: skip
    lives(room, f"{RESOURCE_API}/resourceslices", {"spec": spec})


def test_what_is_no_sysctl_is_refused(room: Room) -> None:
    """Sysctls [LinuxOnly] [NodeConformance] should reject invalid sysctls"""
    wrong, right = ("foo-", "bar.."), ("kernel.shmmax", "safe-and-unsafe")
    sysctls = [{"name": name, "value": "100"} for name in (*wrong, *right)]
    with pytest.raises(Refused) as refused:
        room.create(pod("sysctls", securityContext={"sysctls": sysctls}))
    assert refused.value.code == 422
    told = refused.value.message
    assert all(f'Invalid value: "{name}"' in told for name in wrong)
    assert not any(name in told for name in right)
