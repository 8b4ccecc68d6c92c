"""Evictions and drains that wait for a PodDisruptionBudget."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api import labels as selectors
from sampan.api.objects import controller_of
from sampan.api.pods.status import is_ready, is_terminal
from sampan.api.reading import flag, part, text, text_map, whole
from sampan.api.resources import NODES, POD_DISRUPTION_BUDGETS, PODS
from sampan.api.types import Obj
from sampan.why import fit
from sampan.why.model import Action, Cause, Fix, Lead, ref_of
from sampan.why.table import Found, rule
from sampan.why.templates import holder
from sampan.why.world import World

_FOLLOWED = 3


def _covered(world: World, budget: Obj) -> list[Obj]:
    selector = selectors.from_label_selector(part(budget, "spec").get("selector"))
    namespace = text(part(budget, "metadata"), "namespace")
    found = world.all(PODS, namespace)
    return [
        pod for pod in found if not is_terminal(pod) and selector.matches(text_map(part(pod, "metadata"), "labels"))
    ]


@rule("budget-nobody", POD_DISRUPTION_BUDGETS, says="pods that the budget selects")
def nobody(world: World, budget: Obj) -> Found:
    if not _covered(world, budget):
        yield Cause(
            f"{ref_of(POD_DISRUPTION_BUDGETS, budget).place} protects nobody: its selector means no pod.",
            (f"its selector is {selectors.from_label_selector(part(budget, 'spec').get('selector'))}",),
            Fix("select the pods that it is for"),
            rank=1,
        )


@rule("budget-used-up", POD_DISRUPTION_BUDGETS, says="how many pods the budget lets go")
def used_up(world: World, budget: Obj) -> Found:
    status, spec = part(budget, "status"), part(budget, "spec")
    pods = _covered(world, budget)
    if not pods or (whole(status, "disruptionsAllowed") or 0) > 0:
        return
    ref = ref_of(POD_DISRUPTION_BUDGETS, budget)
    healthy, desired = whole(status, "currentHealthy") or 0, whole(status, "desiredHealthy") or 0
    bad = [pod for pod in pods if not is_ready(pod)]
    asks = (
        f"minAvailable {spec['minAvailable']}"
        if "minAvailable" in spec
        else f"maxUnavailable {spec.get('maxUnavailable')}"
    )
    evidence = (f"it asks for {asks}: {desired} healthy pods, and {healthy} of {len(pods)} are",)
    if bad and healthy < len(pods):
        for pod in bad[:_FOLLOWED]:
            yield Lead(ref_of(PODS, pod), "counts")
        patch = {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}
        yield Cause(
            f"{ref.place} lets no pod go: {len(bad)} of its {len(pods)} pods are not ready.",
            evidence,
            Fix(
                "mend those pods; or let pods that are not ready be evicted",
                (Action("patch", ref, patch),),
                "pods that may be about to be ready again (a member of a quorum) are then evicted",
            ),
            rank=60,
        )
        return
    yield Cause(
        f"{ref.place} lets no pod go: it asks for {desired} healthy pods, and there are {healthy}.",
        evidence,
        _room(world, budget, pods, desired),
        rank=1,
    )


def _room(world: World, budget: Obj, pods: list[Obj], desired: int) -> Fix:
    held = holder(world, PODS, pods[0])
    replicas = whole(part(held.obj, "spec"), "replicas")
    if controller_of(pods[0]) is not None and replicas is not None and desired < 1000:
        spec = part(budget, "spec")
        if isinstance(spec.get("minAvailable"), int):
            more = max(desired + 1, replicas)  # never fewer than there are to be
            patch = {"spec": {"replicas": more}}
            return Fix(f"run {more} replicas, or ask for fewer", (Action("patch", held.ref, patch),))
    ref = ref_of(POD_DISRUPTION_BUDGETS, budget)
    away: Obj = {"spec": {"minAvailable": None, "maxUnavailable": 1}}
    return Fix(
        "let one pod be away", (Action("patch", ref, away),), "with a pod away there are fewer than were asked for"
    )


def _on(world: World, node: Obj) -> Iterator[Obj]:
    name = text(part(node, "metadata"), "name")
    for pod in world.all(PODS, fields=f"spec.nodeName={name}"):
        owner = controller_of(pod)
        if not is_terminal(pod) and (owner is None or owner["kind"] != "DaemonSet"):
            yield pod


@rule("drain-waits", NODES, says="whether its pods may be evicted, where it is cordoned")
def drain(world: World, node: Obj) -> Found:
    if not flag(part(node, "spec"), "unschedulable"):
        return
    seen: set[str] = set()
    for pod in _on(world, node):
        labels, namespace = text_map(part(pod, "metadata"), "labels"), text(part(pod, "metadata"), "namespace")
        for budget in world.all(POD_DISRUPTION_BUDGETS, namespace):
            selector = selectors.from_label_selector(part(budget, "spec").get("selector"))
            if not selector.matches(labels) or (whole(part(budget, "status"), "disruptionsAllowed") or 0) > 0:
                continue
            ref = ref_of(POD_DISRUPTION_BUDGETS, budget)
            if str(ref) not in seen:
                seen.add(str(ref))
                desired = whole(part(budget, "status"), "desiredHealthy") or 0
                yield Cause(
                    f"A drain of node {text(part(node, 'metadata'), 'name')} waits: pod "
                    f"{fit.key(pod)} may not be evicted, "
                    f"for the PodDisruptionBudget {ref.name} lets no pod go.",
                    (f"status.disruptionsAllowed is 0; it asks for {desired} healthy pods",),
                    _room(world, budget, [pod], desired),
                    rank=1,
                )


@rule("drain-bare", NODES, says="pods that nobody makes anew, where it is cordoned")
def bare(world: World, node: Obj) -> Found:
    if not flag(part(node, "spec"), "unschedulable"):
        return
    name = text(part(node, "metadata"), "name")
    found = [fit.key(pod) for pod in _on(world, node) if controller_of(pod) is None]
    if found:
        yield Cause(
            f"`kubectl drain {name}` refuses: pod {', '.join(found[:3])} has no controller that would make it anew.",
            (f"{len(found)} such pods on the node",),
            Fix(f"`kubectl drain {name} --force --ignore-daemonsets` deletes them for good"),
            "possible",
            rank=5,
        )
