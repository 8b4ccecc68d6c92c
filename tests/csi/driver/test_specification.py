"""What the CSI specification demands of a driver (as csi-sanity asks it): arguments, codes, repetition, pages."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sampan.csi.errors import DriverError
from sampan.csi.pb import csi_pb2 as csi

NODE_KEY = "topology.loopfile.csi.sampan.io/node"


async def code(call: Any) -> str:
    with pytest.raises(DriverError) as caught:
        await call
    return caught.value.code


async def test_identity_is_complete(asked: Any) -> None:
    info = await asked.client.plugin_info()
    assert (info.name, bool(info.vendor_version)) == ("loopfile.csi.sampan.io", True)
    assert await asked.client.probe() is True
    assert await asked.client.plugin_capabilities() == {
        "CONTROLLER_SERVICE",
        "VOLUME_ACCESSIBILITY_CONSTRAINTS",
        "ONLINE",
    }
    about = await asked.client.node_info()
    assert (about.node_id, about.max_volumes_per_node) == ("node-1", 128)
    assert dict(about.accessible_topology.segments) == {NODE_KEY: "node-1"}
    assert {"CREATE_DELETE_SNAPSHOT", "CLONE_VOLUME", "EXPAND_VOLUME"} <= await asked.client.controller_capabilities()
    assert {"STAGE_UNSTAGE_VOLUME", "EXPAND_VOLUME"} <= await asked.client.node_capabilities()


@pytest.mark.parametrize(
    ("service", "call", "fields"),
    [
        ("controller", "CreateVolume", {}),
        ("controller", "CreateVolume", {"name": "x"}),
        ("controller", "DeleteVolume", {}),
        ("controller", "ValidateVolumeCapabilities", {}),
        ("controller", "ValidateVolumeCapabilities", {"volume_id": "x"}),
        ("controller", "CreateSnapshot", {"source_volume_id": "x"}),
        ("controller", "CreateSnapshot", {"name": "x"}),
        ("controller", "DeleteSnapshot", {}),
        ("controller", "ControllerExpandVolume", {}),
        ("controller", "ControllerExpandVolume", {"volume_id": "x"}),
        ("controller", "ControllerGetVolume", {}),
        ("controller", "ControllerModifyVolume", {}),
        ("node", "NodeStageVolume", {}),
        ("node", "NodeStageVolume", {"volume_id": "x"}),
        ("node", "NodeStageVolume", {"volume_id": "x", "staging_target_path": "/s"}),
        ("node", "NodeUnstageVolume", {}),
        ("node", "NodeUnstageVolume", {"volume_id": "x"}),
        ("node", "NodePublishVolume", {}),
        ("node", "NodePublishVolume", {"volume_id": "x"}),
        ("node", "NodePublishVolume", {"volume_id": "x", "target_path": "/t"}),
        ("node", "NodeUnpublishVolume", {}),
        ("node", "NodeUnpublishVolume", {"volume_id": "x"}),
        ("node", "NodeGetVolumeStats", {}),
        ("node", "NodeGetVolumeStats", {"volume_id": "x"}),
        ("node", "NodeExpandVolume", {}),
        ("node", "NodeExpandVolume", {"volume_id": "x"}),
    ],
)
async def test_what_a_call_needs_is_an_invalid_argument_when_it_lacks(
    asked: Any, service: str, call: str, fields: Any
) -> None:
    assert await code(getattr(asked, service)(call, **fields)) == "InvalidArgument"


@pytest.mark.parametrize(
    ("service", "call", "fields"),
    [
        ("controller", "ControllerExpandVolume", {"capacity_range": csi.CapacityRange(required_bytes=1)}),
        ("controller", "ControllerGetVolume", {}),
        ("controller", "ControllerModifyVolume", {"mutable_parameters": {"readAheadKiB": "4"}}),
        ("controller", "CreateSnapshot", {"name": "s"}),
        ("node", "NodeStageVolume", {"staging_target_path": "/s"}),
        ("node", "NodePublishVolume", {"staging_target_path": "/s", "target_path": "/t"}),
        ("node", "NodeGetVolumeStats", {"volume_path": "/t"}),
        ("node", "NodeExpandVolume", {"volume_path": "/t"}),
    ],
)
@pytest.mark.parametrize("volume", ["nonsense", "gone@node-1", "../../etc@node-1"])
async def test_a_volume_that_does_not_exist_is_not_found(
    asked: Any, capability: Any, service: str, call: str, fields: Any, volume: str
) -> None:
    named = {"source_volume_id": volume} if call == "CreateSnapshot" else {"volume_id": volume}
    if call in ("NodeStageVolume", "NodePublishVolume"):
        named["volume_capability"] = capability.mounted()
    assert await code(getattr(asked, service)(call, **fields, **named)) == "NotFound"


async def test_what_is_gone_is_deleted_already(asked: Any, tmp_path: Path) -> None:
    for volume in ("nonsense", "gone@node-1", "../../etc@node-1"):
        await asked.controller("DeleteVolume", volume_id=volume)
        await asked.controller("DeleteSnapshot", snapshot_id=volume)
        await asked.node("NodeUnstageVolume", volume_id=volume, staging_target_path=str(tmp_path / "s"))
        await asked.node("NodeUnpublishVolume", volume_id=volume, target_path=str(tmp_path / "t"))


async def test_a_volume_is_made_once_by_its_name(asked: Any, holds: Any) -> None:
    first = await asked.create("pvc-1")
    assert await asked.create("pvc-1") == first
    assert (first.volume_id, first.capacity_bytes) == ("pvc-1@node-1", 4 << 20)
    assert dict(first.accessible_topology[0].segments) == {NODE_KEY: "node-1"}
    assert await code(asked.create("pvc-1", size=8 << 20)) == "AlreadyExists"
    strange = await asked.create("ein / seltsamer Name " * 6)
    assert strange.volume_id.endswith("@node-1") and "/" not in strange.volume_id
    assert len(holds(asked.files.root)) == 4
    for each in (first, strange):
        await asked.controller("DeleteVolume", volume_id=each.volume_id)
        await asked.controller("DeleteVolume", volume_id=each.volume_id)
    assert not holds(asked.files.root)


@pytest.mark.parametrize(
    ("required", "limit", "made"),
    [
        (0, 0, 1 << 30),
        (0, 8 << 20, 8 << 20),
        (5000000, 0, 5001216),
        (1, 0, 1 << 20),
        (-1, 0, None),
        (9 << 20, 8 << 20, None),
        (4097, 4098, None),
        (1 << 60, 0, None),
    ],
)
async def test_a_volume_has_the_size_that_was_asked_for(
    asked: Any, capability: Any, required: int, limit: int, made: int | None
) -> None:
    wanted = csi.CapacityRange(required_bytes=required, limit_bytes=limit)
    request = {"name": "x", "volume_capabilities": [capability.mounted()], "capacity_range": wanted}
    if made is None:
        expected = "ResourceExhausted" if required == 1 << 60 else "OutOfRange"
        assert await code(asked.controller("CreateVolume", **request)) == expected
    else:
        assert (await asked.controller("CreateVolume", **request)).volume.capacity_bytes == made


@pytest.mark.parametrize(
    ("how", "is_fine"),
    [
        (lambda c: c.mounted(), True),
        (lambda c: c.mounted("xfs"), True),
        (lambda c: c.block(c.modes.SINGLE_NODE_SINGLE_WRITER), True),
        (lambda c: c.mounted("ntfs"), False),
        (lambda c: c.mounted(mode=c.modes.MULTI_NODE_MULTI_WRITER), False),
        (lambda c: c.block(c.modes.MULTI_NODE_READER_ONLY), False),
        (lambda c: c.mounted(mode=c.modes.UNKNOWN), False),
        (lambda c: csi.VolumeCapability(), False),
    ],
)
async def test_ways_of_use_that_are_not_supported_are_said(
    asked: Any, capability: Any, how: Any, is_fine: bool
) -> None:
    volume = await asked.create("there")
    answer = await asked.controller(
        "ValidateVolumeCapabilities", volume_id=volume.volume_id, volume_capabilities=[how(capability)]
    )
    assert answer.HasField("confirmed") is is_fine and bool(answer.message) is not is_fine
    if not is_fine:
        assert await code(asked.create("new", volume_capabilities=[how(capability)])) == "InvalidArgument"


async def test_a_volume_is_made_on_this_node_or_not_at_all(asked: Any) -> None:
    def where(*nodes: str) -> Any:
        return csi.TopologyRequirement(requisite=[csi.Topology(segments={NODE_KEY: each}) for each in nodes])

    assert await code(asked.create("a", accessibility_requirements=where("node-2"))) == "ResourceExhausted"
    assert (await asked.create("a", accessibility_requirements=where("node-2", "node-1"))).volume_id == "a@node-1"
    assert await code(asked.controller("DeleteVolume", volume_id="a@node-2")) == "FailedPrecondition"
    assert await code(asked.controller("DeleteSnapshot", snapshot_id="a@node-2")) == "FailedPrecondition"
    elsewhere = csi.VolumeContentSource(snapshot=csi.VolumeContentSource.SnapshotSource(snapshot_id="s@node-2"))
    assert await code(asked.create("b", volume_content_source=elsewhere)) == "ResourceExhausted"


async def test_lists_come_in_pages(asked: Any) -> None:
    for number in range(3):
        await asked.create(f"v{number}")
        await asked.snapshot(f"v{number}@node-1", f"s{number}")
    first = await asked.controller("ListVolumes", max_entries=2)
    rest = await asked.controller("ListVolumes", max_entries=2, starting_token=first.next_token)
    ids = [each.volume.volume_id for each in (*first.entries, *rest.entries)]
    assert ids == ["v0@node-1", "v1@node-1", "v2@node-1"] and not rest.next_token
    assert await code(asked.controller("ListVolumes", starting_token="nonsense")) == "Aborted"
    assert await code(asked.controller("ListSnapshots", starting_token="99")) == "Aborted"
    assert len((await asked.controller("ListSnapshots")).entries) == 3
    only = await asked.controller("ListSnapshots", source_volume_id="v1@node-1")
    assert [each.snapshot.snapshot_id for each in only.entries] == ["s1@node-1"]
    only = await asked.controller("ListSnapshots", snapshot_id="s2@node-1")
    assert [each.snapshot.source_volume_id for each in only.entries] == ["v2@node-1"]
    assert not (await asked.controller("ListSnapshots", snapshot_id="none@node-1")).entries


async def test_capacity_is_what_is_left_and_not_promised(asked: Any, capability: Any) -> None:
    async def capacity(**fields: Any) -> int:
        return int((await asked.controller("GetCapacity", **fields)).available_capacity)

    before = await capacity()
    await asked.create("large", size=1 << 30)
    assert before - await capacity() > (1 << 30) * 0.9, "a sparse file takes its room before it is written"
    assert await capacity(accessible_topology=csi.Topology(segments={NODE_KEY: "node-2"})) == 0
    everywhere = capability.mounted(mode=capability.modes.MULTI_NODE_MULTI_WRITER)
    assert await capacity(volume_capabilities=[everywhere]) == 0


async def test_room_is_given_once_to_those_who_ask_at_the_same_time(
    asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left() -> int:
        return (6 << 20) - sum(each.size_bytes for each in asked.files.all("volumes"))

    monkeypatch.setattr(asked.files, "available_bytes", left)
    answers = await asyncio.gather(*(asked.create(name) for name in "abc"), return_exceptions=True)
    refused = [each.code for each in answers if isinstance(each, DriverError)]
    assert (refused, left()) == (["ResourceExhausted"] * 2, 2 << 20)
    for name in "abc":
        await asked.controller("DeleteVolume", volume_id=f"{name}@node-1")
    assert (await asked.create("d")).capacity_bytes == 4 << 20


async def test_a_record_that_cannot_be_read_costs_no_other_volume_anything(asked: Any) -> None:
    await asked.create("a")
    await asked.create("b")
    (asked.files.root / "volumes/a/record.json").write_text("{")
    asked.files.open()
    assert [each.volume.volume_id for each in (await asked.controller("ListVolumes")).entries] == ["b@node-1"]
    assert (await asked.controller("GetCapacity")).available_capacity > 0
    with pytest.raises(DriverError, match="a record of the driver is damaged") as caught:
        await asked.node("NodeGetVolumeStats", volume_id="a@node-1", volume_path="/x")
    assert caught.value.code == "Internal"


async def test_a_snapshot_is_taken_once_by_its_name(asked: Any) -> None:
    volume, other = await asked.create("a"), await asked.create("b")
    first = await asked.snapshot(volume.volume_id)
    assert await asked.snapshot(volume.volume_id) == first
    assert (first.ready_to_use, first.size_bytes, first.creation_time.seconds) == (True, 4 << 20, 1767225600)
    assert await code(asked.snapshot(other.volume_id)) == "AlreadyExists"
    await asked.controller("DeleteVolume", volume_id=volume.volume_id)
    assert await asked.snapshot(volume.volume_id) == first, "it outlives its volume"


@pytest.mark.parametrize("kind", ["snapshot", "volume"])
async def test_a_volume_of_a_source_has_its_data_and_at_least_its_size(asked: Any, kind: str) -> None:
    volume = await asked.create("a")
    asked.files.find("volumes", "a").disk.write_bytes(b"data" + bytes((4 << 20) - 4))
    if kind == "snapshot":
        taken = await asked.snapshot(volume.volume_id)
        source = csi.VolumeContentSource.SnapshotSource(snapshot_id=taken.snapshot_id)
        content = csi.VolumeContentSource(snapshot=source)
    else:
        origin = csi.VolumeContentSource.VolumeSource(volume_id=volume.volume_id)
        content = csi.VolumeContentSource(volume=origin)
    asked.files.find("volumes", "a").disk.write_bytes(b"later" if kind == "snapshot" else b"data")
    made = await asked.create("b", size=8 << 20, volume_content_source=content)
    assert (made.capacity_bytes, made.content_source) == (8 << 20, content)
    assert asked.files.find("volumes", "b").disk.read_bytes()[:5] == b"data\0"
    assert await asked.create("b", size=8 << 20, volume_content_source=content) == made
    assert await code(asked.create("b", size=8 << 20)) == "AlreadyExists", "the same name with another source"
    missing = csi.VolumeContentSource(snapshot=csi.VolumeContentSource.SnapshotSource(snapshot_id="no@node-1"))
    assert await code(asked.create("c", volume_content_source=missing)) == "NotFound"
    if kind == "snapshot":
        assert await code(asked.create("d", size=1 << 20, volume_content_source=content)) == "OutOfRange"


async def test_a_volume_grows_and_never_shrinks(asked: Any) -> None:
    volume = await asked.create("a")
    request = {"volume_id": volume.volume_id, "capacity_range": csi.CapacityRange(required_bytes=6 << 20)}
    for _ in range(2):
        answer = await asked.controller("ControllerExpandVolume", **request)
        assert (answer.capacity_bytes, answer.node_expansion_required) == (6 << 20, True)
    smaller = request | {"capacity_range": csi.CapacityRange(required_bytes=1 << 20)}
    assert (await asked.controller("ControllerExpandVolume", **smaller)).capacity_bytes == 6 << 20
    small_limit = request | {"capacity_range": csi.CapacityRange(limit_bytes=1 << 20)}
    assert await code(asked.controller("ControllerExpandVolume", **small_limit)) == "OutOfRange"
