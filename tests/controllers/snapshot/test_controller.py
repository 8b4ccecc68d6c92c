"""The snapshot controller over the fake API: from a snapshot to its content and back, and kinds that come and go."""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.api.resources import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from sampan.api.storage import snapshots
from sampan.api.storage.snapshots import VOLUME_SNAPSHOT_CLASSES, VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS
from sampan.client.served import NEAR_SECONDS
from sampan.controllers.snapshot.controller import SnapshotController
from sampan.testing import virtual

Obj = dict[str, Any]
ALL = (VOLUME_SNAPSHOTS, VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOT_CLASSES)


def served(*resources: Any) -> list[Obj]:
    listed = [
        {
            "resource": each.plural,
            "responseKind": {"kind": each.kind, "group": each.group, "version": each.version},
            "scope": "Namespaced" if each.namespaced else "Cluster",
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        }
        for each in resources
    ]
    return [{"metadata": {"name": snapshots.GROUP}, "versions": [{"version": "v1", "resources": listed}]}]


def with_claim(api: Any) -> None:
    api.add(
        PERSISTENT_VOLUME_CLAIMS,
        {
            "metadata": {"name": "data", "namespace": "ns", "uid": "u"},
            "spec": {"volumeName": "pv"},
            "status": {"phase": "Bound"},
        },
    )
    reference = {"namespace": "ns", "name": "data", "uid": "u"}
    source = {"driver": "d.example", "volumeHandle": "h"}
    api.add(PERSISTENT_VOLUMES, {"metadata": {"name": "pv"}, "spec": {"csi": source, "claimRef": reference}})
    api.add(VOLUME_SNAPSHOT_CLASSES, {"metadata": {"name": "fast"}, "driver": "d.example", "deletionPolicy": "Delete"})


def take(api: Any, name: str = "s") -> None:
    spec = {"volumeSnapshotClassName": "fast", "source": {"persistentVolumeClaimName": "data"}}
    api.add(VOLUME_SNAPSHOTS, {"metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}"}, "spec": spec})


def test_a_snapshot_goes_through_its_life(make_api: Any, make_context: Any, virtual_clock: Any, run_with: Any) -> None:
    async def main() -> None:
        api = make_api()
        with_claim(api)
        api.discovery = served(*ALL)
        context = make_context(api, virtual_clock())
        async with run_with(context, SnapshotController(context)):
            take(api)
            await asyncio.sleep(NEAR_SECONDS * 3)
            made = api.get(VOLUME_SNAPSHOT_CONTENTS, "", "snapcontent-uid-s")
            assert made["spec"]["source"] == {"volumeHandle": "h"}
            claim = api.get(PERSISTENT_VOLUME_CLAIMS, "ns", "data")
            assert claim["metadata"]["finalizers"] == [snapshots.CLAIM_IS_SOURCE]

            ready = {"snapshotHandle": "x", "readyToUse": True, "creationTime": 1, "restoreSize": 1 << 30}
            api.change(VOLUME_SNAPSHOT_CONTENTS, "", made["metadata"]["name"], lambda new: new.update(status=ready))
            await asyncio.sleep(1)
            status = api.get(VOLUME_SNAPSHOTS, "ns", "s")["status"]
            assert (status["readyToUse"], status["restoreSize"]) == (True, "1Gi")
            claim = api.get(PERSISTENT_VOLUME_CLAIMS, "ns", "data")
            assert claim["metadata"]["finalizers"] == []

            await context.client_for("x").delete(VOLUME_SNAPSHOTS, "s", "ns")
            await asyncio.sleep(1)
            content = api.get(VOLUME_SNAPSHOT_CONTENTS, "", "snapcontent-uid-s")
            assert content["metadata"]["deletionTimestamp"], "the driver's part is to come"
            assert api.get(VOLUME_SNAPSHOTS, "ns", "s") is not None
            api.change(
                VOLUME_SNAPSHOT_CONTENTS,
                "",
                "snapcontent-uid-s",
                lambda new: new["metadata"].update(finalizers=[]),
            )
            await asyncio.sleep(1)
            assert api.get(VOLUME_SNAPSHOTS, "ns", "s") is None
            reasons = {each["reason"] for each in api.all(EVENTS)}
            assert reasons == {"CreatingSnapshot", "SnapshotCreated", "SnapshotReady"}

    virtual.run(main())


def test_it_rests_while_the_kinds_are_not_served(
    make_api: Any, make_context: Any, virtual_clock: Any, run_with: Any
) -> None:
    async def main() -> None:
        api = make_api()
        with_claim(api)
        context = make_context(api, virtual_clock())
        async with run_with(context, SnapshotController(context)):
            take(api, "early")
            api.discovery = served(VOLUME_SNAPSHOTS)
            await asyncio.sleep(NEAR_SECONDS * 3)
            assert not api.all(VOLUME_SNAPSHOT_CONTENTS)
            api.discovery = served(*ALL)
            await asyncio.sleep(NEAR_SECONDS * 3)
            assert len(api.all(VOLUME_SNAPSHOT_CONTENTS)) == 1
            api.discovery = []
            await asyncio.sleep(NEAR_SECONDS * 3)
            take(api, "late")
            await asyncio.sleep(NEAR_SECONDS * 3)
            assert len(api.all(VOLUME_SNAPSHOT_CONTENTS)) == 1
            api.discovery = served(*ALL)
            await asyncio.sleep(NEAR_SECONDS * 3)
            assert len(api.all(VOLUME_SNAPSHOT_CONTENTS)) == 2

    virtual.run(main())
