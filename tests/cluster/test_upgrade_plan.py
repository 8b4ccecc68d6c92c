"""What stands against an upgrade, and what it would break."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from sampan.client.client import Client
from sampan.cluster.upgrading import running
from sampan.cluster.upgrading.plan import Component, Found, plan, render
from sampan.server.app import Server
from sampan.server.config import ServerConfig


def node(name: str, version: str = "v1.37.0", ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "status": {"nodeInfo": {"kubeletVersion": version}, "conditions": [{"type": "Ready", "status": ready}]},
    }


def found(*nodes: dict[str, Any], server: str = "v1.37.0", **more: Any) -> Found:
    return Found([Component("kube-apiserver", "m1", server)], nodes, "v1.37.0", **more)


def test_a_cluster_that_is_well_has_nothing_against_it_and_is_told_the_order() -> None:
    made = plan(found(node("m1"), node("m2", "v1.34.2"), server="v1.36.9"))
    assert (made.against, made.breaks) == ([], [])
    said = render(made)
    assert "kubelet          m2     v1.34.2   v1.37.0" in said
    assert said.index("upgrade apply") < said.index("upgrade node")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (found(node("m1", ready="Unknown")), "node m1 is not Ready"),
        (found(server="v1.35.0"), "kube-apiserver of m1 is v1.35.0, more than 1 minor before v1.37.0"),
        (found(server="v1.38.0"), "kube-apiserver of m1 is v1.38.0, which is newer than v1.37.0"),
        (found(node("m2", "v1.33.0")), "kubelet of m2 is v1.33.0, more than 3 minor before"),
        (found(server="v2.0.0"), "newer"),
        (found(etcd_problems=["192.0.2.3:2379: no answer"]), "etcd: 192.0.2.3:2379: no answer"),
    ],
    ids=["node", "behind", "ahead", "old node", "major", "etcd"],
)
def test_what_has_to_be_mended_first_is_named(wrong: Found, said: str) -> None:
    made = plan(wrong)
    assert len(made.against) == 1
    assert said in made.against[0]
    assert "To be mended first" in render(made)


def test_versions_that_nobody_can_read_are_shown_and_not_judged() -> None:
    assert plan(found(node("m1", "foreign"), server="")).against == []


def test_what_would_break_is_told_and_stops_nobody() -> None:
    made = plan(found(uses=["Ingress default/a was written in extensions/v1beta1, which is removed"]))
    assert made.against == []
    assert "What would break:\n  - Ingress default/a" in render(made)


async def test_what_a_removed_version_wrote_is_found_in_a_cluster_and_named_with_what_takes_its_place() -> None:
    budget = {
        "apiVersion": "policy/v1beta1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "a", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}},
    }
    async with Server(ServerConfig(listen=False, random=Random(1))) as server:
        client = Client(server.local_transport())
        await client.raw("POST", "/apis/policy/v1beta1/namespaces/default/poddisruptionbudgets", budget)
        said = await running.uses(client, "v1.24.0")
    assert said == [
        "PodDisruptionBudget default/a was written in policy/v1beta1, which is removed: "
        "use policy/v1 PodDisruptionBudget"
    ]
