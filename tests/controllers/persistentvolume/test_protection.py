"""Claims and volumes stay while they are used; ephemeral volumes get claims of their own; claims grow."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.resources import (
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    VOLUME_ATTRIBUTES_CLASSES,
)
from sampan.controllers.ephemeralvolume.controller import EphemeralVolumeController
from sampan.controllers.volumeexpand.controller import VolumeExpandController
from sampan.controllers.volumeprotection.attributes import AttributesClassProtectionController
from sampan.controllers.volumeprotection.controller import ClaimProtectionController, VolumeProtectionController

Obj = dict[str, Any]
OF_CLAIMS, OF_VOLUMES = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"


def pod(name: str, node: str = "n", **volume: Any) -> Obj:
    spec = {
        "nodeName": node,
        "volumes": [{"name": "d", **(volume or {"persistentVolumeClaim": {"claimName": "data"}})}],
    }
    return {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"}, "spec": spec}


def claim(**meta: Any) -> Obj:
    named = {"name": "data", "namespace": "default", "uid": "uid-data", "finalizers": [OF_CLAIMS]}
    return {"metadata": {**named, **meta}, "spec": {"accessModes": ["ReadWriteOnce"]}}


def volume(phase: str) -> Obj:
    meta = {"name": "v", "uid": "uid-v", "finalizers": [OF_VOLUMES], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": meta, "spec": {}, "status": {"phase": phase}}


async def test_a_claim_goes_when_the_last_pod_with_a_node_that_uses_it_has_gone(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    async with running(ClaimProtectionController(context)):
        api.add(PODS, pod("running"))
        api.add(PODS, pod("waiting", node=""))
        api.add(PERSISTENT_VOLUME_CLAIMS, claim(deletionTimestamp="2026-01-01T00:00:00Z"))
        await wait.quiet(api)
        assert api.get(PERSISTENT_VOLUME_CLAIMS, "default", "data")
        api.change(PODS, "default", "running", lambda found: found.update(status={"phase": "Succeeded"}))
        await wait.quiet(api)
        assert api.get(PERSISTENT_VOLUME_CLAIMS, "default", "data"), "its volumes are there until it is deleted"
        api.remove(PODS, "default", "running")
        await wait.until(lambda: not api.get(PERSISTENT_VOLUME_CLAIMS, "default", "data"))


async def test_claims_from_before_the_protection_get_it(api: Any, context: Any, running: Any, wait: Any) -> None:
    api.add(PERSISTENT_VOLUME_CLAIMS, claim(finalizers=["example.com/mine"]))
    async with running(ClaimProtectionController(context)):
        await wait.quiet(api)
        found = api.get(PERSISTENT_VOLUME_CLAIMS, "default", "data")
        assert found["metadata"]["finalizers"] == ["example.com/mine", OF_CLAIMS]


@pytest.mark.parametrize(("phase", "stays"), [("Bound", True), ("Released", False), ("Available", False)])
async def test_a_volume_goes_unless_it_is_bound(
    api: Any, context: Any, running: Any, wait: Any, phase: str, stays: bool
) -> None:
    api.add(PERSISTENT_VOLUMES, volume(phase))
    async with running(VolumeProtectionController(context)):
        await wait.quiet(api)
        assert bool(api.get(PERSISTENT_VOLUMES, "", "v")) is stays


OF_ATTRIBUTES = "kubernetes.io/vac-protection"


def going_class(name: str = "gold", **meta: Any) -> Obj:
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [OF_ATTRIBUTES]}
    return {"metadata": {"name": name, "uid": f"uid-{name}", **going, **meta}, "driverName": "d", "parameters": {}}


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (PERSISTENT_VOLUME_CLAIMS, ("spec", "volumeAttributesClassName")),
        (PERSISTENT_VOLUME_CLAIMS, ("status", "currentVolumeAttributesClassName")),
        (PERSISTENT_VOLUME_CLAIMS, ("status", "modifyVolumeStatus", "targetVolumeAttributesClassName")),
        (PERSISTENT_VOLUMES, ("spec", "volumeAttributesClassName")),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else value.kind,
)
async def test_a_class_of_attributes_goes_when_nothing_names_it_any_more(
    api: Any, context: Any, running: Any, wait: Any, resource: Any, path: tuple[str, ...]
) -> None:
    user: Obj = {"metadata": {"name": "u", "uid": "u", **({"namespace": "default"} if resource.namespaced else {})}}
    place = user
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = "gold"

    def no_more(obj: Obj) -> None:
        obj[path[0]] = {}

    api.add(resource, user)
    api.add(VOLUME_ATTRIBUTES_CLASSES, going_class())
    api.add(VOLUME_ATTRIBUTES_CLASSES, going_class("unused"))
    async with running(AttributesClassProtectionController(context)):
        await wait.until(lambda: not api.get(VOLUME_ATTRIBUTES_CLASSES, "", "unused"))
        await wait.quiet(api)
        assert api.get(VOLUME_ATTRIBUTES_CLASSES, "", "gold")
        api.change(resource, "default" if resource.namespaced else "", "u", no_more)
        await wait.until(lambda: not api.get(VOLUME_ATTRIBUTES_CLASSES, "", "gold"))


async def test_a_class_of_attributes_from_before_the_protection_gets_it(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    api.add(VOLUME_ATTRIBUTES_CLASSES, going_class(deletionTimestamp=None, finalizers=[]))
    async with running(AttributesClassProtectionController(context)):
        await wait.quiet(api)
        assert api.get(VOLUME_ATTRIBUTES_CLASSES, "", "gold")["metadata"]["finalizers"] == [OF_ATTRIBUTES]


EPHEMERAL = {
    "ephemeral": {
        "volumeClaimTemplate": {
            "metadata": {"labels": {"app": "x"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
    }
}


async def test_an_ephemeral_volume_has_a_claim_that_its_pod_owns(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    async with running(EphemeralVolumeController(context)):
        api.add(PODS, pod("p", **EPHEMERAL))
        await wait.quiet(api)
        made = api.get(PERSISTENT_VOLUME_CLAIMS, "default", "p-d")
        assert made["spec"] == EPHEMERAL["ephemeral"]["volumeClaimTemplate"]["spec"]
        assert made["metadata"]["labels"] == {"app": "x"}
        (owner,) = made["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("Pod", "uid-p", True)
        api.remove(PERSISTENT_VOLUME_CLAIMS, "default", "p-d")
        await wait.until(lambda: api.get(PERSISTENT_VOLUME_CLAIMS, "default", "p-d"))


async def test_somebody_elses_claim_is_not_taken_for_an_ephemeral_volume(
    api: Any, context: Any, running: Any, wait: Any
) -> None:
    api.add(PERSISTENT_VOLUME_CLAIMS, claim(name="p-d"))
    async with running(EphemeralVolumeController(context)):
        api.add(PODS, pod("p", **EPHEMERAL))
        await wait.until(lambda: api.all(EVENTS))
        (event,) = api.all(EVENTS)
        words = "ephemeral volume d: PVC default/p-d was not created for pod default/p (pod is not owner)"
        assert (event["type"], event["reason"], event["message"]) == ("Warning", "FailedBinding", words)


@pytest.mark.parametrize(
    ("provisioner", "size", "reason"),
    [("sampan.io/local-path", "2Gi", "VolumeResizeSuccessful"), ("example.com/csi", "1Gi", "ExternalExpanding")],
)
async def test_a_claim_grows_where_the_volume_is_of_our_own_provisioner(
    api: Any, context: Any, running: Any, wait: Any, provisioner: str, size: str, reason: str
) -> None:
    found, bound = volume("Bound"), claim()
    del found["metadata"]["deletionTimestamp"]
    found["metadata"]["annotations"] = {"pv.kubernetes.io/provisioned-by": provisioner}
    found["spec"] = {"capacity": {"storage": "1Gi"}, "claimRef": {"namespace": "default", "name": "data"}}
    bound["spec"] |= {"volumeName": "v", "resources": {"requests": {"storage": "2Gi"}}}
    bound["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    api.add(PERSISTENT_VOLUMES, found)
    api.add(PERSISTENT_VOLUME_CLAIMS, bound)
    async with running(VolumeExpandController(context)):
        await wait.until(lambda: api.all(EVENTS))
        assert [event["reason"] for event in api.all(EVENTS)] == [reason]
        assert api.get(PERSISTENT_VOLUMES, "", "v")["spec"]["capacity"] == {"storage": size}
        status = api.get(PERSISTENT_VOLUME_CLAIMS, "default", "data")["status"]
        assert status["capacity"] == {"storage": size}
