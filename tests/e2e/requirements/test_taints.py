"""A node that gets a taint which ends pods, and loses it again. Pods of other modules do not run by now."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from e2e_harness import eventually
from requirement_room import Obj, Refused, Room, pod

KEY = f"requirements/{secrets.token_hex(3)}"


def tolerating(name: str, seconds: int) -> Obj:
    return pod(
        name,
        tolerations=[
            {"key": KEY, "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": seconds}
        ],
    )


PODS = (tolerating("at-once", 0), tolerating("soon", 2), tolerating("much-later", 3600))


@pytest.fixture
def tainted(room: Room) -> Iterator[str]:
    """The pods' node, which has the taint."""
    nodes = {room.ready(each["metadata"]["name"])["spec"]["nodeName"] for each in PODS}
    assert len(nodes) == 1
    path = f"/api/v1/nodes/{nodes.pop()}"
    try:
        change_taints(room, path, {"key": KEY, "value": "yes", "effect": "NoExecute"})
        yield path
    finally:
        change_taints(room, path)


def change_taints(room: Room, path: str, *own: Obj) -> None:
    """All others stay as they are."""

    def changed() -> bool:
        node = room.api("GET", path)
        others = [taint for taint in node["spec"].get("taints", ()) if taint["key"] != KEY]
        version = {"resourceVersion": node["metadata"]["resourceVersion"]}
        try:
            room.api.patch(path, {"metadata": version, "spec": {"taints": [*others, *own]}})
        except Refused as refused:
            assert refused.code == 409  # somebody else changed the node
            return False
        return True

    eventually(changed, every=0.0)


def test_pods_go_when_their_time_on_the_node_is_over_and_stay_if_the_taint_goes_first(room: Room, tainted: str) -> None:
    """NoExecuteTaintManager Multiple Pods [Serial] evicts pods with minTolerationSeconds [Disruptive];
    NoExecuteTaintManager Single Pod [Serial] removing taint cancels eviction [Disruptive]"""
    gone = [room.gone(name)["metadata"]["deletionTimestamp"] for name in ("at-once", "soon")]
    assert gone == sorted(gone)
    assert "deletionTimestamp" not in room.get("much-later")["metadata"]

    change_taints(room, tainted)
    told = f"Cancelling deletion of Pod {room.namespace}/much-later"
    eventually(lambda: told in [event["message"] for event in room.events("much-later")])
    assert "deletionTimestamp" not in room.get("much-later")["metadata"]
