"""Where a volume is attached and where it may be taken away: tables, and what holds in any order of events."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sampan.controllers.attachdetach.plan import (
    FORCE_SECONDS,
    Attached,
    Observed,
    is_out_of_service,
    plan,
    refusal,
    wants_volumes,
)

Obj = dict[str, Any]
POD: Obj = {"metadata": {"name": "web", "namespace": "ns"}, "spec": {"nodeName": "n1"}}


def at(node: str, **fields: Any) -> Attached:
    return Attached(f"csi-{node}", f"uid-{node}", node, **fields)


def test_a_volume_is_attached_where_a_pod_wants_it() -> None:
    assert plan(Observed({"n1": [POD]})).attach == ("n1",)


def test_a_volume_of_one_node_goes_to_one_of_two_and_the_other_is_told() -> None:
    decided = plan(Observed({"n1": [POD], "n2": [POD]}))
    assert (decided.attach, decided.refused) == (("n1",), {"n2": ("n1",)})


def test_a_shared_volume_goes_to_all() -> None:
    assert plan(Observed({"n1": [POD], "n2": [POD]}, shared=True)).attach == ("n1", "n2")


@pytest.mark.parametrize("leaving", [False, True])
def test_a_volume_of_one_node_waits_until_the_other_has_let_go(leaving: bool) -> None:
    decided = plan(Observed({"n2": [POD]}, [at("n1", leaving=leaving)], using=frozenset({"n1"})))
    assert (decided.attach, decided.refused, decided.detach) == ((), {"n2": ("n1",)}, ())


@pytest.mark.parametrize(
    ("using", "ill", "gone", "seconds", "expected"),
    [
        (False, False, False, 0.0, "detach"),
        (True, False, False, FORCE_SECONDS + 1, "wait"),  # the node is well, and has it mounted
        (True, True, False, FORCE_SECONDS - 1, "wait"),
        (True, True, False, FORCE_SECONDS, "force"),
        (False, True, False, 0.0, "wait"),  # it cannot say
        (False, True, False, FORCE_SECONDS, "force"),
        (True, True, True, 0.0, "force"),
        (True, False, True, 0.0, "force"),
    ],
)
def test_a_volume_that_nobody_wants_goes_when_its_node_lets_go_or_cannot_answer(
    using: bool, ill: bool, gone: bool, seconds: float, expected: str
) -> None:
    def nodes(there: bool) -> frozenset[str]:
        return frozenset({"n1"} if there else ())

    attached = at("n1", unwanted_seconds=seconds)
    decided = plan(Observed({}, [attached], using=nodes(using), ill=nodes(ill), out_of_service=nodes(gone)))
    found = "wait" if not decided.detach else "force" if decided.detach[0][1] else "detach"
    assert found == expected
    assert (decided.look_seconds is not None) == (expected == "wait")


NODE = {"metadata": {"annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}}}
RUNNING = {"containerStatuses": [{"state": {"running": {}}}]}


@pytest.mark.parametrize(
    ("pod", "node", "wanted"),
    [
        ({"spec": {"nodeName": "n1"}}, NODE, True),
        ({"spec": {}}, NODE, False),
        ({"spec": {"nodeName": "n1"}}, None, False),
        ({"spec": {"nodeName": "n1"}}, {"metadata": {}}, False),
        ({"spec": {"nodeName": "n1"}, "status": {"phase": "Succeeded"}}, NODE, False),
        ({"metadata": {"deletionTimestamp": "x"}, "spec": {"nodeName": "n1"}, "status": RUNNING}, NODE, True),
        ({"metadata": {"deletionTimestamp": "x"}, "spec": {"nodeName": "n1"}, "status": {}}, NODE, False),
    ],
)
def test_a_pod_wants_its_volumes_while_it_may_run_on_a_node_that_leaves_attaching_to_us(
    pod: Obj, node: Obj | None, wanted: bool
) -> None:
    assert wants_volumes(pod, node) is wanted


def test_names_of_pods_are_told_in_their_namespace_only() -> None:
    def pod(name: str, namespace: str = "ns") -> Obj:
        return {"metadata": {"name": name, "namespace": namespace}}

    start = 'Multi-Attach error for volume "v" Volume is already '
    exclusive = "exclusively attached to one node and can't be attached to another"
    assert refusal("v", POD, []) == start + exclusive
    assert refusal("v", POD, [pod("a"), pod("b")]) == start + "used by pod(s) a, b"
    assert refusal("v", POD, [pod("a", "x")]) == start + "used by 1 pod(s) in different namespaces"
    both = "used by pod(s) a and 1 pod(s) in different namespaces"
    assert refusal("v", POD, [pod("a"), pod("b", "x")]) == start + both


def test_the_taint_of_a_node_that_nobody_comes_back_to() -> None:
    taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute", "value": "nodeshutdown"}
    assert is_out_of_service({"spec": {"taints": [taint]}})
    assert not is_out_of_service({"spec": {}})


def test_a_volume_of_one_node_is_never_at_two_and_never_taken_from_who_uses_it() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        nodes = ["n1", "n2", "n3"]
        attached: dict[str, Attached] = {}
        using: set[str] = set()
        for _ in range(30):
            wanted = {node: [POD] for node in nodes if chance.random() < 0.4}
            using = {node for node in attached if node in using or (node in wanted and chance.random() < 0.5)}
            using -= {node for node in using if node not in wanted and chance.random() < 0.5}
            decided = plan(Observed(wanted, list(attached.values()), using=frozenset(using)))
            for each, forced in decided.detach:
                assert not forced
                assert each.node not in using
                assert each.node not in wanted
                attached[each.node] = at(each.node, leaving=True)
            for node in decided.attach:
                attached[node] = at(node)
            attached = {node: each for node, each in attached.items() if not (each.leaving and chance.random() < 0.5)}
            assert len(attached) <= 1
