"""The provisioner of local paths: what it makes, what it refuses, and that data goes before what names it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sampan.api.errors import ServiceUnavailable
from sampan.api.resources import EVENTS, NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.controllers.context import Context, ControllersConfig
from sampan.controllers.localpath.controller import Key, LocalPathProvisioner
from sampan.controllers.persistentvolume.controller import PersistentVolumeController
from sampan.controllers.volumeprotection.controller import ClaimProtectionController, VolumeProtectionController
from sampan.testing import virtual

Obj = dict[str, Any]
FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
NODE = "volume.kubernetes.io/selected-node"


class WithNodes:
    """The fake API with node agents behind it, which note what they were asked to remove."""

    def __init__(self, api: Any) -> None:
        self.api, self.removed, self.silent = api, list[str](), False

    async def call(self, call: Call) -> Any:
        if "/proxy/localvolumes/" not in call.path:
            return await self.api.call(call)
        assert call.method == "DELETE"
        if self.silent:
            raise ServiceUnavailable("dial tcp 192.0.2.1:10250: connect: connection refused")
        self.removed.append(call.path.removeprefix("/api/v1/nodes/"))
        return "removed"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.api, name)


def storage_class(**fields: Any) -> Obj:
    base = {
        "provisioner": "sampan.io/local-path",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }
    return {"metadata": {"name": "standard"}, **base, **fields}


def claim(name: str = "data", *, node: str = "n", **spec: Any) -> Obj:
    annotations = {PROVISIONER: "sampan.io/local-path"} | ({NODE: node} if node else {})
    meta = {"name": name, "namespace": "default", "uid": f"uid-{name}", "annotations": annotations}
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"metadata": meta, "spec": {**wanted, "storageClassName": "standard", "volumeMode": "Filesystem", **spec}}


def node(name: str = "n", root: str = "/state/local-path") -> Obj:
    annotations = {"storage.sampan.io/local-path": root} if root else {}
    return {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}, "annotations": annotations}}


def released(**meta: Any) -> Obj:
    test = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n"]}
    spec = {"persistentVolumeReclaimPolicy": "Delete", "local": {"path": "/state/local-path/v"}}
    spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [test]}]}}
    made = {"pv.kubernetes.io/provisioned-by": "sampan.io/local-path"}
    named = {"name": "v", "uid": "v", "annotations": made, "finalizers": [FINALIZER], **meta}
    return {"metadata": named, "spec": spec, "status": {"phase": "Released"}}


@pytest.fixture
async def nodes(api: Any, clock: Any, run_with: Any) -> AsyncIterator[WithNodes]:
    with_nodes = WithNodes(api)
    async with running(with_nodes, clock, run_with, LocalPathProvisioner):
        yield with_nodes


@asynccontextmanager
async def running(transport: Any, clock: Any, run_with: Any, *build: Any) -> AsyncIterator[None]:
    client = Client(transport)
    informers = InformerFactory(client, random=random.Random(1))
    context = Context(informers, lambda name: client, clock, random.Random(1), ControllersConfig())
    async with run_with(context, *(each(context) for each in build)):
        yield


def told(api: Any) -> list[tuple[str, str]]:
    return [(event["reason"], event["message"]) for event in api.all(EVENTS)]


async def test_the_volume_is_a_directory_of_the_chosen_node_kept_for_the_claim(
    api: Any, nodes: WithNodes, wait: Any
) -> None:
    """ST7"""
    api.add(NODES, node())
    api.add(STORAGE_CLASSES, storage_class())
    api.add(PERSISTENT_VOLUME_CLAIMS, claim())
    await wait.until(lambda: len(told(api)) == 2)
    (made,) = api.all(PERSISTENT_VOLUMES)
    assert made["metadata"]["name"] == "pvc-uid-data" and made["metadata"]["finalizers"] == [FINALIZER]
    assert made["spec"]["local"] == {"path": "/state/local-path/pvc-uid-data"}
    assert (made["spec"]["claimRef"]["name"], made["spec"]["claimRef"]["uid"]) == ("data", "uid-data")
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    assert told(api) == [
        ("Provisioning", 'External provisioner is provisioning volume for claim "default/data"'),
        ("ProvisioningSucceeded", "Successfully provisioned volume pvc-uid-data"),
    ]


@pytest.mark.parametrize(
    ("kind", "change", "mode", "is_file"),
    [
        ({}, {}, "Filesystem", False),
        ({"parameters": {"backing": "directory"}}, {}, "Filesystem", False),
        ({"parameters": {"backing": "file"}}, {}, "Filesystem", True),
        ({}, {"volumeMode": "Block"}, "Block", True),
    ],
)
async def test_a_volume_is_a_file_where_its_class_says_so_and_where_it_is_a_device(
    api: Any, nodes: WithNodes, wait: Any, kind: Obj, change: Obj, mode: str, is_file: bool
) -> None:
    api.add(NODES, node())
    api.add(STORAGE_CLASSES, storage_class(**kind))
    api.add(PERSISTENT_VOLUME_CLAIMS, claim(**change))
    await wait.until(lambda: len(told(api)) == 2)
    (made,) = api.all(PERSISTENT_VOLUMES)
    assert made["spec"]["volumeMode"] == mode
    assert (made["metadata"]["annotations"].get("storage.sampan.io/backing") == "file") == is_file


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ({}, {"selector": {}}, "claim.Spec.Selector is not supported for dynamic provisioning"),
        ({"parameters": {"backing": "tape"}}, {}, 'parameter "backing" is "directory" or "file", not "tape"'),
        ({"parameters": {"size": "1Gi"}}, {}, 'unknown parameter "size"'),
        ({}, {"dataSource": {"kind": "VolumeSnapshot", "name": "s"}}, "volumes with a data source are not supported"),
        ({"mountOptions": ["noatime"]}, {}, "mount options are not supported"),
        (
            {},
            {"volumeAttributesClassName": "gold"},
            'volumes of sampan.io/local-path have no attributes: VolumeAttributesClass "gold" changes nothing',
        ),
        (
            {"volumeBindingMode": "Immediate"},
            {"node": ""},
            "no node is selected: the class needs volumeBindingMode WaitForFirstConsumer",
        ),
    ],
)
async def test_what_it_does_not_have_is_refused_by_name(
    api: Any, nodes: WithNodes, wait: Any, kind: Obj, change: Obj, words: str
) -> None:
    api.add(NODES, node())
    api.add(STORAGE_CLASSES, storage_class(**kind))
    api.add(PERSISTENT_VOLUME_CLAIMS, claim(**change))
    await wait.until(lambda: told(api))
    assert told(api) == [("ProvisioningFailed", f'failed to provision volume with StorageClass "standard": {words}')]
    assert not api.all(PERSISTENT_VOLUMES)


async def test_a_bound_claim_that_names_a_class_of_attributes_is_told_that_nothing_changes(
    api: Any, nodes: WithNodes, wait: Any
) -> None:
    api.add(PERSISTENT_VOLUME_CLAIMS, {**claim(volumeName="v"), "status": {"phase": "Bound"}})
    await wait.quiet(api)
    assert not told(api)
    await Client(api).patch(
        PERSISTENT_VOLUME_CLAIMS, "data", {"spec": {"volumeAttributesClassName": "gold"}}, "default"
    )
    await wait.until(lambda: told(api))
    words = 'volumes of sampan.io/local-path have no attributes: VolumeAttributesClass "gold" changes nothing'
    assert told(api) == [("VolumeModifyFailed", words)]


async def test_a_claim_whose_node_is_gone_is_scheduled_anew(api: Any, nodes: WithNodes, wait: Any) -> None:
    api.add(STORAGE_CLASSES, storage_class())
    api.add(PERSISTENT_VOLUME_CLAIMS, claim(node="gone"))
    await wait.until(lambda: told(api))
    assert NODE not in api.get(PERSISTENT_VOLUME_CLAIMS, "default", "data")["metadata"]["annotations"]


async def test_a_class_of_another_provisioner_is_left_alone(api: Any, nodes: WithNodes, wait: Any) -> None:
    api.add(NODES, node())
    api.add(STORAGE_CLASSES, storage_class(provisioner="example.com/other"))
    api.add(PERSISTENT_VOLUME_CLAIMS, claim())
    await wait.quiet(api)
    assert not api.all(PERSISTENT_VOLUMES) and not told(api)


async def test_data_goes_first_and_a_node_that_does_not_answer_keeps_the_volume(
    api: Any, nodes: WithNodes, wait: Any
) -> None:
    """ST9: Delete"""
    nodes.silent = True
    api.add(NODES, node())
    api.add(PERSISTENT_VOLUMES, released())
    await wait.until(lambda: told(api))
    words = "dial tcp 192.0.2.1:10250: connect: connection refused"
    assert told(api)[0] == ("VolumeFailedDelete", words)
    assert api.get(PERSISTENT_VOLUMES, "", "v") and not nodes.removed
    nodes.silent = False
    await wait.until(lambda: not api.get(PERSISTENT_VOLUMES, "", "v"), turns=10**6)
    assert set(nodes.removed) == {"n/proxy/localvolumes/v"}


async def test_a_volume_whose_node_is_gone_waits_for_it(api: Any, nodes: WithNodes, wait: Any) -> None:
    api.add(PERSISTENT_VOLUMES, released())
    await wait.until(lambda: told(api))
    assert told(api)[0][1] == 'node "n" is not there: the data of the volume stays in /state/local-path/v until it is'
    api.add(NODES, node())
    await wait.until(lambda: not api.get(PERSISTENT_VOLUMES, "", "v"), turns=10**6)
    assert set(nodes.removed) == {"n/proxy/localvolumes/v"}


@pytest.mark.parametrize("change", [{"uid": "another"}, {"persistentVolumeReclaimPolicy": "Retain"}])
async def test_data_that_somebody_has_kept_meanwhile_stays(
    api: Any, clock: Any, run_with: Any, wait: Any, change: Obj
) -> None:
    """The informer shows the volume as it was: the server is asked before data goes."""
    nodes, volume = WithNodes(api), released()
    api.add(NODES, node())
    if "uid" in change:
        volume["metadata"] |= change
        volume["status"] = {"phase": "Available"}
    else:
        volume["spec"] |= change
    client = Client(nodes)
    informers = InformerFactory(client, random=random.Random(1))
    context = Context(informers, lambda name: client, clock, random.Random(1), ControllersConfig())
    provisioner = LocalPathProvisioner(context)
    api.add(PERSISTENT_VOLUMES, volume)
    informers.informer(PERSISTENT_VOLUMES).get = lambda namespace, name: released()  # type: ignore[method-assign]
    async with run_with(context, provisioner):
        await provisioner.sync(Key("volume", "", "v"))
    assert not nodes.removed and api.get(PERSISTENT_VOLUMES, "", "v")


async def test_a_node_without_a_disk_is_not_asked(api: Any, nodes: WithNodes, wait: Any) -> None:
    api.add(NODES, node(root=""))
    api.add(PERSISTENT_VOLUMES, released())
    await wait.until(lambda: not api.get(PERSISTENT_VOLUMES, "", "v"))
    assert not nodes.removed


@pytest.mark.parametrize(("policy", "removed"), [("Retain", False), ("Delete", True)])
async def test_who_deletes_the_object_gets_what_the_policy_says(
    api: Any, nodes: WithNodes, wait: Any, policy: str, removed: bool
) -> None:
    api.add(NODES, node())
    volume = released(deletionTimestamp="2026-01-01T00:00:00Z")
    volume["spec"]["persistentVolumeReclaimPolicy"] = policy
    api.add(PERSISTENT_VOLUMES, volume)
    await wait.until(lambda: not api.get(PERSISTENT_VOLUMES, "", "v"))
    assert bool(nodes.removed) is removed


async def test_a_free_volume_that_is_deleted_goes_with_its_data_and_one_that_is_not_stays(
    api: Any, nodes: WithNodes, wait: Any
) -> None:
    """Somebody took the claim's name from it: nothing but its object's deletion says that it is not wanted."""
    api.add(NODES, node())
    volume = released()
    volume["status"] = {"phase": "Available"}
    api.add(PERSISTENT_VOLUMES, volume)
    await wait.quiet(api)
    assert not nodes.removed
    await Client(api).delete(PERSISTENT_VOLUMES, "v")
    await wait.until(lambda: not api.get(PERSISTENT_VOLUMES, "", "v"))
    assert nodes.removed


@pytest.mark.parametrize("seed", range(10))
def test_killed_at_any_point_each_claim_has_one_volume_and_deleted_ones_leave_nothing(
    seed: int, make_api: Any, virtual_clock: Any, run_with: Any, wait: Any
) -> None:
    """Binder, protection and provisioner, killed after some of their writes, twenty times; users go on meanwhile."""

    async def scenario() -> None:
        api, chance = make_api(), random.Random(seed)
        nodes, clock = WithNodes(api), virtual_clock()
        api.add(NODES, node())
        api.add(STORAGE_CLASSES, storage_class())
        living: set[str] = set()
        gone: set[str] = set()
        build = (
            PersistentVolumeController, LocalPathProvisioner, ClaimProtectionController, VolumeProtectionController,
        )  # fmt: skip
        for life in range(20):
            for number in range(2):
                name = f"c{life}-{number}"
                api.add(PERSISTENT_VOLUME_CLAIMS, claim(name))
                living.add(name)
            for name in sorted(living):
                if chance.random() < 0.3:
                    await Client(api).delete(PERSISTENT_VOLUME_CLAIMS, name, "default")
                    living.discard(name)
                    gone.add(name)
            last = len(api.log) + chance.randint(1, 25)
            async with running(nodes, clock, run_with, *build):
                await until_written(api, last)
        async with running(nodes, clock, run_with, *build):
            await virtual_quiet(api)
        found = {each["metadata"]["name"]: each for each in api.all(PERSISTENT_VOLUME_CLAIMS)}
        assert found.keys() == living
        names = [each["spec"]["volumeName"] for each in found.values()]
        assert len(set(names)) == len(living) and all(each["status"]["phase"] == "Bound" for each in found.values())
        assert {each["metadata"]["name"] for each in api.all(PERSISTENT_VOLUMES)} == set(names)

    async def until_written(api: Any, last: int) -> None:
        for _ in range(400):
            if len(api.log) >= last:
                return
            await asyncio.sleep(0)

    async def virtual_quiet(api: Any) -> None:
        before = -1
        while before != api.revision:
            before = api.revision
            await asyncio.sleep(120)

    virtual.run(scenario())


async def test_a_claim_whose_data_a_populator_brings_is_left_to_it(api: Any, nodes: WithNodes, wait: Any) -> None:
    api.add(NODES, node())
    api.add(STORAGE_CLASSES, storage_class())
    source = {"apiGroup": "hello.example.com", "kind": "Hello", "name": "h"}
    api.add(PERSISTENT_VOLUME_CLAIMS, claim(dataSource=source, dataSourceRef=source))
    await wait.until(lambda: told(api))
    assert told(api) == [("Provisioning", "Assuming an external populator will provision the volume")]
    assert not api.all(PERSISTENT_VOLUMES)
