"""What the snapshot controller decides, in upstream's reasons and words, and that it comes to rest whatever happens."""

from __future__ import annotations

import itertools
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS
from sampan.api.storage import snapshots
from sampan.api.storage.snapshots import VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS
from sampan.controllers.snapshot.plan import OfSnapshot, is_using_claim, plan_content, plan_snapshot
from sampan.controllers.snapshot.step import Plan

Obj = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DRIVER = "d.example"
GONE = "2026-01-01T00:00:00Z"


def claim(name: str = "data", **status: Any) -> Obj:
    meta = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": "1"}
    return {"metadata": meta, "spec": {"volumeName": f"pv-{name}"}, "status": {"phase": "Bound", **status}}


def volume(name: str = "data", **source: Any) -> Obj:
    reference = {"namespace": "ns", "name": name, "uid": f"uid-{name}"}
    spec = {"csi": {"driver": DRIVER, "volumeHandle": f"h-{name}", **source}, "claimRef": reference}
    return {"metadata": {"name": f"pv-{name}"}, "spec": spec}


def snapshot_class(name: str = "fast", **other: Any) -> Obj:
    return {"metadata": {"name": name}, "driver": DRIVER, "deletionPolicy": "Delete", **other}


def default(name: str, driver: str = DRIVER) -> Obj:
    return snapshot_class(name, driver=driver) | {
        "metadata": {"name": name, "annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"}}
    }


def snapshot(name: str = "s", *, content: str = "", kind: str = "fast", status: Any = None, **meta: Any) -> Obj:
    source = {"volumeSnapshotContentName": content} if content else {"persistentVolumeClaimName": "data"}
    spec: Obj = {"source": source} | ({"volumeSnapshotClassName": kind} if kind else {})
    named = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": "1", **meta}
    return {"metadata": named, "spec": spec} | ({"status": status} if status else {})


def content(
    name: str = "", *, of: str = "s", uid: str | None = None, handle: str = "", status: Any = None, **meta: Any
) -> Obj:
    reference = {"namespace": "ns", "name": of} | ({"uid": uid or f"uid-{of}"} if uid != "" else {})
    source = {"snapshotHandle": handle} if handle else {"volumeHandle": "h-data"}
    spec = {"deletionPolicy": "Delete", "driver": DRIVER, "source": source, "volumeSnapshotRef": reference}
    named = {"name": name or f"snapcontent-uid-{of}", "uid": "c", "resourceVersion": "1", **meta}
    return {"metadata": named, "spec": spec} | ({"status": status} if status else {})


PROTECTED = [snapshots.IS_SOURCE]
BOUND = [snapshots.IS_SOURCE, snapshots.IS_BOUND]
READY = {"readyToUse": True, "boundVolumeSnapshotContentName": "snapcontent-uid-s"}


def look(found: Obj, **around: Any) -> Plan:
    around.setdefault(
        "claim", claim() | {"metadata": claim()["metadata"] | {"finalizers": [snapshots.CLAIM_IS_SOURCE]}}
    )
    around.setdefault("volume", volume())
    around.setdefault("classes", [snapshot_class()])
    return plan_snapshot(OfSnapshot(found, NOW, **around))


def test_a_snapshot_of_a_claim_gets_a_content_that_says_what_to_take() -> None:
    plan = look(snapshot(finalizers=PROTECTED))
    assert plan.write is not None and plan.write.verb == "create"
    made = plan.write.obj
    assert made["metadata"] == {
        "name": "snapcontent-uid-s",
        "finalizers": ["snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"],
    }
    assert made["spec"]["source"] == {"volumeHandle": "h-data"}
    assert (made["spec"]["driver"], made["spec"]["deletionPolicy"]) == (DRIVER, "Delete")
    assert made["spec"]["sourceVolumeMode"] == "Filesystem"
    assert made["spec"]["volumeSnapshotRef"]["uid"] == "uid-s"
    [told] = plan.tells
    assert (told.reason, told.message) == (
        "CreatingSnapshot",
        "Waiting for a snapshot ns/s to be created by the CSI driver.",
    )


def test_the_claim_and_the_snapshot_are_protected_before_anything_is_made() -> None:
    first = look(snapshot())
    assert first.write is not None
    assert first.write.obj["metadata"]["finalizers"] == PROTECTED
    second = look(snapshot(finalizers=PROTECTED), claim=claim())
    assert second.write is not None
    assert second.write.resource == PERSISTENT_VOLUME_CLAIMS
    assert second.write.obj["metadata"]["finalizers"] == [snapshots.CLAIM_IS_SOURCE]


def test_the_class_names_the_secret_by_templates() -> None:
    parameters = {
        "csi.storage.k8s.io/snapshotter-secret-name": "for-${volumesnapshot.name}",
        "csi.storage.k8s.io/snapshotter-secret-namespace": "${volumesnapshot.namespace}",
    }
    plan = look(snapshot(finalizers=PROTECTED), classes=[snapshot_class(parameters=parameters)])
    assert plan.write is not None
    assert plan.write.obj["metadata"]["annotations"] == {
        "snapshot.storage.kubernetes.io/deletion-secret-name": "for-s",
        "snapshot.storage.kubernetes.io/deletion-secret-namespace": "ns",
    }


NOT_MADE = "Failed to create snapshot content with error "
INPUT = f"{NOT_MADE}failed to get input parameters to create snapshot s: "


@pytest.mark.parametrize(
    ("found", "around", "reason", "words"),
    [
        (
            snapshot(finalizers=PROTECTED),
            {"claim": None},
            "SnapshotContentCreationFailed",
            f"{NOT_MADE}snapshot controller failed to update s on API server: cannot get claim from snapshot",
        ),
        (
            snapshot(finalizers=PROTECTED),
            {"classes": []},
            "SnapshotContentCreationFailed",
            f'{INPUT}"volumesnapshotclass.snapshot.storage.k8s.io \\"fast\\" not found"',
        ),
        (
            snapshot(finalizers=PROTECTED),
            {"volume": {"metadata": {"name": "pv-data"}, "spec": {"claimRef": volume()["spec"]["claimRef"]}}},
            "SnapshotContentCreationFailed",
            f"{NOT_MADE}cannot find CSI PersistentVolumeSource for volume pv-data",
        ),
        (
            snapshot(finalizers=PROTECTED, content="c"),
            {},
            "SnapshotContentMissing",
            "VolumeSnapshotContent is missing",
        ),
        (
            snapshot(content="c"),
            {"content": content("c", of="other", handle="x")},
            "SnapshotContentMisbound",
            "VolumeSnapshotContent [c] is bound to a different snapshot",
        ),
        (
            snapshot(content="c"),
            {"content": content("c", uid="")},
            "SnapshotContentMismatch",
            "VolumeSnapshotContent is dynamically provisioned while expecting a pre-provisioned one",
        ),
        (
            snapshot(),
            {"content": content(handle="x")},
            "SnapshotContentMismatch",
            "VolumeSnapshotContent snapcontent-uid-s is pre-provisioned while expecting a dynamically provisioned one",
        ),
        (snapshot(status=READY), {}, "SnapshotContentMissing", "VolumeSnapshotContent is missing"),
        (
            snapshot(status=READY),
            {"content": content(uid="another"), "claim": None},
            "SnapshotMisbound",
            "VolumeSnapshotContent is not bound to the VolumeSnapshot correctly",
        ),
        (
            snapshot(kind="", finalizers=PROTECTED),
            {},
            "SetDefaultSnapshotClassFailed",
            "Failed to set default snapshot class with error cannot find default snapshot class",
        ),
        (
            snapshot(kind="", finalizers=PROTECTED),
            {"classes": [default("a"), default("b"), default("c", "other")]},
            "SetDefaultSnapshotClassFailed",
            "Failed to set default snapshot class with error 2 default snapshot classes were found",
        ),
    ],
)
def test_what_is_wrong_stands_in_the_status_and_is_told_once(found: Obj, around: Obj, reason: str, words: str) -> None:
    around = {
        "claim": claim() | {"metadata": {**claim()["metadata"], "finalizers": [snapshots.CLAIM_IS_SOURCE]}}
    } | around
    if snapshots.is_ready(found):
        around["claim"] = None
    plan = look(found, **around)
    assert plan.write is not None and plan.write.verb == "status"
    [told] = plan.tells
    assert (told.kind, told.reason, told.message) == ("Warning", reason, words)
    status = plan.write.obj["status"]
    assert (status["error"]["message"], status["readyToUse"]) == (words, False)
    again = look(
        plan.write.obj, **around
    ).write  # who was ready is not any more, and then is told as those who never were
    assert again is None or look(again.obj, **around).write is None


def test_an_unbound_claim_is_waited_for() -> None:
    waiting = claim(phase="Pending")
    waiting["metadata"]["finalizers"] = [snapshots.CLAIM_IS_SOURCE]
    plan = look(snapshot(finalizers=PROTECTED), claim=waiting)
    words = f'{INPUT}"the PVC data is not yet bound to a PV, will not attempt to take a snapshot"'
    assert plan.tells[0].message == words
    assert plan.write is not None
    after = look(plan.write.obj)
    assert after.write is not None and after.write.verb == "create", "the fault of before does not hold it up"


def test_the_default_class_is_that_of_the_volumes_driver() -> None:
    plan = look(snapshot(kind="", finalizers=PROTECTED), classes=[default("theirs", "other"), default("ours")])
    assert plan.write is not None
    assert plan.write.obj["spec"]["volumeSnapshotClassName"] == "ours"


def test_a_content_that_was_kept_for_the_snapshot_is_bound_to_it() -> None:
    kept = content("c", uid="", handle="x")
    plan = look(snapshot(content="c", finalizers=BOUND), content=kept)
    assert plan.write is not None and plan.write.resource == VOLUME_SNAPSHOT_CONTENTS
    assert plan.write.obj["spec"]["volumeSnapshotRef"]["uid"] == "uid-s"
    assert plan.write.obj["spec"]["volumeSnapshotClassName"] == "fast"


def test_the_status_follows_what_the_driver_made() -> None:
    told = {"snapshotHandle": "x", "creationTime": 1767225600_000000001, "restoreSize": 1 << 30, "readyToUse": False}
    plan = look(snapshot(finalizers=BOUND), content=content(status=told))
    assert plan.write is not None
    assert plan.write.obj["status"] == {
        "boundVolumeSnapshotContentName": "snapcontent-uid-s",
        "creationTime": "2026-01-01T00:00:00Z",
        "readyToUse": False,
        "restoreSize": "1Gi",
    }
    assert [each.reason for each in plan.tells] == ["SnapshotCreated"]
    ready = look(plan.write.obj, content=content(status=told | {"readyToUse": True}))
    assert ready.write is not None and ready.write.obj["status"]["readyToUse"] is True
    assert [(each.reason, each.message) for each in ready.tells] == [
        ("SnapshotReady", "Snapshot ns/s is ready to use.")
    ]


def test_a_fault_of_the_driver_is_shown_until_it_is_over() -> None:
    fault = {"message": "no room", "time": GONE}
    plan = look(snapshot(finalizers=BOUND), content=content(status={"error": fault}))
    assert plan.write is not None and plan.write.obj["status"]["error"] == fault
    over = look(plan.write.obj, content=content(status={"readyToUse": True, "snapshotHandle": "x"}))
    assert over.write is not None and "error" not in over.write.obj["status"]


def test_a_claim_is_let_go_when_no_snapshot_is_taken_of_it_any_more() -> None:
    ready = snapshot(status=READY, finalizers=BOUND)
    plan = look(ready, content=content(), claim_is_used=True)
    assert plan.write is None
    plan = look(ready, content=content())
    assert plan.write is not None and plan.write.resource == PERSISTENT_VOLUME_CLAIMS
    assert plan.write.obj["metadata"]["finalizers"] == []


def test_a_deleted_snapshot_takes_its_content_with_it_and_waits_for_that() -> None:
    deleted = snapshot(status=READY, finalizers=BOUND, deletionTimestamp=GONE)
    marked = look(deleted, claim=None, content=content())
    assert marked.write is not None
    assert marked.write.obj["metadata"]["annotations"] == {
        "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted": "yes"
    }
    ending = look(deleted, claim=None, content=marked.write.obj)
    assert ending.write is not None and (ending.write.verb, ending.write.resource) == (
        "delete",
        VOLUME_SNAPSHOT_CONTENTS,
    )
    gone = content(annotations={snapshots.BEING_DELETED: "yes"}, deletionTimestamp=GONE)
    waits = look(deleted, claim=None, content=gone)
    assert waits.write is not None and waits.write.obj["metadata"]["finalizers"] == [snapshots.IS_BOUND]
    over = look(waits.write.obj, claim=None)
    assert over.write is not None and over.write.obj["metadata"]["finalizers"] == []


def test_a_content_that_is_retained_stays_and_the_snapshot_goes() -> None:
    kept = content(annotations={snapshots.BEING_DELETED: "yes"})
    kept["spec"]["deletionPolicy"] = "Retain"
    plan = look(snapshot(status=READY, finalizers=BOUND, deletionTimestamp=GONE), claim=None, content=kept)
    assert plan.write is not None and plan.write.resource == VOLUME_SNAPSHOTS
    assert plan.write.obj["metadata"]["finalizers"] == []


def test_a_snapshot_that_is_being_restored_stays_until_that_is_done() -> None:
    plan = look(snapshot(finalizers=BOUND, deletionTimestamp=GONE), claim=None, content=content(), is_restored=True)
    assert plan.write is None
    assert [(each.reason, each.message) for each in plan.tells] == [
        ("SnapshotDeletePending", "Snapshot is being used to restore a PVC")
    ]


def test_a_content_whose_snapshot_is_not_there_loses_nothing() -> None:
    protected = content(finalizers=[snapshots.CONTENT_IS_BOUND])
    assert plan_content(protected, None) == Plan()
    other = snapshot(deletionTimestamp=GONE, finalizers=BOUND)
    other["metadata"]["uid"] = "another"
    assert plan_content(protected, other) == Plan(), "another of the same name is none of its business"
    assert plan_content(content(), None).write is not None, "it is protected"
    neither = content()
    neither["spec"]["source"] = {}
    assert plan_content(neither, None).tells[0].reason == "ContentValidationError"


class World:
    """Objects by kind and name, with a driver's snapshotter that makes and deletes; stale writes are refused."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Obj]] = {"claims": {}, "snapshots": {}, "contents": {}}
        self.numbers = itertools.count(1)
        #: handles of snapshots on the storage system
        self.stored: set[str] = set()

    def put(self, kind: str, obj: Obj) -> None:
        obj = deepcopy(obj)
        meta = obj["metadata"]
        meta["resourceVersion"] = str(next(self.numbers))
        if meta.get("deletionTimestamp") and not meta.get("finalizers"):
            self.objects[kind].pop(meta["name"], None)
        else:
            self.objects[kind][meta["name"]] = obj

    def plan(self, seen: dict[str, dict[str, Obj]], kind: str, name: str) -> Plan:
        obj = seen[kind].get(name)
        if obj is None or kind == "claims":
            return Plan()
        if kind == "contents":
            return plan_content(obj, seen["snapshots"].get(snapshots.reference(obj)["name"]))
        source = snapshots.source_claim(obj)
        others = [each for key, each in seen["snapshots"].items() if key != name]
        used = any(is_using_claim(each) for each in others if snapshots.source_claim(each) == source)
        return plan_snapshot(
            OfSnapshot(
                obj,
                NOW,
                seen["claims"].get(source),
                volume(source),
                seen["contents"].get(snapshots.content_name(obj)),
                [snapshot_class()],
                used,
            )
        )

    def carry_out(self, plan: Plan) -> None:
        if plan.write is None:
            return
        resources = {VOLUME_SNAPSHOTS: "snapshots", VOLUME_SNAPSHOT_CONTENTS: "contents"}
        kind = resources.get(plan.write.resource, "claims")
        obj, current = plan.write.obj, self.objects[kind].get(plan.write.obj["metadata"]["name"])
        if plan.write.verb == "create":
            if current is None:
                self.put(kind, {**obj, "metadata": {**obj["metadata"], "uid": f"c{next(self.numbers)}"}})
            return
        if current is None or current["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            return
        if plan.write.verb == "delete":
            self.delete(kind, obj["metadata"]["name"])
        elif plan.write.verb == "status":
            self.put(kind, {**current, "status": obj["status"]})
        else:
            self.put(kind, {**current, "metadata": obj["metadata"], "spec": obj["spec"]})

    def delete(self, kind: str, name: str) -> None:
        if (obj := self.objects[kind].get(name)) is not None:
            self.put(kind, {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": GONE}})

    def drive(self, name: str) -> None:
        """One turn of the driver's snapshotter."""
        obj = self.objects["contents"].get(name)
        if obj is None:
            return
        meta = obj["metadata"]
        if meta.get("deletionTimestamp"):
            if snapshots.BEING_DELETED in meta.get("annotations", {}):
                self.stored.discard(name)
                self.put("contents", {**obj, "metadata": {**meta, "finalizers": []}})
        elif not snapshots.is_ready(obj):
            self.stored.add(name)
            made = {"snapshotHandle": name, "creationTime": 1, "restoreSize": 1, "readyToUse": True}
            self.put("contents", {**obj, "status": made})

    def settle(self) -> None:
        for _ in range(100):
            before = deepcopy(self.objects)
            for kind in ("snapshots", "contents"):
                for name in list(self.objects[kind]):
                    self.carry_out(self.plan(self.objects, kind, name))
            for name in list(self.objects["contents"]):
                self.drive(name)
            if self.objects == before:
                return
        raise AssertionError("the plans never come to an end")


NAMES = st.sampled_from(["a", "b"])
KINDS = st.sampled_from(["snapshots", "contents"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), NAMES),
        st.tuples(st.just("snapshot"), NAMES, NAMES),
        st.tuples(st.just("look"), KINDS, st.integers(0, 3)),
        st.tuples(st.just("late"), KINDS, st.integers(0, 3)),
        st.tuples(st.just("drive"), st.integers(0, 3)),
        st.tuples(st.just("remember")),
        st.tuples(st.just("delete"), st.sampled_from(["claims", "snapshots"]), NAMES),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_whatever_is_interrupted_or_late_nothing_is_left_when_all_snapshots_are_gone(steps: list[Any]) -> None:
    world, lives = World(), itertools.count()
    old = deepcopy(world.objects)

    def nth(kind: str, number: int) -> str:
        present = sorted(world.objects[kind])
        return present[number % len(present)] if present else ""

    for step in steps:
        match step:
            case ("claim", name) if name not in world.objects["claims"]:
                world.put("claims", claim(name))
            case ("snapshot", name, source) if name not in world.objects["snapshots"]:
                taken = snapshot(name)
                taken["metadata"]["uid"] = f"uid-{next(lives)}"
                taken["spec"]["source"]["persistentVolumeClaimName"] = source
                world.put("snapshots", taken)
            case ("look", kind, number):
                world.carry_out(world.plan(world.objects, kind, nth(kind, number)))
            case ("late", kind, number):
                world.carry_out(world.plan(old, kind, nth(kind, number)))
            case ("drive", number):
                world.drive(nth("contents", number))
            case ("remember",):
                old = deepcopy(world.objects)
            case ("delete", kind, name):
                world.delete(kind, name)
    world.settle()
    for name, each in world.objects["snapshots"].items():
        bound = world.objects["contents"].get(snapshots.bound_content(each))
        assert not snapshots.is_ready(each) or (bound is not None and snapshots.names(bound, each)), name
    for name in list(world.objects["snapshots"]):
        world.delete("snapshots", name)
    world.settle()
    assert not world.objects["snapshots"] and not world.objects["contents"] and not world.stored
    for each in world.objects["claims"].values():
        assert snapshots.CLAIM_IS_SOURCE not in each["metadata"].get("finalizers", [])
