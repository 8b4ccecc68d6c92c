"""The collector's graph finds what custom resources own without looking at everything."""

from __future__ import annotations

from typing import Any

from sampan.api.resources import Resource
from sampan.controllers.garbagecollector.graph import Graph, Item

PODS = Resource("", "v1", "pods", "Pod", True)


def _pod(name: str, *owners: tuple[str, str, str]) -> tuple[Item, Any]:
    references = [{"apiVersion": api, "kind": kind, "name": uid, "uid": uid} for api, kind, uid in owners]
    return Item(PODS, "d", name, name), {"metadata": {"name": name, "uid": name, "ownerReferences": references}}


def test_what_a_kind_owns_follows_the_references() -> None:
    graph = Graph(lambda owner: owner["apiVersion"] == "apps/v1")
    graph.observe(*_pod("a", ("example.com/v1", "Boat", "b1"), ("example.com/v1", "Boat", "b2")))
    graph.observe(*_pod("b", ("apps/v1", "ReplicaSet", "r")))
    graph.check_invariants()
    assert [item.name for item in graph.owned_by_kind("example.com", "Boat")] == ["a"]
    assert graph.owned_by_kind("apps", "ReplicaSet") == []
    graph.observe(*_pod("a", ("example.com/v2", "Ship", "b1"), ("example.com/v1", "Ship", "b2")))
    graph.check_invariants()
    assert graph.owned_by_kind("example.com", "Boat") == []
    assert [item.name for item in graph.owned_by_kind("example.com", "Ship")] == ["a"]
    graph.forget(_pod("a")[0])
    graph.check_invariants()
    assert graph.owned_by_kind("example.com", "Ship") == []
