"""Pods by their API, on a node that acts on it: generations, deadlines, status, deletion, WebSockets."""

from __future__ import annotations

import ipaddress
from typing import Any

from requirement_room import WAITS, Obj, Room, condition, container, is_ready, pod, runs

SAME = {"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": {"cpu": "100m", "memory": "100Mi"}}
TOLERATION = {"key": "foo", "operator": "Exists", "effect": "NoSchedule"}


def noted(found: Obj, generation: int) -> Obj:
    return {**found, "metadata": {**found["metadata"], "generation": generation}}


PODS = (
    noted(pod("chosen-generation"), 100),
    pod("generations"),
    pod("five-hundred", activeDeadlineSeconds=100_000),
    pod("guaranteed", container(resources=SAME)),
    pod("deadline"),
    pod("removed", labels={"time": "now"}),
    pod("updated", labels={"time": "old"}),
    *(pod(f"collected-{n}", labels={"type": "Testing"}) for n in range(3)),
    pod("status", labels={"life": "static"}),
    pod("printing", container(f"echo logged by websocket; {WAITS}")),
    pod("debugged"),
)


def observed(found: Obj) -> tuple[int, int]:
    return found["metadata"]["generation"], found["status"].get("observedGeneration", 0)


def has_observed(found: Obj) -> bool:
    generation, seen = observed(found)
    return generation == seen


def test_a_generation_is_the_servers_and_grows_with_a_graceful_deletion(room: Room) -> None:
    """Pods Extended (pod generation) Pod Generation custom-set generation on new pods and graceful delete"""
    assert room.get("chosen-generation")["metadata"]["generation"] == 1
    room.ready("chosen-generation")
    room.delete("chosen-generation")
    assert room.gone("chosen-generation")["metadata"]["generation"] == 2


def test_each_change_of_the_spec_and_no_other_counts(room: Room) -> None:
    """Pods Extended (pod generation) Pod Generation pod generation should start at 1 and increment per update
    [MinimumKubeletVersion:1.34]"""
    found = room.ready("generations")
    assert found["metadata"]["generation"] == 1
    path = room.path(name="generations")
    changes: list[tuple[str, Any, int]] = [
        ("", {"metadata": {"labels": {"new": "label"}}}, 1),
        ("", {"spec": {"tolerations": [*found["spec"].get("tolerations", []), TOLERATION]}}, 2),
        ("", {"spec": {"activeDeadlineSeconds": 5000}}, 3),
        ("/ephemeralcontainers", {"spec": {"ephemeralContainers": [container(name="debugger")]}}, 4),
    ]
    for subresource, change, expected in changes:
        room.api.patch(path + subresource, change, "strategic-merge")
        assert room.get("generations")["metadata"]["generation"] == expected
    assert observed(room.until("generations", lambda p: observed(p) == (4, 4))) == (4, 4)


def test_a_node_observes_the_last_of_five_hundred_generations(room: Room) -> None:
    """Pods Extended (pod generation) Pod Generation issue 500 podspec updates and verify generation and
    observedGeneration eventually converge [MinimumKubeletVersion:1.34]"""
    room.ready("five-hundred")
    path = room.path(name="five-hundred")
    for number in range(1, 500):
        room.api.patch(path, {"spec": {"activeDeadlineSeconds": 100_000 - number}})
    assert room.get("five-hundred")["metadata"]["generation"] == 500
    assert room.until("five-hundred", lambda p: observed(p) == (500, 500))


def test_a_pod_whose_limits_are_its_requests_is_guaranteed(room: Room) -> None:
    """Pods Extended Pods Set QOS Class should be set on Pods with matching resource requests and limits for memory and
    cpu"""
    assert room.get("guaranteed")["status"]["qosClass"] == "Guaranteed"
    assert room.ready("guaranteed")["status"]["qosClass"] == "Guaranteed"


def test_a_deadline_given_later_ends_the_pod(room: Room) -> None:
    """Pods should allow activeDeadlineSeconds to be updated [NodeConformance]"""
    room.ready("deadline")
    room.api.patch(room.path(name="deadline"), {"spec": {"activeDeadlineSeconds": 1}})
    status = room.ended("deadline")["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")


def test_a_pod_is_seen_from_its_creation_to_its_removal(room: Room) -> None:
    """Pods should be submitted and removed [NodeConformance]"""
    selector = {"labelSelector": "name=removed,time=now"}
    assert [each["metadata"]["name"] for each in room.api("GET", room.path(), **selector)["items"]] == ["removed"]
    room.ready("removed")
    room.delete("removed")
    assert room.gone("removed")["metadata"]["deletionTimestamp"]
    assert next(kind for kind, _ in room.seen["removed"]) == "ADDED"
    assert any(p["metadata"].get("deletionTimestamp") for kind, p in room.seen["removed"] if kind == "MODIFIED")
    assert room.api("GET", room.path(), **selector)["items"] == []


def test_a_pod_is_found_by_its_new_label(room: Room) -> None:
    """Pods should be updated [NodeConformance]"""
    room.ready("updated")
    read = room.get("updated")
    read["metadata"]["labels"]["time"] = "new"
    read["metadata"].pop("resourceVersion")  # the node's writes are no conflict
    room.api("PUT", room.path(name="updated"), read)
    found = room.api("GET", room.path(), labelSelector="time=new")["items"]
    assert [each["metadata"]["name"] for each in found] == ["updated"]
    assert room.api("GET", room.path(), labelSelector="time=old")["items"] == []


def test_a_collection_of_pods_is_deleted(room: Room) -> None:
    """Pods should delete a collection of pods"""
    assert len(room.api("GET", room.path(), labelSelector="type=Testing")["items"]) == 3
    room.api("DELETE", room.path(), labelSelector="type=Testing")
    for number in range(3):
        assert room.gone(f"collected-{number}")
    assert room.api("GET", room.path(), labelSelector="type=Testing")["items"] == []


def test_a_pod_knows_the_address_of_its_node(room: Room) -> None:
    """Pods should get a host IP [NodeConformance]"""
    found = room.ready("status")
    node = room.api("GET", f"/api/v1/nodes/{found['spec']['nodeName']}")
    internal = [each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"]
    assert found["status"]["hostIP"] in internal and ipaddress.ip_address(found["status"]["hostIP"])
    assert [each["ip"] for each in found["status"]["hostIPs"]] == internal


def test_the_status_of_a_pod_is_patched_and_replaced(room: Room) -> None:
    """Pods should patch a pod status; Pods should run through the lifecycle of Pods and PodStatus"""
    room.ready("status")
    path = room.path(name="status")
    patched = room.api.patch(f"{path}/status", {"status": {"message": "Patched", "reason": "E2E"}})
    assert (patched["status"]["message"], patched["status"]["reason"]) == ("Patched", "E2E")

    labelled = room.api.patch(path, {"metadata": {"labels": {"patched": "yes"}}}, "strategic-merge")
    assert labelled["metadata"]["labels"] == {"name": "status", "life": "static", "patched": "yes"}
    assert "resourceVersion" in labelled["metadata"]
    read = room.get("status")
    read["metadata"].pop("resourceVersion")
    condition(read, "Ready")["status"] = "False"
    replaced = room.api("PUT", f"{path}/status", read)
    assert condition(replaced, "Ready")["status"] == "False"
    # The node tells what is so.
    room.until("status", lambda p: not is_ready(p) and "yes" in p["metadata"]["labels"].values())
    room.delete("status")
    assert room.gone("status")


def test_a_command_is_run_over_a_websocket(room: Room) -> None:
    """Pods should support remote command execution over websockets [NodeConformance]"""
    room.ready("printing")
    said = room.run("printing", "echo", "remote execution test")
    assert said[1] == b"remote execution test\n" and not said[2]
    assert b'"status":"Success"' in said[3]


def test_a_log_is_read_over_a_websocket(room: Room) -> None:
    """Pods should support retrieving logs from the container over websockets [NodeConformance]"""
    room.ready("printing")
    opened = room.api.dial(room.path(name="printing", subresource="log") + "?container=main", "binary.k8s.io")
    said = b""
    while frame := opened.recv():
        said += frame if isinstance(frame, bytes) else frame.encode()
    opened.shutdown()
    assert said == b"logged by websocket\n"


def test_ephemeral_containers_are_added_one_after_the_other(room: Room) -> None:
    """Ephemeral Containers [NodeConformance] will start an ephemeral container in an existing pod; Ephemeral Containers
    [NodeConformance] should update the ephemeral containers in an existing pod"""
    room.ready("debugged")
    path = room.path(name="debugged", subresource="ephemeralcontainers")
    for number in (1, 2):
        added = container(f"echo polo; {WAITS}", f"debugger-{number}")
        changed = room.api.patch(path, {"spec": {"ephemeralContainers": [added]}}, "strategic-merge")
        assert len(changed["spec"]["ephemeralContainers"]) == number
        found = room.until("debugged", lambda p, name=added["name"]: runs(p, name))
        assert len(found["status"]["ephemeralContainerStatuses"]) == number
        assert len(room.get("debugged")["spec"]["ephemeralContainers"]) == number
