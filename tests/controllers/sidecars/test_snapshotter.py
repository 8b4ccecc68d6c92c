"""Snapshots by a driver: taken once, told, deleted; none is left behind when an answer was lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.api.resources import CSI_NODES, EVENTS, NODES, PERSISTENT_VOLUMES, SECRETS
from sampan.api.storage import snapshots
from sampan.api.storage.snapshots import VOLUME_SNAPSHOT_CLASSES, VOLUME_SNAPSHOT_CONTENTS
from sampan.sidecars.snapshotter import MANAGED_BY, Snapshotter
from sampan.testing import virtual

Obj = dict[str, Any]


def snapshotter(world: Any, **config: Any) -> Snapshotter:
    context = world.context
    return Snapshotter(
        context.client_for("x"), context.informers, world.learned(), world.config(**config), context.clock
    )


def wants(world: Any, name: str = "c", **spec: Any) -> None:
    if not world.api.all(VOLUME_SNAPSHOT_CLASSES):
        made = {"metadata": {"name": "fast"}, "driver": "d.example", "deletionPolicy": "Delete"}
        world.api.add(VOLUME_SNAPSHOT_CLASSES, {**made, "parameters": {"tier": "gold"}})
    body = {
        "driver": "d.example",
        "deletionPolicy": "Delete",
        "source": {"volumeHandle": "v"},
        "volumeSnapshotClassName": "fast",
        "volumeSnapshotRef": {"namespace": "ns", "name": "s", "uid": f"uid-{name}"},
        **spec,
    }
    world.api.add(
        VOLUME_SNAPSHOT_CONTENTS,
        {"metadata": {"name": name, "finalizers": [snapshots.CONTENT_IS_BOUND]}, "spec": body},
    )


async def end(world: Any, name: str = "c") -> None:
    """As the snapshot controller does it."""

    def mark(content: Obj) -> None:
        content["metadata"].setdefault("annotations", {})[snapshots.BEING_DELETED] = "yes"

    world.api.change(VOLUME_SNAPSHOT_CONTENTS, "", name, mark)
    await world.context.client_for("x").delete(VOLUME_SNAPSHOT_CONTENTS, name)


def test_a_snapshot_is_taken_told_and_deleted(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        wants(world)
        async with run_with(world.context, snapshotter(world, extra_metadata=True)):
            await asyncio.sleep(5)
            content = world.api.get(VOLUME_SNAPSHOT_CONTENTS, "", "c")
            assert content["status"] == {
                "snapshotHandle": "id-snapshot-uid-c",
                "creationTime": 1767225600_000000000,
                "readyToUse": True,
                "restoreSize": 1 << 30,
            }
            assert snapshots.BEING_CREATED not in content["metadata"].get("annotations", {})
            [(_, request)] = world.driver.requests
            assert (request.name, request.source_volume_id) == ("snapshot-uid-c", "v")
            assert dict(request.parameters) == {
                "tier": "gold",
                "csi.storage.k8s.io/volumesnapshot/name": "s",
                "csi.storage.k8s.io/volumesnapshot/namespace": "ns",
                "csi.storage.k8s.io/volumesnapshotcontent/name": "c",
            }
            await end(world)
            await asyncio.sleep(5)
        assert not world.driver.snapshots and not world.api.all(VOLUME_SNAPSHOT_CONTENTS)

    virtual.run(main())


@pytest.mark.parametrize("fault", ["lost", "hung", "Internal", "Aborted"])
def test_a_content_that_is_deleted_during_an_unanswered_call_leaves_nothing(
    new_world: Any, run_with: Any, fault: str
) -> None:
    async def main() -> None:
        world = new_world()
        world.driver.faults = [fault]
        wants(world)
        async with run_with(world.context, snapshotter(world)):
            await asyncio.sleep(0.5)
            await end(world)
            await asyncio.sleep(600)
        assert not world.driver.snapshots and not world.api.all(VOLUME_SNAPSHOT_CONTENTS)

    virtual.run(main())


def test_a_secret_that_is_not_there_yet_is_told_of_and_waited_for(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        wants(world)

        def name_secret(content: Obj) -> None:
            content["metadata"]["annotations"] = {snapshots.SECRET_NAME: "key", snapshots.SECRET_NAMESPACE: "ns"}

        world.api.change(VOLUME_SNAPSHOT_CONTENTS, "", "c", name_secret)
        async with run_with(world.context, snapshotter(world)):
            await asyncio.sleep(5)
            status = world.api.get(VOLUME_SNAPSHOT_CONTENTS, "", "c")["status"]
            assert '"key" not found' in status["error"]["message"]
            assert not world.driver.requests
            world.api.add(SECRETS, {"metadata": {"name": "key", "namespace": "ns"}, "data": {"k": "dg=="}})
            await asyncio.sleep(600)
            [(_, request)] = world.driver.requests
            assert dict(request.secrets) == {"k": "v"}
            world.api.remove(SECRETS, "ns", "key")
            await end(world)
            await asyncio.sleep(5)
            assert world.driver.snapshots
            world.api.add(SECRETS, {"metadata": {"name": "key", "namespace": "ns"}, "data": {"k": "dg=="}})
            await asyncio.sleep(600)
        assert not world.driver.snapshots and not world.api.all(VOLUME_SNAPSHOT_CONTENTS)

    virtual.run(main())


def test_a_fault_stands_in_the_status_until_it_is_over(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        world.driver.faults = ["Internal"] * 8
        wants(world)
        async with run_with(world.context, snapshotter(world)):
            await asyncio.sleep(0.1)
            status = world.api.get(VOLUME_SNAPSHOT_CONTENTS, "", "c")["status"]
            words = "Failed to create snapshot: failed to take snapshot of the volume v: "
            assert status["error"]["message"].startswith(f'{words}"rpc error: code = Internal')
            assert status["readyToUse"] is False
            await asyncio.sleep(600)
        status = world.api.get(VOLUME_SNAPSHOT_CONTENTS, "", "c")["status"]
        assert status["readyToUse"] is True and "error" not in status
        assert {each["reason"] for each in world.api.all(EVENTS)} == {"SnapshotCreationFailed"}

    virtual.run(main())


def test_one_that_was_there_before_is_looked_up_and_one_that_is_kept_stays(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        taken = await world.driver.controller("CreateSnapshot", _request())
        wants(world, source={"snapshotHandle": taken.snapshot.snapshot_id}, deletionPolicy="Retain")
        wants(world, "none", source={"snapshotHandle": "gone"})
        async with run_with(world.context, snapshotter(world)):
            await asyncio.sleep(5)
            assert snapshots.is_ready(world.api.get(VOLUME_SNAPSHOT_CONTENTS, "", "c"))
            assert not snapshots.is_ready(world.api.get(VOLUME_SNAPSHOT_CONTENTS, "", "none"))
            await end(world)
            await asyncio.sleep(5)
        assert len(world.driver.snapshots) == 1 and world.api.get(VOLUME_SNAPSHOT_CONTENTS, "", "c") is None

    virtual.run(main())


def _request() -> Any:
    from sampan.csi.pb import csi_pb2 as csi

    return csi.CreateSnapshotRequest(name="old", source_volume_id="v")


def test_each_node_takes_the_snapshots_of_its_own_volumes_and_keeps_them(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        for name, zone in (("a", "x"), ("b", "y")):
            world.node(name, zone)
        expression = {"key": "topology.d.example/zone", "operator": "In", "values": ["y"]}
        where = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
        spec = {"csi": {"driver": "d.example", "volumeHandle": "v"}, "nodeAffinity": where}
        world.api.add(PERSISTENT_VOLUMES, {"metadata": {"name": "pv"}, "spec": spec})
        wants(world)
        async with run_with(world.context, snapshotter(world, node="a")):
            await asyncio.sleep(5)
            assert not world.driver.requests
        async with run_with(world.context, snapshotter(world, node="b")):
            await asyncio.sleep(5)
        content = world.api.get(VOLUME_SNAPSHOT_CONTENTS, "", "c")
        assert content["metadata"]["labels"] == {MANAGED_BY: "b"} and snapshots.is_ready(content)
        world.api.remove(PERSISTENT_VOLUMES, "", "pv")
        await end(world)
        async with run_with(world.context, snapshotter(world, node="a")):
            await asyncio.sleep(5)
            assert len(world.driver.snapshots) == 1, "another node's is not taken for deleted"
        async with run_with(world.context, snapshotter(world, node="b")):
            await asyncio.sleep(5)
        assert not world.driver.snapshots and not world.api.all(VOLUME_SNAPSHOT_CONTENTS)
        assert len(world.api.all(NODES)) == len(world.api.all(CSI_NODES))

    virtual.run(main())
