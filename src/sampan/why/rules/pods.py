"""Pods as a whole: how they ended, and what readiness asks for besides containers."""

from __future__ import annotations

import re
from typing import Final

from sampan.api.objects import controller_of, get_path, is_deleting
from sampan.api.pods.status import phase
from sampan.api.reading import part, parts, text, whole
from sampan.api.resources import PODS
from sampan.api.types import Obj
from sampan.why.fixes import pod_manifest
from sampan.why.model import Action, Cause, Fix, ref_of
from sampan.why.states import condition_of
from sampan.why.table import Found, rule
from sampan.why.templates import change, holder
from sampan.why.world import World

_PREEMPTED: Final = ("Preempting", "PreemptionByScheduler")
_NODE_PRESSURE: Final = re.compile(r"low on resource: ([a-z.-]+)")


def _again(pod: Obj, words: str) -> Fix:
    """A pod that ended is made anew by whoever made it, or by hand."""
    if controller_of(pod) is not None:
        return Fix(
            f"{words}; its controller has made another, and this one may be deleted",
            (Action("delete", ref_of(PODS, pod)),),
        )
    return Fix(
        f"{words}, and make it anew",
        (Action("replace", ref_of(PODS, pod), pod_manifest(PODS, pod)),),
        "the old one goes, and with it what it kept outside of persistent volumes",
    )


@rule("evicted", PODS, says="whether its node had to evict it")
def evicted(world: World, pod: Obj) -> Found:
    status = part(pod, "status")
    if text(status, "reason") != "Evicted":
        return
    said = text(status, "message")
    about = _NODE_PRESSURE.search(said)
    yield Cause(
        f"{ref_of(PODS, pod).place} was evicted by its node {text(part(pod, 'spec'), 'nodeName')}"
        + (f", which ran short of {about[1]}." if about else "."),
        (f"status.message: {said}",),
        _again(pod, "let its containers request what they use, so that others are evicted first"),
        rank=0,
    )


@rule("deadline", PODS, says="activeDeadlineSeconds")
def deadline(world: World, pod: Obj) -> Found:
    if text(part(pod, "status"), "reason") != "DeadlineExceeded":
        return
    seconds = whole(part(pod, "spec"), "activeDeadlineSeconds") or 0

    def edit(template: Obj) -> None:
        template["spec"].pop("activeDeadlineSeconds", None)

    yield Cause(
        f"{ref_of(PODS, pod).place} was ended because it ran longer than its activeDeadlineSeconds ({seconds} s).",
        (f"status.message: {text(part(pod, 'status'), 'message')}",),
        change(holder(world, PODS, pod), "give it more time, or no limit", edit),
        rank=0,
    )


@rule("rejected-by-node", PODS, says="whether its node took it")
def rejected(world: World, pod: Obj) -> Found:
    """What the agent of a node does not admit is Failed at once."""
    status = part(pod, "status")
    reason = text(status, "reason")
    ended = any(part(each, "state") for each in parts(status, "containerStatuses"))
    if phase(pod) != "Failed" or reason in ("", "Evicted", "DeadlineExceeded", "Preempting", "Terminated") or ended:
        return
    yield Cause(
        f"{ref_of(PODS, pod).place} was refused by its node {text(part(pod, 'spec'), 'nodeName')}: {reason}.",
        (f"status.message: {text(status, 'message')}",),
        _again(pod, "let the scheduler choose the node"),
        rank=1,
    )


@rule("preempted", PODS, says="whether a pod of higher priority took its place")
def preempted(world: World, pod: Obj) -> Found:
    target = condition_of(pod, "DisruptionTarget")
    said = text(target, "message")
    if target.get("status") != "True" or text(target, "reason") not in _PREEMPTED:
        return
    yield Cause(
        f"{ref_of(PODS, pod).place} had to make room for a pod of higher priority.",
        (f"condition DisruptionTarget: {said}", f"its own priority is {get_path(pod, 'spec', 'priority', default=0)}"),
        _again(pod, "give it a higher priority (priorityClassName), or add a node"),
        rank=0,
    )


@rule("disrupted", PODS, says="whether somebody evicted it")
def disrupted(world: World, pod: Obj) -> Found:
    target = condition_of(pod, "DisruptionTarget")
    reason = text(target, "reason")
    if target.get("status") != "True" or reason in (*_PREEMPTED, "TerminationByKubelet"):
        return
    yield Cause(
        f"{ref_of(PODS, pod).place} was ended on purpose: {reason}.",
        (f"condition DisruptionTarget: {text(target, 'message')}",),
        _again(pod, "nothing is wrong with the pod"),
        rank=2,
    )


@rule("readiness-gate", PODS, says="readiness gates")
def readiness_gate(world: World, pod: Obj) -> Found:
    if phase(pod) != "Running" or is_deleting(pod) or condition_of(pod, "ContainersReady").get("status") != "True":
        return
    for gate in parts(part(pod, "spec"), "readinessGates"):
        kind = text(gate, "conditionType")
        found = condition_of(pod, kind)
        if found.get("status") != "True":
            ref = ref_of(PODS, pod)
            gates = [each for each in parts(part(pod, "spec"), "readinessGates") if each != gate]

            def edit(template: Obj, left: list[Obj] = gates) -> None:
                template["spec"]["readinessGates"] = left

            yield Cause(
                f"{ref.place} runs, and is not ready: its readiness gate {kind} is "
                f"{text(found, 'status') or 'not set'}.",
                ("all its containers are ready", f"another program is to set the condition {kind}"),
                change(holder(world, PODS, pod), "start the program that sets it, or do without the gate", edit),
                rank=1,
            )
