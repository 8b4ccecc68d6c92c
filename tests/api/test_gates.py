"""Fields of alpha features: dropped when they are written, kept where the stored object has them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from sampan.api import gates, schema
from sampan.api.registry import registry
from sampan.api.schema.nodes import ListNode, MapNode, Node, ObjectNode

Obj = dict[str, Any]
KINDS = [kind for kind in registry().kinds() if kind.gated is not None]
#: What is off, by the Go struct that has it. Anything of these structs in any kind's spec must be in its table.
OFF = {
    "v1.PodSpec": {"schedulingGroup", "evictionResponders"},
    "v1.Lifecycle": {"stopSignal"},
    "v1.HTTPGetAction": {"protocol"},
    "v1.GRPCAction": {"mode"},
    "v1.VolumeMount": {"bindMountOptions"},
    "v1.EmptyDirVolumeSource": {"mode"},
    "v1.KeyToPath": {"user"},
    "v1.DownwardAPIVolumeFile": {"user"},
    "v1.ServiceAccountTokenProjection": {"user"},
    "v1.ClusterTrustBundleProjection": {"user"},
    "v1.PodCertificateProjection": {"user"},
    "v1.ConfigMapVolumeSource": {"defaultUser"},
    "v1.SecretVolumeSource": {"defaultUser"},
    "v1.DownwardAPIVolumeSource": {"defaultUser"},
    "v1.ProjectedVolumeSource": {"defaultUser"},
    "v1.JobSpec": {"scheduling"},
    "v1.NodeSpec": {"podPreemptionPolicy"},
    "v1.ExactDeviceRequest": {"derivedAttributes"},
    "v1.DeviceSubRequest": {"derivedAttributes"},
    "v1.DeviceAttribute": {"bools", "ints", "strings", "versions"},
    "v1.DeviceCounterConsumption": {"compatibilityGroups"},
    "v1.ResourceSliceSpec": {"skipNodeOperations"},
    "v1.LeaseSpec": {"strategy", "preferredHolder"},
}


def gated_in(node: Node, way: tuple[str, ...] = (), above: tuple[Node, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The ways to what is off, by the schema."""
    if node in above or way[-1:] == ("status",):
        return
    above = (*above, node)
    if isinstance(node, ObjectNode):
        for name, field in node.fields.items():
            if name in OFF.get(node.go_type, ()):
                yield (*way, name)
            else:
                yield from gated_in(field.node, (*way, name), above)
    elif isinstance(node, ListNode):
        yield from gated_in(node.items, (*way, "[]"), above)
    elif isinstance(node, MapNode):
        yield from gated_in(node.values, (*way, "{}"), above)


def gated_by(table: gates.Table, way: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, (form, gate, inner) in table.items():
        here = (*way, name) if form in ("", "?") else (*way, name, form)
        yield from [here] if gate else gated_by(inner, here)


def test_every_place_of_a_field_that_is_off_is_in_the_table_of_its_kind() -> None:
    for kind in registry().kinds():
        if kind.stored_as is None and "create" in kind.verbs and not kind.former:
            assert set(gated_by(kind.gated or {})) == set(gated_in(kind.node)), kind.schema


CONTAINER: Obj = {"name": "c", "image": "i"}
POD: Obj = {
    "schedulingGroup": {"podGroupName": "g"},
    "evictionResponders": [{"name": "r.io/x"}],
    "containers": [
        {
            **CONTAINER,
            "lifecycle": {"stopSignal": "SIGTERM"},
            "livenessProbe": {"grpc": {"port": 1, "mode": "TLS"}},
            "volumeMounts": [{"name": "v", "mountPath": "/v", "bindMountOptions": ["noexec"]}],
        },
        {**CONTAINER, "lifecycle": {"stopSignal": "SIGTERM", "preStop": {"sleep": {"seconds": 1}}}},
    ],
    "volumes": [
        {"name": "v", "emptyDir": {"mode": 0o755}},
        {"name": "w", "projected": {"sources": [{"configMap": {"name": "m", "items": [{"key": "k", "user": 5}]}}]}},
    ],
}
PLAIN: Obj = {
    "containers": [
        {
            **CONTAINER,
            "livenessProbe": {"grpc": {"port": 1}},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        },
        {**CONTAINER, "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}},
    ],
    "volumes": [
        {"name": "v", "emptyDir": {}},
        {"name": "w", "projected": {"sources": [{"configMap": {"name": "m", "items": [{"key": "k"}]}}]}},
    ],
}


def dropped(new: Obj, old: Obj | None = None) -> Obj:
    new = copy.deepcopy(new)
    gates.drop(gates.POD, new, old)
    return new


def test_what_is_off_is_dropped_and_a_lifecycle_that_held_nothing_else_goes_with_it() -> None:
    assert dropped({"spec": POD}) == {"spec": PLAIN}


def test_a_gate_that_the_stored_object_uses_stays_open_for_it_and_no_other_does() -> None:
    old = {"spec": {"containers": [{**CONTAINER, "lifecycle": {"stopSignal": "SIGHUP"}}]}}
    kept = dropped({"spec": POD}, old)["spec"]
    assert [container.get("lifecycle") for container in kept["containers"]] == [
        container["lifecycle"] for container in POD["containers"]
    ]
    assert kept["volumes"] == PLAIN["volumes"]
    assert "schedulingGroup" not in kept


def test_an_object_that_stands_in_two_places_is_dropped_from_once() -> None:
    shared = {"stopSignal": "SIGTERM"}
    new = {"spec": {"containers": [{"lifecycle": shared}, {"lifecycle": shared}]}}
    gates.drop(gates.POD, new, None)
    assert new == {"spec": {"containers": [{}, {}]}}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_an_object_without_such_fields_is_left_as_it_is(kind: Any) -> None:
    for obj in ({}, {"spec": {}}, {"spec": None}, {"spec": {"template": {"spec": PLAIN}}}, {"template": {}}):
        before = copy.deepcopy(obj)
        gates.drop(kind.gated, obj, None)
        assert obj == before


schema.load()


def test_of_a_lease_each_field_is_in_use_by_itself() -> None:
    new = {"spec": {"strategy": "OldestEmulationVersion", "preferredHolder": "a", "holderIdentity": "b"}}
    gates.drop(gates.LEASE, new, {"spec": {"strategy": "OldestEmulationVersion"}})
    assert new == {"spec": {"strategy": "OldestEmulationVersion", "holderIdentity": "b"}}
    assert gates.named(gates.LEASE) == {"CoordinatedLeaderElection"}
    assert gates.without(gates.LEASE, {"CoordinatedLeaderElection"}) == {}
