"""Pods that ask for a RuntimeClass, on a node."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from requirement_room import Obj, Refused, Room, condition, container, pod

MARK = f"req-{secrets.token_hex(3)}"
CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"


@pytest.fixture
def classes(room: Room) -> Iterator[tuple[str, str]]:
    """One as it is, and one of whose pods each costs something itself."""
    plain, costly = f"{MARK}-plain", f"{MARK}-costly"
    fixed = {"podFixed": {"cpu": "10m", "memory": "1Mi"}}
    try:
        room.api("POST", CLASSES, {"metadata": {"name": plain}, "handler": "runc"})
        room.api("POST", CLASSES, {"metadata": {"name": costly}, "handler": "runc", "overhead": fixed})
        yield plain, costly
    finally:
        for name in (plain, costly):
            room.api("DELETE", f"{CLASSES}/{name}")


def scheduled(found: Obj) -> bool:
    return condition(found, "PodScheduled").get("status") == "True"


def test_a_pod_of_a_class_is_scheduled_and_costs_what_the_class_says(room: Room, classes: tuple[str, str]) -> None:
    """RuntimeClass should schedule a Pod requesting a RuntimeClass without PodOverhead [NodeConformance]; RuntimeClass
    should schedule a Pod requesting a RuntimeClass and initialize its Overhead [NodeConformance]"""
    plain, costly = classes
    room.create(pod("plain", container("true"), runtimeClassName=plain))
    room.create(pod("costly", container("true"), runtimeClassName=costly))
    assert "overhead" not in room.until("plain", scheduled)["spec"]
    assert room.until("costly", scheduled)["spec"]["overhead"] == {"cpu": "10m", "memory": "1Mi"}
    assert {room.ended(name)["status"]["phase"] for name in ("plain", "costly")} == {"Succeeded"}


def test_a_pod_of_a_class_that_is_not_there_is_rejected(room: Room) -> None:
    """RuntimeClass should reject a Pod requesting a non-existent RuntimeClass [NodeConformance]; RuntimeClass should
    reject a Pod requesting a deleted RuntimeClass [NodeConformance]"""
    gone = f"{MARK}-gone"
    room.api("POST", CLASSES, {"metadata": {"name": gone}, "handler": "runc"})
    room.api("DELETE", f"{CLASSES}/{gone}")
    for name in (gone, f"{MARK}-never"):
        with pytest.raises(Refused) as refused:
            room.create(pod("rejected", runtimeClassName=name))
        assert refused.value.code == 403
        assert f'pod rejected: RuntimeClass "{name}" not found' in refused.value.message
