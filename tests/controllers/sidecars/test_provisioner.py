"""Volumes for claims: what is asked of a driver and made of its answer, through lost answers and ends of claims."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from sampan.api.resources import (
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    SECRETS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
)
from sampan.api.storage.snapshots import VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS
from sampan.controllers.persistentvolume.controller import PersistentVolumeController
from sampan.controllers.volumeprotection.controller import ClaimProtectionController, VolumeProtectionController
from sampan.sidecars.provisioner import Provisioner
from sampan.testing import virtual

Obj = dict[str, Any]
FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
ZONE = "topology.d.example/zone"


def provisioner(world: Any, *services: str, **config: Any) -> Provisioner:
    context = world.context
    return Provisioner(
        context.client_for("x"),
        context.informers,
        world.learned(*services),
        world.config(**config),
        context.clock,
        context.random,
    )


def controllers(world: Any) -> list[Any]:
    made: list[Any] = [PersistentVolumeController, ClaimProtectionController, VolumeProtectionController]
    return [each(world.context) for each in made]


def events(world: Any) -> list[tuple[str, str]]:
    return [(each["reason"], each["message"]) for each in world.api.all(EVENTS)]


def test_a_volume_says_all_that_is_needed_to_use_it(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        keys = {
            "csi.storage.k8s.io/fstype": "xfs",
            "csi.storage.k8s.io/provisioner-secret-name": "for-${pvc.name}",
            "csi.storage.k8s.io/provisioner-secret-namespace": "${pvc.namespace}",
            "csi.storage.k8s.io/node-stage-secret-name": "stage",
            "csi.storage.k8s.io/node-stage-secret-namespace": "ns",
            "tier": "gold",
        }
        world.storage_class(parameters=keys, mountOptions=["noatime"], reclaimPolicy="Retain")
        world.api.add(SECRETS, {"metadata": {"name": "for-data", "namespace": "ns"}, "data": {"key": "d2F0ZXI="}})
        async with run_with(world.context, provisioner(world, extra_metadata=True)):
            world.claim(size="3Gi")
            await asyncio.sleep(1)
        [(_, request)] = world.driver.requests
        assert dict(request.secrets) == {"key": "water"}
        assert dict(request.parameters) == {
            "tier": "gold",
            "csi.storage.k8s.io/pvc/name": "data",
            "csi.storage.k8s.io/pvc/namespace": "ns",
            "csi.storage.k8s.io/pv/name": "pvc-uid-data",
        }
        [capability] = request.volume_capabilities
        assert (capability.mount.fs_type, list(capability.mount.mount_flags)) == ("xfs", ["noatime"])
        volume = world.volume()
        assert volume["metadata"]["finalizers"] == [FINALIZER]
        assert volume["metadata"]["annotations"] == {
            "pv.kubernetes.io/provisioned-by": "d.example",
            "volume.kubernetes.io/provisioner-deletion-secret-name": "for-data",
            "volume.kubernetes.io/provisioner-deletion-secret-namespace": "ns",
        }
        spec = volume["spec"]
        identity = spec["csi"]["volumeAttributes"].pop("storage.kubernetes.io/csiProvisionerIdentity")
        assert identity.endswith("-d.example")
        assert spec["csi"] == {
            "driver": "d.example",
            "volumeHandle": "id-pvc-uid-data",
            "volumeAttributes": {"made": "here"},
            "fsType": "xfs",
            "nodeStageSecretRef": {"name": "stage", "namespace": "ns"},
        }
        assert (spec["capacity"], spec["mountOptions"]) == ({"storage": "3Gi"}, ["noatime"])
        assert (spec["persistentVolumeReclaimPolicy"], spec["claimRef"]["uid"]) == ("Retain", "uid-data")
        assert [reason for reason, _ in events(world)] == ["Provisioning", "ProvisioningSucceeded"]

    virtual.run(main())


def test_a_volume_is_made_where_the_pod_is_to_run(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        for name, zone in (("a", "x"), ("b", "y"), ("c", "z")):
            world.node(name, zone)
        world.storage_class(volumeBindingMode="WaitForFirstConsumer")
        world.driver.topologies = [{ZONE: "y"}]
        async with run_with(world.context, provisioner(world, "VOLUME_ACCESSIBILITY_CONSTRAINTS")):
            world.claim("early")
            await asyncio.sleep(1)
            assert not world.driver.requests, "no node has been chosen"
            world.claim(node="b")
            await asyncio.sleep(1)
        [(_, request)] = world.driver.requests
        asked = request.accessibility_requirements
        assert [dict(each.segments) for each in asked.requisite] == [{ZONE: "x"}, {ZONE: "y"}, {ZONE: "z"}]
        assert [dict(each.segments) for each in asked.preferred] == [{ZONE: "y"}, {ZONE: "z"}, {ZONE: "x"}]
        expression = {"key": ZONE, "operator": "In", "values": ["y"]}
        wanted = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
        assert world.volume()["spec"]["nodeAffinity"] == wanted

    virtual.run(main())


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"selector": {}}, "claim Selector is not supported"),
        ({"accessModes": ["Never"]}, "unknown access mode Never"),
        (
            {"dataSource": {"kind": "VolumeSnapshot", "apiGroup": "snapshot.storage.k8s.io", "name": "none"}},
            'error getting snapshot none from api server: volumesnapshots.snapshot.storage.k8s.io "none" not found',
        ),
        (
            {"dataSource": {"kind": "PersistentVolumeClaim", "name": "none"}},
            'error getting PVC none (namespace "ns") from api server: persistentvolumeclaims "none" not found',
        ),
        (
            {"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "none", "namespace": "other"}},
            "accessing other/none of PersistentVolumeClaim dataSource from ns/data isn't allowed",
        ),
    ],
)
def test_what_cannot_be_had_is_told_to_the_claim(new_world: Any, run_with: Any, spec: Obj, words: str) -> None:
    async def main() -> None:
        world = new_world()
        world.storage_class()
        async with run_with(world.context, provisioner(world)):
            world.claim(**spec)
            await asyncio.sleep(1)
        told = f'failed to provision volume with StorageClass "fast": {words}'
        assert ("ProvisioningFailed", told) in events(world) and not world.driver.requests

    virtual.run(main())


def test_where_there_is_no_room_the_scheduler_chooses_anew(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        world.node("a", "x")
        world.storage_class(volumeBindingMode="WaitForFirstConsumer")
        world.driver.faults = ["ResourceExhausted"]
        async with run_with(world.context, provisioner(world, "VOLUME_ACCESSIBILITY_CONSTRAINTS")):
            world.claim(node="a")
            await asyncio.sleep(30)
        assert "volume.kubernetes.io/selected-node" not in world.get_claim()["metadata"]["annotations"]
        assert world.driver.count("CreateVolume") == 1
        assert any("code = ResourceExhausted" in words for _, words in events(world))

    virtual.run(main())


SNAPSHOT = {"kind": "VolumeSnapshot", "apiGroup": "snapshot.storage.k8s.io", "name": "s"}


def snapshot(world: Any) -> None:
    """It is ready."""
    status = {"readyToUse": True, "boundVolumeSnapshotContentName": "c", "restoreSize": "1Gi"}
    world.api.add(
        VOLUME_SNAPSHOTS, {"metadata": {"name": "s", "namespace": "ns", "uid": "u"}, "spec": {}, "status": status}
    )
    reference = {"namespace": "ns", "name": "s", "uid": "u"}
    spec = {"driver": "d.example", "volumeSnapshotRef": reference, "sourceVolumeMode": "Filesystem"}
    world.api.add(
        VOLUME_SNAPSHOT_CONTENTS, {"metadata": {"name": "c"}, "spec": spec, "status": {"snapshotHandle": "id-s"}}
    )


@pytest.mark.parametrize("gone", ["claim", "class", "snapshot"])
def test_a_volume_of_unknown_outcome_is_not_left_behind_when_its_claim_goes(
    new_world: Any, run_with: Any, gone: str
) -> None:
    async def main() -> None:
        world = new_world()
        world.storage_class(reclaimPolicy="Delete")
        world.driver.faults = ["lost"]
        async with run_with(world.context, provisioner(world), *controllers(world)):
            if gone == "snapshot":
                snapshot(world)
            world.claim(**({"dataSource": SNAPSHOT} if gone == "snapshot" else {}))
            await asyncio.sleep(0.5)  # the driver has been asked, and its answer does not come
            await world.context.client_for("x").delete(PERSISTENT_VOLUME_CLAIMS, "data", "ns")
            if gone == "class":
                world.api.remove(STORAGE_CLASSES, "", "fast")
            if gone == "snapshot":
                world.api.remove(VOLUME_SNAPSHOTS, "ns", "s")
            await asyncio.sleep(120)
        assert not world.driver.volumes and not world.api.all(PERSISTENT_VOLUMES)
        assert world.driver.count("CreateVolume") == 2

    virtual.run(main())


def test_a_snapshot_of_the_same_driver_is_restored(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        world.storage_class()
        snapshot(world)
        source = SNAPSHOT
        async with run_with(world.context, provisioner(world)):
            world.claim(dataSource=source)
            world.claim("small", size="1Mi", dataSource=source)
            world.claim("raw", volumeMode="Block", dataSource=source)
            await asyncio.sleep(1)
        [(_, request)] = world.driver.requests
        assert request.volume_content_source.snapshot.snapshot_id == "id-s"
        assert world.volume() is not None
        said = " ".join(words for _, words in events(world))
        assert "requested volume size 1048576 is less than the size 1073741824 for the source snapshot s" in said
        assert "modifies the mode of the source volume but does not have permission to do so" in said

    virtual.run(main())


def test_a_claim_is_kept_while_its_volume_is_copied(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        world.storage_class()
        async with run_with(world.context, provisioner(world), *controllers(world)):
            world.claim("origin")
            await asyncio.sleep(5)
            world.driver.faults = ["hung"]
            world.claim("copy", dataSource={"kind": "PersistentVolumeClaim", "name": "origin"})
            await asyncio.sleep(0.5)
            held = world.get_claim("origin")["metadata"]["finalizers"]
            assert "provisioner.storage.kubernetes.io/cloning-protection" in held
            await asyncio.sleep(60)
            held = world.get_claim("origin")["metadata"]["finalizers"]
            assert "provisioner.storage.kubernetes.io/cloning-protection" not in held
        request = next(request for _, request in reversed(world.driver.requests))
        assert request.volume_content_source.volume.volume_id == "id-pvc-uid-origin"
        assert world.get_claim("copy")["status"]["phase"] == "Bound"

    virtual.run(main())


def test_what_a_user_keeps_is_not_deleted(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        world.storage_class(reclaimPolicy="Retain")
        client = world.context.client_for("x")
        async with run_with(world.context, provisioner(world), *controllers(world)):
            world.claim()
            await asyncio.sleep(5)
            await client.delete(PERSISTENT_VOLUME_CLAIMS, "data", "ns")
            await asyncio.sleep(5)
            assert world.volume()["status"]["phase"] == "Released"
            await client.delete(PERSISTENT_VOLUMES, "pvc-uid-data")
            await asyncio.sleep(5)
        assert not world.api.all(PERSISTENT_VOLUMES) and len(world.driver.volumes) == 1

    virtual.run(main())


def test_a_volume_that_is_attached_is_not_deleted(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        world.storage_class(reclaimPolicy="Delete")
        world.calls = ("PUBLISH_UNPUBLISH_VOLUME",)
        spec = {"attacher": "d.example", "nodeName": "n", "source": {"persistentVolumeName": "pvc-uid-data"}}
        world.api.add(VOLUME_ATTACHMENTS, {"metadata": {"name": "a"}, "spec": spec})
        async with run_with(world.context, provisioner(world), *controllers(world)):
            world.claim()
            await asyncio.sleep(5)
            await world.context.client_for("x").delete(PERSISTENT_VOLUME_CLAIMS, "data", "ns")
            await asyncio.sleep(60)
            said = "persistentvolume pvc-uid-data is still attached to node n"
            assert world.driver.volumes and ("VolumeFailedDelete", said) in events(world)
            world.api.remove(VOLUME_ATTACHMENTS, "", "a")
            await asyncio.sleep(600)
        assert not world.driver.volumes and not world.api.all(PERSISTENT_VOLUMES)

    virtual.run(main())


def test_each_node_makes_and_deletes_what_is_its_own(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        for name, zone in (("a", "x"), ("b", "y")):
            world.node(name, zone)
        world.storage_class(volumeBindingMode="WaitForFirstConsumer", reclaimPolicy="Delete")
        world.driver.topologies = [{ZONE: "y"}]
        services = "VOLUME_ACCESSIBILITY_CONSTRAINTS"
        here = provisioner(world, services, node="b")
        async with run_with(world.context, here, *controllers(world)):
            world.claim("theirs", node="a")
            world.claim("ours", node="b")
            await asyncio.sleep(5)
            assert [request.name for _, request in world.driver.requests] == ["pvc-uid-ours"]
            [asked] = world.driver.requests[0][1].accessibility_requirements.requisite
            assert dict(asked.segments) == {ZONE: "y"}
        world.driver.requests.clear()
        async with run_with(world.context, provisioner(world, services, node="a"), *controllers(world)):
            await world.context.client_for("x").delete(PERSISTENT_VOLUME_CLAIMS, "ours", "ns")
            await asyncio.sleep(5)
            assert not [each for each in world.driver.requests if each[0] == "DeleteVolume"]

    virtual.run(main())


@pytest.mark.parametrize("seed", range(15))
def test_through_any_faults_each_claim_has_one_volume_and_nothing_is_left(
    new_world: Any, run_with: Any, seed: int
) -> None:
    """[sig-storage] CSI: provisioning is idempotent under lost answers, repeated calls and sidecars that begin anew"""

    async def main() -> None:
        world, chance = new_world(), random.Random(seed)
        world.storage_class(reclaimPolicy="Delete")
        world.driver.chance, world.driver.random = 0.4, chance
        client = world.context.client_for("x")
        names = [f"c{number}" for number in range(6)]
        gone = chance.sample(names, 3)
        async with run_with(world.context, *controllers(world), provisioner(world)):
            for name in names:
                world.claim(name)
                await asyncio.sleep(chance.random() * 3)
                if name in gone:
                    await client.delete(PERSISTENT_VOLUME_CLAIMS, name, "ns")
            await asyncio.sleep(60)
            world.driver.chance = 0.0
            await asyncio.sleep(3000)
            left = {f"pvc-uid-{name}" for name in names if name not in gone}
            assert set(world.driver.volumes) == left
            assert {each["metadata"]["name"] for each in world.api.all(PERSISTENT_VOLUMES)} == left
            for name in left:
                assert world.get_claim(name.removeprefix("pvc-uid-"))["status"]["phase"] == "Bound"
                await client.delete(PERSISTENT_VOLUME_CLAIMS, name.removeprefix("pvc-uid-"), "ns")
            await asyncio.sleep(3000)
            assert not world.driver.volumes and not world.api.all(PERSISTENT_VOLUMES)

    virtual.run(main())


def test_a_volume_begins_with_what_its_class_of_attributes_says(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        world.storage_class()
        world.calls = ("MODIFY_VOLUME",)
        world.attributes_class("gold")
        world.attributes_class("theirs", "other.example")
        async with run_with(world.context, provisioner(world)):
            for name in ("gold", "theirs", "missing"):
                world.claim(name, volumeAttributesClassName=name)
            await asyncio.sleep(1)
        assert dict(world.driver.requests[0][1].mutable_parameters) == {"is": "gold"}
        assert world.volume("gold")["spec"]["volumeAttributesClassName"] == "gold"
        said = " ".join(message for reason, message in events(world) if reason == "ProvisioningFailed")
        words = "VAC theirs referenced in PVC is for driver other.example which does not match driver name d.example"
        assert words in said and 'volumeattributesclasses.storage.k8s.io "missing" not found' in said
        assert world.driver.count("CreateVolume") == 1

    virtual.run(main())


def test_a_driver_that_changes_no_attributes_gets_no_claim_with_a_class_of_them(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        world.storage_class()
        world.attributes_class("gold")
        async with run_with(world.context, provisioner(world)):
            world.claim(volumeAttributesClassName="gold")
            await asyncio.sleep(1)
        assert not world.driver.requests
        words = "CSI driver does not support VolumeAttributesClass: controller MODIFY_VOLUME capability is not reported"
        assert any(words in message for _, message in events(world))

    virtual.run(main())


def test_a_claim_whose_data_a_populator_brings_is_left_to_it(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        world.storage_class()
        source = {"apiGroup": "hello.example.com", "kind": "Hello", "name": "h"}
        async with run_with(world.context, provisioner(world)):
            world.claim(dataSourceRef=source, dataSource=source)
            await asyncio.sleep(600)
        assert not world.driver.requests
        assert set(events(world)) == {("Provisioning", "Assuming an external populator will provision the volume")}

    virtual.run(main())
