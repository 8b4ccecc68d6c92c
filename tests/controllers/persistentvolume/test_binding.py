"""The binder over the API: which volume a claim gets, both phases, and what is told."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.resources import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES
from sampan.controllers.persistentvolume import controller as module
from sampan.controllers.persistentvolume.controller import PersistentVolumeController

Obj = dict[str, Any]


def volume(name: str, size: str = "1Gi", **spec: Any) -> Obj:
    wanted = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}
    wanted |= {"persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": f"/srv/{name}"}}
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": {**wanted, **spec}}


def claim(name: str = "data", size: str = "1Gi", **spec: Any) -> Obj:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": ""}
    meta = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    return {"metadata": meta, "spec": {**wanted, **spec}, "status": {"phase": "Pending"}}


def storage_class(name: str, provisioner: str = "example.com/nfs", **fields: Any) -> Obj:
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "provisioner": provisioner,
        **fields,
    }


def delayed(name: str = "local", provisioner: str = "example.com/local") -> Obj:
    return storage_class(name, provisioner, volumeBindingMode="WaitForFirstConsumer")


def told(api: Any) -> list[tuple[str, str, str]]:
    return [(e["involvedObject"]["kind"], e["reason"], e["message"]) for e in api.all(EVENTS)]


def phase(api: Any, resource: Any, name: str) -> str:
    found = api.get(resource, "" if resource is PERSISTENT_VOLUMES else "default", name)
    return str(found["status"]["phase"])


@pytest.fixture
async def settled(api: Any, context: Any, running: Any, wait: Any) -> Any:
    """Puts objects and waits until nothing moves: a refused write is tried again a little later."""
    controller = PersistentVolumeController(context)
    async with running(controller):

        async def put(*objects: tuple[Any, Obj]) -> None:
            for resource, obj in objects:
                api.add(resource, obj)
            await wait.quiet(api)
            while not controller.is_idle:
                await wait.quiet(api)

        yield put


async def test_the_smallest_volume_that_is_large_enough_is_bound_both_ways(api: Any, settled: Any) -> None:
    """ST6; [sig-storage] PersistentVolumes: the claim has the volume's size and modes once it is Bound."""
    await settled(
        (PERSISTENT_VOLUMES, volume("small", "1Gi")),
        (PERSISTENT_VOLUMES, volume("right", "5Gi")),
        (PERSISTENT_VOLUMES, volume("large", "9Gi")),
    )
    await settled((PERSISTENT_VOLUME_CLAIMS, claim(size="3Gi")))
    bound, right = api.get(PERSISTENT_VOLUME_CLAIMS, "default", "data"), api.get(PERSISTENT_VOLUMES, "", "right")
    assert bound["spec"]["volumeName"] == "right"
    assert bound["status"] == {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "5Gi"},
    }
    assert bound["metadata"]["annotations"] == {
        "pv.kubernetes.io/bind-completed": "yes",
        "pv.kubernetes.io/bound-by-controller": "yes",
    }
    assert right["spec"]["claimRef"]["uid"] == "uid-data"
    assert right["metadata"]["annotations"] == {"pv.kubernetes.io/bound-by-controller": "yes"}
    assert [phase(api, PERSISTENT_VOLUMES, name) for name in ("small", "right", "large")] == [
        "Available", "Bound", "Available",
    ]  # fmt: skip


async def test_a_second_claim_waits_until_another_volume_comes(api: Any, settled: Any) -> None:
    """ST6, ST10"""
    await settled((PERSISTENT_VOLUMES, volume("one")), (PERSISTENT_VOLUME_CLAIMS, claim("first")))
    await settled((PERSISTENT_VOLUME_CLAIMS, claim("second")))
    assert [phase(api, PERSISTENT_VOLUME_CLAIMS, name) for name in ("first", "second")] == ["Bound", "Pending"]
    words = "no persistent volumes available for this claim and no storage class is set"
    assert ("PersistentVolumeClaim", "FailedBinding", words) in told(api)
    await settled((PERSISTENT_VOLUMES, volume("two")))
    assert phase(api, PERSISTENT_VOLUME_CLAIMS, "second") == "Bound"


@pytest.mark.parametrize(
    ("of_volume", "of_claim"),
    [
        ({"storageClassName": "slow"}, {}),
        ({}, {"storageClassName": "slow"}),
        ({"accessModes": ["ReadOnlyMany"]}, {}),
        ({"volumeMode": "Block"}, {"volumeMode": "Filesystem"}),
        ({}, {"selector": {"matchLabels": {"disk": "ssd"}}}),
        ({"volumeAttributesClassName": "gold"}, {}),
    ],
)
async def test_what_does_not_match_is_not_bound(api: Any, settled: Any, of_volume: Obj, of_claim: Obj) -> None:
    """ST7, ST8"""
    await settled((PERSISTENT_VOLUMES, volume("v", **of_volume)), (PERSISTENT_VOLUME_CLAIMS, claim(**of_claim)))
    assert (phase(api, PERSISTENT_VOLUMES, "v"), phase(api, PERSISTENT_VOLUME_CLAIMS, "data")) == (
        "Available", "Pending",
    )  # fmt: skip


async def test_a_volume_kept_for_a_claim_goes_to_it_alone(api: Any, settled: Any) -> None:
    kept = volume("kept", claimRef={"namespace": "default", "name": "mine"})
    await settled((PERSISTENT_VOLUMES, kept), (PERSISTENT_VOLUME_CLAIMS, claim("other")))
    assert phase(api, PERSISTENT_VOLUME_CLAIMS, "other") == "Pending"
    await settled((PERSISTENT_VOLUME_CLAIMS, claim("mine")))
    assert phase(api, PERSISTENT_VOLUME_CLAIMS, "mine") == "Bound"
    bound = api.get(PERSISTENT_VOLUMES, "", "kept")
    assert "pv.kubernetes.io/bound-by-controller" not in bound["metadata"].get("annotations", {})
    api.remove(PERSISTENT_VOLUME_CLAIMS, "default", "mine")


async def test_a_claim_that_names_a_volume_says_why_it_cannot_have_it(api: Any, settled: Any) -> None:
    await settled(
        (PERSISTENT_VOLUMES, volume("taken")),
        (PERSISTENT_VOLUME_CLAIMS, claim("first", volumeName="taken")),
        (PERSISTENT_VOLUMES, volume("tiny", "1Mi")),
        (PERSISTENT_VOLUME_CLAIMS, claim("small", volumeName="tiny")),
    )
    await settled((PERSISTENT_VOLUME_CLAIMS, claim("late", volumeName="taken")))
    heard = told(api)
    assert phase(api, PERSISTENT_VOLUME_CLAIMS, "first") == "Bound"
    too_small = 'Cannot bind to requested volume "tiny": requested PV is too small'
    assert ("PersistentVolumeClaim", "VolumeMismatch", too_small) in heard
    taken = 'volume "taken" already bound to a different claim.'
    assert ("PersistentVolumeClaim", "FailedBinding", taken) in heard


async def test_the_phases_of_a_volume_whose_claim_goes(api: Any, settled: Any) -> None:
    """ST9, ST10: Retain keeps it, Released; who takes away its claimRef gets it back."""
    await settled((PERSISTENT_VOLUMES, volume("v")), (PERSISTENT_VOLUME_CLAIMS, claim()))
    api.remove(PERSISTENT_VOLUME_CLAIMS, "default", "data")
    await settled()
    assert phase(api, PERSISTENT_VOLUMES, "v") == "Released"
    await settled((PERSISTENT_VOLUME_CLAIMS, claim("next")))
    assert phase(api, PERSISTENT_VOLUME_CLAIMS, "next") == "Pending"
    api.change(PERSISTENT_VOLUMES, "", "v", lambda found: found["spec"].pop("claimRef"))
    await settled()
    assert phase(api, PERSISTENT_VOLUME_CLAIMS, "next") == "Bound"


async def test_a_claim_whose_volume_is_gone_is_lost(api: Any, settled: Any) -> None:
    await settled((PERSISTENT_VOLUMES, volume("v")), (PERSISTENT_VOLUME_CLAIMS, claim()))
    api.remove(PERSISTENT_VOLUMES, "", "v")
    await settled()
    assert phase(api, PERSISTENT_VOLUME_CLAIMS, "data") == "Lost"
    words = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
    assert ("PersistentVolumeClaim", "ClaimLost", words) in told(api)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"hostPath": {"path": "/srv/x"}}, "host_path deleter only supports /tmp/.+ but received provided /srv/x"),
        (
            {"hostPath": None, "nfs": {"server": "s", "path": "/x"}},
            'error getting deleter volume plugin for volume "v": no deletable volume plugin matched',
        ),
    ],
)
async def test_what_cannot_be_deleted_is_failed(api: Any, settled: Any, source: Obj, words: str) -> None:
    """ST9, ST10"""
    wanted = volume("v", persistentVolumeReclaimPolicy="Delete", **source)
    wanted["spec"] = {key: value for key, value in wanted["spec"].items() if value is not None}
    await settled((PERSISTENT_VOLUMES, wanted), (PERSISTENT_VOLUME_CLAIMS, claim()))
    api.remove(PERSISTENT_VOLUME_CLAIMS, "default", "data")
    await settled()
    found = api.get(PERSISTENT_VOLUMES, "", "v")["status"]
    assert (found["phase"], found["message"]) == ("Failed", words)
    assert ("PersistentVolume", "VolumeFailedDelete", words) in told(api)


async def test_recycling_empties_the_volume_with_a_pod_and_frees_it(api: Any, settled: Any) -> None:
    """ST9"""
    wanted = volume("v", persistentVolumeReclaimPolicy="Recycle")
    await settled((PERSISTENT_VOLUMES, wanted), (PERSISTENT_VOLUME_CLAIMS, claim()))
    api.remove(PERSISTENT_VOLUME_CLAIMS, "default", "data")
    await settled()
    pod = api.get(PODS, "default", "recycler-for-v")
    assert pod["spec"]["volumes"] == [{"name": "vol", "hostPath": {"path": "/srv/v"}}]
    assert phase(api, PERSISTENT_VOLUMES, "v") == "Released"
    api.change(PODS, "default", "recycler-for-v", lambda found: found.update(status={"phase": "Succeeded"}))
    await settled()
    assert phase(api, PERSISTENT_VOLUMES, "v") == "Available"
    assert "claimRef" not in api.get(PERSISTENT_VOLUMES, "", "v")["spec"]
    assert not [each for each in api.all(PODS) if "deletionTimestamp" not in each["metadata"]]
    assert ("PersistentVolume", "VolumeRecycled", "Volume recycled") in told(api)


async def test_a_claim_of_a_class_is_told_to_its_provisioner(api: Any, settled: Any) -> None:
    """ST7"""
    await settled((STORAGE_CLASSES, storage_class("fast")), (PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="fast")))
    found = api.get(PERSISTENT_VOLUME_CLAIMS, "default", "data")
    assert found["metadata"]["annotations"] == {
        "volume.kubernetes.io/storage-provisioner": "example.com/nfs",
        "volume.beta.kubernetes.io/storage-provisioner": "example.com/nfs",
    }
    (event,) = [message for _, reason, message in told(api) if reason == "ExternalProvisioning"]
    assert event.startswith("Waiting for a volume to be created either by the external provisioner 'example.com/nfs'")


@pytest.mark.parametrize(
    ("provisioner", "words"),
    [
        ("kubernetes.io/no-provisioner", "no volume plugin matched name: kubernetes.io/no-provisioner"),
        ("", 'storageclass.storage.k8s.io "fast" not found'),
    ],
)
async def test_a_class_that_nobody_provisions_is_told(api: Any, settled: Any, provisioner: str, words: str) -> None:
    if provisioner:
        await settled((STORAGE_CLASSES, storage_class("fast", provisioner)))
    await settled((PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="fast")))
    assert ("PersistentVolumeClaim", "ProvisioningFailed", words) in told(api)


async def test_a_class_may_wait_for_the_first_pod_and_for_its_node(api: Any, settled: Any) -> None:
    wanted = claim(storageClassName="local")
    await settled((STORAGE_CLASSES, delayed()), (PERSISTENT_VOLUMES, volume("v", storageClassName="local")))
    await settled((PERSISTENT_VOLUME_CLAIMS, wanted))
    words = "waiting for first consumer to be created before binding"
    assert ("PersistentVolumeClaim", "WaitForFirstConsumer", words) in told(api)
    source = {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}
    await settled(
        (PODS, {"metadata": {"name": "p", "namespace": "default", "uid": "p"}, "spec": {"volumes": [source]}})
    )
    assert ("PersistentVolumeClaim", "WaitForPodScheduled", "waiting for pod p to be scheduled") in told(api)
    assert phase(api, PERSISTENT_VOLUME_CLAIMS, "data") == "Pending"
    chosen = {"volume.kubernetes.io/selected-node": "n"}
    api.change(
        PERSISTENT_VOLUME_CLAIMS, "default", "data", lambda found: found["metadata"].update(annotations=dict(chosen))
    )
    await settled()
    annotations = api.get(PERSISTENT_VOLUME_CLAIMS, "default", "data")["metadata"]["annotations"]
    assert annotations["volume.kubernetes.io/storage-provisioner"] == "example.com/local"


async def test_a_claim_that_said_nothing_gets_the_default_class_when_there_is_one(api: Any, settled: Any) -> None:
    """ST7: "" stays."""
    silent = claim("silent")
    del silent["spec"]["storageClassName"]
    await settled((PERSISTENT_VOLUME_CLAIMS, silent), (PERSISTENT_VOLUME_CLAIMS, claim("none")))
    default = storage_class("fast")
    default["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    await settled((STORAGE_CLASSES, default))
    assert api.get(PERSISTENT_VOLUME_CLAIMS, "default", "silent")["spec"]["storageClassName"] == "fast"
    assert api.get(PERSISTENT_VOLUME_CLAIMS, "default", "none")["spec"]["storageClassName"] == ""


async def test_an_old_recycler_of_another_claim_says_nothing_of_this_one(api: Any, settled: Any) -> None:
    wanted = volume("v", persistentVolumeReclaimPolicy="Recycle")
    stale = {"metadata": {"name": "recycler-for-v", "namespace": "default", "uid": "old"}, "spec": {}}
    stale["status"] = {"phase": "Succeeded"}
    wanted["spec"]["claimRef"] = {"namespace": "default", "name": "gone", "uid": "gone"}
    await settled((PODS, stale), (PERSISTENT_VOLUMES, wanted))
    pods = {each["metadata"]["uid"]: each for each in api.all(PODS)}
    assert "old" not in pods and phase(api, PERSISTENT_VOLUMES, "v") == "Released"


@pytest.mark.parametrize("shown", [None, "an earlier life"])
async def test_a_volume_is_not_released_for_a_claim_that_the_informer_has_not_shown_yet(
    api: Any, context: Any, settled: Any, monkeypatch: pytest.MonkeyPatch, shown: str | None
) -> None:
    """The watch of claims is behind that of volumes: released, its data would go by its policy."""
    informer = context.informers.informer(PERSISTENT_VOLUME_CLAIMS)
    stale = None if shown is None else claim() | {"metadata": claim()["metadata"] | {"uid": shown}}
    look = informer.get
    monkeypatch.setattr(informer, "get", lambda namespace, name: stale)
    reference = {"namespace": "default", "name": "data", "uid": "uid-data"}
    wanted = volume("v", claimRef=reference, persistentVolumeReclaimPolicy="Recycle")
    bound = claim(volumeName="v")
    bound["metadata"]["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
    await settled((PERSISTENT_VOLUME_CLAIMS, bound), (PERSISTENT_VOLUMES, wanted))
    assert phase(api, PERSISTENT_VOLUMES, "v") == "Bound" and not api.all(PODS)
    monkeypatch.setattr(informer, "get", look)
    api.remove(PERSISTENT_VOLUME_CLAIMS, "default", "data")
    await settled()
    assert phase(api, PERSISTENT_VOLUMES, "v") == "Released" and api.all(PODS)


async def test_volumes_that_come_together_go_to_as_many_of_those_that_wait(
    api: Any, settled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A free volume is told of to a few claims at a time, until it is taken."""
    monkeypatch.setattr(module, "_OFFERS", 2)
    await settled(*((PERSISTENT_VOLUME_CLAIMS, claim(f"c{number}")) for number in range(9)))
    await settled(*((PERSISTENT_VOLUMES, volume(f"v{number}")) for number in range(7)))
    phases = [each["status"]["phase"] for each in api.all(PERSISTENT_VOLUME_CLAIMS)]
    assert (phases.count("Bound"), phases.count("Pending")) == (7, 2)


async def test_a_free_volume_has_a_few_of_those_that_wait_looked_at_whatever_their_number(
    api: Any, context: Any, run_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(500):
        api.add(PERSISTENT_VOLUME_CLAIMS, claim(f"c{number}"))
    asked = []
    fits = module.matching.fits
    monkeypatch.setattr(module.matching, "fits", lambda *both: asked.append(1) or fits(*both))
    controller = PersistentVolumeController(context)
    free = volume("v")
    free["status"] = {"phase": "Available"}
    api.add(PERSISTENT_VOLUMES, free)
    context.informers.informer(PERSISTENT_VOLUME_CLAIMS)
    async with run_with(context):
        await controller.sync(module.Key("volume", "", "v"))
    assert len(asked) == 100


async def test_a_volume_is_recycled_when_the_last_pod_that_names_its_lost_claim_has_gone(
    api: Any, settled: Any
) -> None:
    """A pod without a node does not keep its claim, and keeps the volume from being emptied."""
    source = {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}
    meta = {"name": "p", "namespace": "default", "uid": "p"}
    wanted = volume("v", persistentVolumeReclaimPolicy="Recycle")
    await settled((PERSISTENT_VOLUMES, wanted), (PERSISTENT_VOLUME_CLAIMS, claim()))
    await settled((PODS, {"metadata": meta, "spec": {"volumes": [source]}}))
    api.remove(PERSISTENT_VOLUME_CLAIMS, "default", "data")
    await settled()
    assert ("PersistentVolume", "VolumeFailedRecycle", "Volume is used by pods: default/p") in told(api)
    api.remove(PODS, "default", "p")
    await settled()
    assert api.get(PODS, "default", "recycler-for-v")


async def test_a_claim_gets_a_volume_of_its_class_of_attributes_and_says_which_it_has(settled: Any, api: Any) -> None:
    gold = {"volumeAttributesClassName": "gold"}
    csi = {"hostPath": None, "csi": {"driver": "d", "volumeHandle": "v"}}
    await settled(
        (PERSISTENT_VOLUMES, volume("plain")),
        (PERSISTENT_VOLUMES, volume("fast", "2Gi", **gold, **csi)),
        (PERSISTENT_VOLUME_CLAIMS, claim(**gold)),
    )
    found = api.get(PERSISTENT_VOLUME_CLAIMS, "default", "data")
    assert found["spec"]["volumeName"] == "fast"
    assert found["status"]["currentVolumeAttributesClassName"] == "gold"
    assert phase(api, PERSISTENT_VOLUMES, "plain") == "Available"
