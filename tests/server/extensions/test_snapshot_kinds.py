"""The definitions of snapshots that come with a cluster: accepted as they are, with upstream's rules and columns."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.cluster import snapshotkinds

GROUP = "/apis/snapshot.storage.k8s.io/v1"
SNAPSHOTS = f"{GROUP}/namespaces/default/volumesnapshots"
CONTENTS = f"{GROUP}/volumesnapshotcontents"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.fixture
async def kinds(sea: Any) -> Any:
    for each in snapshotkinds.definitions():
        body = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", **each}
        await sea.define(body)
    return sea


def snapshot(name: str = "s", **source: str) -> Any:
    return {"metadata": {"name": name}, "spec": {"source": source}}


async def test_a_snapshot_has_one_source_that_stays(kinds: Any) -> None:
    said = await kinds("POST", SNAPSHOTS, snapshot())
    assert "exactly one of volumeSnapshotContentName and persistentVolumeClaimName must be set" in said.message
    both = snapshot(persistentVolumeClaimName="a", volumeSnapshotContentName="b")
    assert (await kinds("POST", SNAPSHOTS, both)).status == 422
    unnamed = snapshot(persistentVolumeClaimName="a")
    unnamed["spec"]["volumeSnapshotClassName"] = ""
    said = await kinds("POST", SNAPSHOTS, unnamed)
    assert "volumeSnapshotClassName must not be the empty string when set" in said.message
    made = await kinds("POST", SNAPSHOTS, snapshot(persistentVolumeClaimName="a"))
    assert made.status == 201
    other = made.obj | {"spec": {"source": {"persistentVolumeClaimName": "b"}}}
    assert "persistentVolumeClaimName is immutable" in (await kinds("PUT", f"{SNAPSHOTS}/s", other)).message


async def test_a_content_refers_to_a_snapshot_and_to_one_handle(kinds: Any) -> None:
    spec = {
        "driver": "d.example",
        "deletionPolicy": "Delete",
        "source": {"snapshotHandle": "x"},
        "volumeSnapshotRef": {"name": "s"},
    }
    said = await kinds("POST", CONTENTS, {"metadata": {"name": "c"}, "spec": spec})
    assert "both spec.volumeSnapshotRef.name and spec.volumeSnapshotRef.namespace must be set" in said.message
    spec["volumeSnapshotRef"] = {"name": "s", "namespace": "default"}
    assert (await kinds("POST", CONTENTS, {"metadata": {"name": "c"}, "spec": spec})).status == 201
    spec["deletionPolicy"] = "Forget"
    assert (await kinds("POST", CONTENTS, {"metadata": {"name": "d"}, "spec": spec})).status == 422


async def test_columns_and_the_status_of_its_own_are_as_upstream(kinds: Any) -> None:
    await kinds("POST", SNAPSHOTS, snapshot(persistentVolumeClaimName="a"))
    body = snapshot(persistentVolumeClaimName="a") | {"status": {"readyToUse": True, "restoreSize": "1Gi"}}
    body["metadata"]["resourceVersion"] = (await kinds("GET", f"{SNAPSHOTS}/s")).obj["metadata"]["resourceVersion"]
    assert (await kinds("PUT", f"{SNAPSHOTS}/s/status", body)).status == 200
    table = (await kinds("GET", SNAPSHOTS, accept=TABLE)).obj
    assert [each["name"] for each in table["columnDefinitions"]] == [
        *("Name", "ReadyToUse", "SourcePVC", "SourceSnapshotContent", "RestoreSize"),
        *("SnapshotClass", "SnapshotContent", "CreationTime", "Age"),
    ]
    assert table["rows"][0]["cells"][:5] == ["s", True, "a", None, "1Gi"]
