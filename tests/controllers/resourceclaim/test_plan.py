"""What is to be done about a claim for devices, in every state that it can be in."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.pods.resourceclaims import FINALIZER, PodResourceClaim
from sampan.controllers.resourceclaim.plan import ClaimStep, made_for, plan_claim, render_claim, to_reserve

Obj = dict[str, Any]
ALLOCATION = {"devices": {"results": [{"request": "r", "driver": "d", "pool": "p", "device": "a"}]}}
ONE = {"resource": "pods", "name": "one", "uid": "1"}
TWO = {"resource": "pods", "name": "two", "uid": "2"}


def claim(*reserved: Obj, allocated: bool = True, protected: bool = True, deleting: bool = False) -> Obj:
    meta: Obj = {"name": "c", "namespace": "ns", "finalizers": [FINALIZER] if protected else []}
    if deleting:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status: Obj = {"allocation": ALLOCATION} if allocated else {}
    if reserved:
        status["reservedFor"] = list(reserved)
    return {"metadata": meta, "status": status}


@pytest.mark.parametrize(
    ("given", "using", "step"),
    [
        # A scheduler protects a claim first and allocates it then: nobody must take the finalizer off in between.
        (claim(allocated=False), [], ClaimStep()),
        # ... and reserves it with the allocation; what somebody else allocated for nobody yet stays.
        (claim(), [], ClaimStep()),
        (claim(ONE, TWO), [ONE, TWO], ClaimStep()),
        (claim(ONE, TWO), [TWO], ClaimStep(status={"allocation": ALLOCATION, "reservedFor": [TWO]})),
        (claim(ONE), [], ClaimStep(status={}, unprotect=True)),
        (claim(ONE, deleting=True), [ONE], ClaimStep()),
        (claim(deleting=True), [], ClaimStep(status={}, unprotect=True)),
        (claim(allocated=False, deleting=True), [], ClaimStep(unprotect=True)),
        (claim(allocated=False, protected=False, deleting=True), [], ClaimStep()),
    ],
)
def test_one_step_at_a_time(given: Obj, using: list[Obj], step: ClaimStep) -> None:
    assert plan_claim(given, using, owner_done=False) == step


def test_the_claim_of_a_pod_that_has_ended_goes() -> None:
    assert plan_claim(claim(ONE), [], owner_done=True) == ClaimStep(delete=True)
    assert plan_claim(claim(ONE, deleting=True), [], owner_done=True) == ClaimStep(status={}, unprotect=True)


def pod(**status: Any) -> Obj:
    return {"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {"nodeName": "n"}, "status": status}


def test_a_claim_of_a_template_says_which_entry_it_is_for() -> None:
    wanted = PodResourceClaim("gpu", "", "t")
    template = {"spec": {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": {"devices": {}}}}
    made = render_claim(pod(), wanted, template, {"kind": "Pod", "name": "p", "uid": "u", "controller": True})
    assert made["metadata"]["generateName"] == "p-gpu-"
    assert made["metadata"]["labels"] == {"a": "b"}
    assert made["metadata"]["annotations"] == {"c": "d", "resource.kubernetes.io/pod-claim-name": "gpu"}
    assert made_for(pod(), wanted, [made | {"metadata": made["metadata"] | {"name": "p-gpu-x"}}]) is not None
    assert made_for(pod(), PodResourceClaim("other", "", "t"), [made]) is None
    assert made_for({"metadata": {"uid": "another"}}, wanted, [made]) is None


def test_a_pod_that_came_to_its_node_past_the_scheduler_gets_what_is_allocated() -> None:
    assert to_reserve(pod(), claim())
    assert not to_reserve(pod(), claim(allocated=False))
    assert not to_reserve(pod(), claim({"resource": "pods", "name": "p", "uid": "u"}))
    assert not to_reserve(pod(), claim(*({"resource": "pods", "name": "x", "uid": str(n)} for n in range(256))))
