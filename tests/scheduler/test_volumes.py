"""Volumes in decisions: where claims can be bound or made, who shares what, zones and limits, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.scheduler.framework import Code
from sampan.scheduler.plugins.volumebinding import VolumeBinding
from sampan.scheduler.storage import Storage

Obj = dict[str, Any]
BOUND = {"pv.kubernetes.io/bind-completed": "yes"}
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
NOT_FOUND = "node(s) didn't find available persistent volumes to bind"
CONFLICT = "node(s) didn't match PersistentVolume's node affinity"


class Table:
    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Obj] = {}

    def get(self, namespace: str, name: str) -> Obj | None:
        return self.objects.get((namespace, name))

    def put(self, obj: Obj) -> Obj:
        meta = obj["metadata"]
        self.objects[meta.get("namespace", ""), meta["name"]] = obj
        return obj


class Disks:
    """What the API has, as informers would show it."""

    def __init__(self, world: Any) -> None:
        self.claims, self.volumes, self.classes, self.drivers = Table(), Table(), Table(), Table()
        world.cluster.storage = Storage(self.claims, self.volumes, self.classes, self.drivers)
        self.storage = world.cluster.storage
        self.plugin = next(each for each in world.profile.plugins if isinstance(each, VolumeBinding))
        delayed = {"volumeBindingMode": "WaitForFirstConsumer"}
        self.classes.put({"metadata": {"name": "made"}, "provisioner": "example.com/p", **delayed})
        self.classes.put({"metadata": {"name": "local"}, "provisioner": "kubernetes.io/no-provisioner", **delayed})
        self.classes.put({"metadata": {"name": "now"}, "provisioner": "example.com/p"})

    def claim(self, name: str, kind: str = "made", size: str = "1Gi", volume: str = "", **meta: Any) -> Obj:
        spec: Obj = {"storageClassName": kind, "accessModes": ["ReadWriteOnce"]}
        spec["resources"] = {"requests": {"storage": size}}
        if volume:
            spec["volumeName"] = volume
            meta.setdefault("annotations", BOUND)
        named = {"name": name, "namespace": "default", "uid": f"uid-{name}", **meta}
        return self.claims.put({"metadata": named, "spec": spec, "status": {"phase": "Bound" if volume else "Pending"}})

    def volume(self, name: str, host: str = "", size: str = "1Gi", kind: str = "local", **spec: Any) -> Obj:
        wanted: Obj = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": kind,
            **spec,
        }
        if host:
            test = {"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}
            wanted["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [test]}]}}
        obj = {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": wanted, "status": {"phase": "Available"}}
        self.volumes.put(obj)
        self.storage.volume_changed(obj)
        return obj


def using(*names: str) -> list[Obj]:
    return [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]


@pytest.fixture
def disks(world: Any) -> Disks:
    return Disks(world)


def all_nodes(world: Any, reason: str) -> str:
    count = world.cluster.nodes.count
    return f"0/{count} nodes are available: {count} {reason}."


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, 'persistentvolumeclaim "data" not found'),
        ({"kind": "now"}, UNBOUND),
        ({"kind": "", "volume": "v", "annotations": {}}, UNBOUND),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, 'persistentvolumeclaim "data" is being deleted'),
    ],
)
def test_a_pod_whose_claims_are_not_ready_is_on_no_node(world: Any, disks: Disks, change: Obj, words: str) -> None:
    world.node("a")
    if change:
        disks.claim("data", **change)
    assert world.why(volumes=using("data")).startswith(f"0/1 nodes are available: {words}.")


def test_a_lost_claim_names_the_volume(world: Any, disks: Disks) -> None:
    world.node("a")
    disks.claim("data", volume="v")["status"]["phase"] = "Lost"
    words = 'persistentvolumeclaim "data" bound to non-existent persistentvolume "v"'
    assert words in world.why(volumes=using("data"))


def test_an_ephemeral_volume_waits_for_its_own_claim(world: Any, disks: Disks) -> None:
    world.node("a")
    volume = {"name": "d", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}
    words = 'waiting for ephemeral volume controller to create the persistentvolumeclaim "p-d"'
    assert words in world.why(volumes=[volume])
    disks.claim("p-d")
    assert "PVC default/p-d was not created for pod default/p (pod is not owner)" in world.why(volumes=[volume])


def test_a_bound_volume_holds_the_pod_where_it_can_be_reached(world: Any, disks: Disks) -> None:
    """[sig-storage] PersistentVolumes: node affinity"""
    for name in ("a", "b", "c"):
        world.node(name)
    disks.volume("v", host="b")
    disks.claim("data", volume="v")
    assert world.feasible(volumes=using("data")) == {"b"}
    disks.volume("v", host="elsewhere")
    assert world.why(volumes=using("data")).startswith(all_nodes(world, CONFLICT))
    disks.claim("data", volume="gone")
    reason = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
    assert world.why(volumes=using("data")).startswith(all_nodes(world, reason))


def test_a_delayed_claim_goes_where_a_volume_is_free_or_can_be_made(world: Any, disks: Disks) -> None:
    for name in ("a", "b"):
        world.node(name)
    disks.claim("local", kind="local")
    disks.claim("made", kind="made")
    assert world.why(volumes=using("local")).startswith(all_nodes(world, NOT_FOUND))
    assert world.feasible(volumes=using("made")) == {"a", "b"}
    disks.volume("v", host="b")
    assert world.feasible(volumes=using("local")) == {"b"}
    assert world.feasible(volumes=using("local", "made")) == {"b"}


def test_two_claims_of_a_pod_never_get_one_volume_and_the_smaller_chooses_first(world: Any, disks: Disks) -> None:
    for name in ("a", "b"):
        world.node(name)
    disks.claim("small", kind="local", size="1Gi")
    disks.claim("large", kind="local", size="5Gi")
    disks.volume("b-large", host="b", size="9Gi")
    assert not world.feasible(volumes=using("large", "small"))
    disks.volume("b-small", host="b", size="2Gi")
    assert world.feasible(volumes=using("large", "small")) == {"b"}


def test_of_volumes_of_a_node_and_of_all_nodes_the_best_is_taken_on_each(world: Any, disks: Disks, pod: Any) -> None:
    for name in ("a", "b"):
        world.node(name, labels={"disk": "yes"} if name == "b" else {})
    disks.claim("data", kind="local", size="1Gi")
    disks.claim("more", kind="local", size="2Gi")
    disks.volume("a-3", host="a", size="3Gi")
    disks.volume("everywhere", size="4Gi")
    disks.volume("b-5", host="b", size="5Gi")
    wanted = pod("p", volumes=using("more", "data"))
    assert world.feasible(volumes=using("more", "data")) == {"a", "b"}
    for node, given in (("a", {"a-3", "everywhere"}), ("b", {"everywhere", "b-5"})):
        world.profile.decide(wanted, world.cluster, world.random)
        disks.plugin.reserve(wanted, node)
        assert disks.storage.promised() == given
        disks.plugin.unreserve(wanted, node)


def test_a_class_says_where_its_volumes_can_be_made(world: Any, disks: Disks) -> None:
    world.node("a", labels={"topology.kubernetes.io/zone": "x"})
    world.node("b", labels={"topology.kubernetes.io/zone": "y"})
    allowed = [{"matchLabelExpressions": [{"key": "topology.kubernetes.io/zone", "values": ["y"]}]}]
    disks.classes.get("", "made")["allowedTopologies"] = allowed  # type: ignore[index]
    disks.claim("data")
    assert world.feasible(volumes=using("data")) == {"b"}


def test_a_claim_whose_node_is_chosen_goes_there(world: Any, disks: Disks) -> None:
    for name in ("a", "b"):
        world.node(name)
    disks.claim("data", annotations={"volume.kubernetes.io/selected-node": "b"})
    assert world.feasible(volumes=using("data")) == {"b"}


def test_what_is_promised_to_one_pod_is_not_given_to_another_until_it_is_given_back(
    world: Any, disks: Disks, pod: Any
) -> None:
    world.node("a")
    world.node("b")
    disks.claim("one", kind="local")
    disks.claim("two", kind="local")
    disks.volume("v", host="a")
    first = pod("first", volumes=using("one"))
    assert world.profile.decide(first, world.cluster, world.random).node == "a"
    assert disks.plugin.reserve(first, "a").code is Code.SUCCESS
    assert not world.feasible(volumes=using("two"))
    assert world.feasible(volumes=using("one")) == {"a"}, "a pod that shares the claim goes to the same volume"
    disks.plugin.unreserve(first, "a")
    assert world.feasible(volumes=using("two")) == {"a"}
    assert not disks.storage.promised()


def test_a_claim_that_is_to_be_made_on_one_node_is_not_made_on_another(world: Any, disks: Disks, pod: Any) -> None:
    world.node("a")
    world.node("b")
    disks.claim("data")
    first = pod("first", volumes=using("data"))
    world.profile.decide(first, world.cluster, world.random)
    disks.plugin.reserve(first, "b")
    assert world.feasible(volumes=using("data")) == {"b"}


def test_a_claim_for_one_pod_is_used_by_one_pod(world: Any, disks: Disks) -> None:
    """[sig-storage] ReadWriteOncePod; ST8"""
    world.node("a")
    world.node("b")
    disks.volume("v")
    disks.claim("data", volume="v")["spec"]["accessModes"] = ["ReadWriteOncePod"]
    assert world.feasible(volumes=using("data")) == {"a", "b"}
    other = world.pod("other", "a", volumes=using("data"))
    words = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
    assert world.why(volumes=using("data")).startswith(all_nodes(world, words))
    world.cluster.drop_pod(other.uid)
    assert world.feasible(volumes=using("data")) == {"a", "b"}


def test_a_more_important_pod_takes_the_claim_from_the_one_that_uses_it(world: Any, disks: Disks) -> None:
    world.node("a")
    disks.volume("v")
    disks.claim("data", volume="v")["spec"]["accessModes"] = ["ReadWriteOncePod"]
    world.pod("other", "a", volumes=using("data"), priority=1)
    plan = world.preempt(volumes=using("data"), priority=10)
    assert (plan.node, [victim.name for victim in plan.victims]) == ("a", ["other"])


def test_a_disk_that_cannot_be_shared_is_on_a_node_once(world: Any, disks: Disks) -> None:
    world.node("a")
    world.node("b")
    disk = {"name": "d", "gcePersistentDisk": {"pdName": "x"}}
    world.pod("other", "a", volumes=[disk])
    assert world.feasible(volumes=[disk]) == {"b"}
    world.pod("third", "b", volumes=[disk])
    assert world.why(volumes=[disk]).startswith(all_nodes(world, "node(s) had no available disk"))


def test_a_volume_with_a_zone_is_used_in_it(world: Any, disks: Disks) -> None:
    world.node("a", labels={"topology.kubernetes.io/zone": "x"})
    world.node("b", labels={"topology.kubernetes.io/zone": "y"})
    world.node("c")
    disks.volume("v")["metadata"]["labels"] = {"topology.kubernetes.io/zone": "y__z"}
    disks.claim("data", volume="v")
    assert world.feasible(volumes=using("data")) == {"b", "c"}
    world.cluster.drop_node("b")
    world.cluster.drop_node("c")
    assert world.why(volumes=using("data")).startswith(all_nodes(world, "node(s) had no available volume zone"))


def test_a_node_takes_no_more_volumes_of_a_driver_than_it_can(world: Any, disks: Disks) -> None:
    world.node("a")
    driver = {"name": "d.example", "allocatable": {"count": 1}}
    disks.storage.csi_node_changed({"metadata": {"name": "a"}, "spec": {"drivers": [driver]}})
    for name in ("one", "two"):
        disks.volume(name, csi={"driver": "d.example", "volumeHandle": name})
        disks.claim(name, volume=name)
    world.pod("other", "a", volumes=using("one"))
    assert world.feasible(volumes=using("one")) == {"a"}, "the volume is there already"
    assert world.why(volumes=using("two")).startswith(all_nodes(world, "node(s) exceed max volume count"))
    disks.storage.csi_node_changed({"metadata": {"name": "a"}, "spec": {"drivers": []}})
    assert world.feasible(volumes=using("two")) == {"a"}


def test_a_more_important_pod_takes_the_place_of_a_disk_and_of_a_driver_s_volume(world: Any, disks: Disks) -> None:
    world.node("a")
    disk = {"name": "d", "gcePersistentDisk": {"pdName": "x"}}
    driver = {"name": "d.example", "allocatable": {"count": 1}}
    disks.storage.csi_node_changed({"metadata": {"name": "a"}, "spec": {"drivers": [driver]}})
    for name in ("one", "two"):
        disks.volume(name, csi={"driver": "d.example", "volumeHandle": name})
        disks.claim(name, volume=name)
    world.pod("other", "a", volumes=[disk, *using("one")], priority=1)
    for wanted in ([disk], using("two")):
        plan = world.preempt(volumes=wanted, priority=10)
        assert (plan.node, [victim.name for victim in plan.victims]) == ("a", ["other"])
    assert world.why(volumes=[disk]).startswith(all_nodes(world, "node(s) had no available disk"))


def test_whom_to_send_away_for_a_volume_costs_each_node_the_same_among_many(
    new_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_up(nodes: int) -> int:
        world = new_world()
        disks = Disks(world)
        names = [f"n{number}" for number in range(nodes)]
        for name in (*names, "wanted"):
            disks.volume(name, csi={"driver": "d.example", "volumeHandle": name})
            disks.claim(name, volume=name)
        for name in names:
            world.node(name)
            driver = {"name": "d.example", "allocatable": {"count": 1}}
            disks.storage.csi_node_changed({"metadata": {"name": name}, "spec": {"drivers": [driver]}})
            world.pod(f"on-{name}", name, volumes=using(name), priority=1)
        asked: list[str] = []
        get = disks.claims.get

        def counted(namespace: str, name: str) -> Obj | None:
            asked.append(name)
            return get(namespace, name)

        monkeypatch.setattr(disks.claims, "get", counted)
        assert world.preempt(volumes=using("wanted"), priority=10).node
        return len(asked)

    few, many = looked_up(5), looked_up(20)
    assert many <= 4 * few


def test_a_volume_of_a_pod_that_was_promised_room_counts(world: Any, disks: Disks, pod: Any) -> None:
    world.node("a")
    disk = {"name": "d", "gcePersistentDisk": {"pdName": "x"}}
    world.cluster.nominate(pod("promised", volumes=[disk], priority=10), "a")
    assert not world.decide(volumes=[disk], priority=5).node
    assert world.decide(volumes=[disk], priority=20).node == "a"


def room(name: str, size: str | None, largest: str = "", kind: str = "made", **topology: Any) -> Obj:
    found: Obj = {"metadata": {"name": name, "namespace": "driver"}, "storageClassName": kind}
    if topology:
        found["nodeTopology"] = topology
    if size is not None:
        found["capacity"] = size
    return found | ({"maximumVolumeSize": largest} if largest else {})


NO_ROOM = "node(s) did not have enough free storage"


def test_a_driver_that_asks_for_it_makes_volumes_only_where_it_has_room(world: Any, disks: Disks) -> None:
    for name in ("a", "b", "c"):
        world.node(name, labels={"zone": "x" if name != "c" else "y"})
    disks.claim("data", size="5Gi")
    told = disks.storage.capacities.changed
    disks.drivers.put({"metadata": {"name": "example.com/p"}, "spec": {"storageCapacity": False}})
    assert world.feasible(volumes=using("data")) == {"a", "b", "c"}, "it does not want to be asked"
    disks.drivers.put({"metadata": {"name": "example.com/p"}, "spec": {"storageCapacity": True}})
    assert world.why(volumes=using("data")).startswith(all_nodes(world, NO_ROOM))
    told(room("small", "4Gi", matchLabels={"kubernetes.io/hostname": "a"}))
    told(room("of-another-class", "9Gi", kind="other", matchLabels={"kubernetes.io/hostname": "a"}))
    told(room("nowhere", "9Gi"))
    told(room("unknown", None, matchLabels={"kubernetes.io/hostname": "a"}))
    told(room("in-small-pieces", "9Gi", "1Gi", matchLabels={"kubernetes.io/hostname": "a"}))
    assert not world.feasible(volumes=using("data"))
    told(room("b", "5Gi", matchLabels={"kubernetes.io/hostname": "b"}))
    assert world.feasible(volumes=using("data")) == {"b"}
    told(room("y", "5Gi", matchExpressions=[{"key": "zone", "operator": "In", "values": ["y"]}]))
    assert world.feasible(volumes=using("data")) == {"b", "c"}
    told(room("b", "5Gi", matchLabels={"kubernetes.io/hostname": "b"}), gone=True)
    assert world.feasible(volumes=using("data")) == {"c"}


@pytest.mark.parametrize(
    ("before", "after", "wakes"),
    [("1Gi", "2Gi", "made"), ("2Gi", "1Gi", ""), ("1Gi", "1Gi", ""), (None, "1Gi", "made"), ("1Gi", None, "")],
)
def test_pods_are_tried_again_only_when_room_has_grown(before: str | None, after: str | None, wakes: str) -> None:
    found = Storage().capacities
    here: Obj = {"matchLabels": {"a": "b"}}
    found.changed(room("x", before, **here))
    assert found.changed(room("x", after, **here)) == wakes
    assert found.changed(room("x", "9Gi", **here), gone=True) == ""
