"""Deployments, ReplicaSets, StatefulSets and DaemonSets with too few pods: mostly the cause lies with one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sampan.api import labels as selectors
from sampan.api.objects import get_path, is_controlled_by, is_deleting
from sampan.api.pods.status import is_ready, is_terminal, node_name
from sampan.api.reading import flag, part, text, whole
from sampan.api.resources import (
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
)
from sampan.api.types import Obj
from sampan.why import fit
from sampan.why.model import Action, Cause, Fix, Lead, ref_of
from sampan.why.states import condition_of, state
from sampan.why.table import Found, rule
from sampan.why.templates import Holder, change, revision
from sampan.why.world import World

_PODS_FOLLOWED: Final = 3


def pods_of(world: World, owner: Obj) -> list[Obj]:
    """Those that it controls."""
    selector = str(selectors.from_label_selector(part(owner, "spec").get("selector")))
    namespace = text(part(owner, "metadata"), "namespace")
    return [pod for pod in world.all(PODS, namespace, labels=selector) if is_controlled_by(pod, owner)]


def bad_pods(world: World, owner: Obj) -> list[Obj]:
    """Those that are not ready, the oldest first: the others may only follow it."""
    found = [pod for pod in pods_of(world, owner) if not is_ready(pod) and not is_terminal(pod)]
    ended = [pod for pod in pods_of(world, owner) if is_terminal(pod)]
    return sorted(found or ended, key=lambda pod: text(part(pod, "metadata"), "creationTimestamp"))


@rule("replicas-of-deployment", DEPLOYMENTS, says="its ReplicaSets")
def replica_sets(world: World, deployment: Obj) -> Found:
    meta = part(deployment, "metadata")
    if state(world, DEPLOYMENTS, deployment).well:
        return
    selector = str(selectors.from_label_selector(part(deployment, "spec").get("selector")))
    listed = [
        each
        for each in world.all(REPLICA_SETS, text(meta, "namespace"), labels=selector)
        if is_controlled_by(each, deployment)
    ]
    for each in sorted(listed, key=revision, reverse=True)[:2]:
        if (whole(part(each, "spec"), "replicas") or 0) > (whole(part(each, "status"), "readyReplicas") or 0):
            yield Lead(ref_of(REPLICA_SETS, each), "owns")


@rule("pods-of-owner", REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS, DAEMON_SETS, JOBS, says="its pods")
def pods_followed(world: World, owner: Obj) -> Found:
    about = world.about
    if about is None or state(world, about.resource, owner).well:
        return
    for pod in bad_pods(world, owner)[:_PODS_FOLLOWED]:
        yield Lead(ref_of(PODS, pod), "owns")


@rule("paused", DEPLOYMENTS, says="whether its rollout is paused")
def paused(world: World, deployment: Obj) -> Found:
    if not flag(part(deployment, "spec"), "paused"):
        return
    status = part(deployment, "status")
    ref = ref_of(DEPLOYMENTS, deployment)
    updated, wanted = whole(status, "updatedReplicas") or 0, whole(part(deployment, "spec"), "replicas") or 0
    yield Cause(
        f"{ref.place} is paused: changes of its template do not reach its pods.",
        (f"spec.paused is true; {updated} of {wanted} pods are of the newest template",),
        Fix("resume the rollout", (Action("patch", ref, {"spec": {"paused": None}}),)),
        rank=0,
    )


@rule("zero", DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, REPLICATION_CONTROLLERS, says="whether it asks for pods at all")
def zero(world: World, obj: Obj) -> Found:
    ref = world.about
    if ref is None or whole(part(obj, "spec"), "replicas") != 0 or is_deleting(obj):
        return
    if ref.resource == REPLICA_SETS and part(obj, "metadata").get("ownerReferences"):
        return
    yield Cause(
        f"{ref.place} has no pods because it asks for none (replicas: 0).",
        ("spec.replicas is 0",),
        Fix("scale it up", (Action("patch", ref, {"spec": {"replicas": 1}}),)),
        rank=0,
    )


@rule(
    "controller-behind",
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    DAEMON_SETS,
    says="whether its controller has seen it",
)
def behind(world: World, obj: Obj) -> Found:
    ref, meta = world.about, part(obj, "metadata")
    generation, seen = whole(meta, "generation") or 0, whole(part(obj, "status"), "observedGeneration") or 0
    if ref is None or seen >= generation:
        return
    yield Cause(
        f"{ref.place} was changed and its controller has not seen that yet: the controllers do not run, or are behind.",
        (f"metadata.generation is {generation}, status.observedGeneration is {seen}",),
        Fix("start the controllers again: `sampan status` shows what runs"),
        "likely",
        rank=3,
    )


@rule("min-ready", DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, says="minReadySeconds")
def min_ready(world: World, obj: Obj) -> Found:
    ref, seconds = world.about, whole(part(obj, "spec"), "minReadySeconds") or 0
    status = part(obj, "status")
    ready, available = whole(status, "readyReplicas") or 0, whole(status, "availableReplicas") or 0
    wanted = whole(part(obj, "spec"), "replicas") or 0
    if ref is None or not seconds or not wanted or not (ready >= wanted > available):
        return
    yield Cause(
        f"{ref.place} has {ready} ready pods, and they count as available only once they were ready for {seconds} s.",
        (f"spec.minReadySeconds is {seconds}; available are {available} of {wanted}",),
        Fix("wait, or ask for less", (Action("patch", ref, {"spec": {"minReadySeconds": 0}}),)),
        rank=2,
    )


@rule("rollout-deadline", DEPLOYMENTS, says="progressDeadlineSeconds")
def deadline(world: World, deployment: Obj) -> Found:
    found = condition_of(deployment, "Progressing")
    if text(found, "reason") != "ProgressDeadlineExceeded":
        return
    ref = ref_of(DEPLOYMENTS, deployment)
    yield Cause(
        f"{ref.place}: its rollout has stalled; for "
        f"{whole(part(deployment, 'spec'), 'progressDeadlineSeconds') or 600} s "
        "no new pod became available.",
        (text(found, "message"),),
        Fix(
            f"mend what keeps the new pods, or go back: `kubectl rollout undo deployment/{ref.name} -n {ref.namespace}`"
        ),
        rank=60,
    )


@rule("ordinal", STATEFUL_SETS, says="pods that wait for those before them")
def ordinal(world: World, stateful_set: Obj) -> Found:
    spec = part(stateful_set, "spec")
    wanted = 1 if spec.get("replicas") is None else whole(spec, "replicas") or 0
    if text(spec, "podManagementPolicy") == "Parallel":
        return
    there = {text(part(pod, "metadata"), "name"): pod for pod in pods_of(world, stateful_set)}
    ref = ref_of(STATEFUL_SETS, stateful_set)
    start = whole(part(spec, "ordinals"), "start") or 0
    for number in range(start, start + wanted):
        name = f"{ref.name}-{number}"
        pod = there.get(name)
        if pod is not None and not is_ready(pod):
            waiting = [
                f"{ref.name}-{each}" for each in range(number + 1, start + wanted) if f"{ref.name}-{each}" not in there
            ]
            if waiting:
                yield Cause(
                    f"{ref.place}: {waiting[0]} is not made before {name} is ready (podManagementPolicy OrderedReady).",
                    (f"{len(waiting)} pods wait for {name}",),
                    Fix(f"mend {name}: `sampan why pod/{name} -n {ref.namespace}`"),
                    rank=70,
                )
            return


@rule("held-update", STATEFUL_SETS, DAEMON_SETS, says="update strategies that hold changes back")
def held_update(world: World, obj: Obj) -> Found:
    ref, status = world.about, part(obj, "status")
    spec = part(obj, "spec")
    strategy = part(spec, "updateStrategy")
    total = whole(status, "replicas") or whole(status, "currentNumberScheduled") or 0
    updated = whole(status, "updatedReplicas") or whole(status, "updatedNumberScheduled") or 0
    changed = ref is not None and (
        ref.resource == DAEMON_SETS or text(status, "currentRevision") != text(status, "updateRevision")
    )
    if ref is None or not changed or updated >= total:
        return
    partition = whole(part(strategy, "rollingUpdate"), "partition") or 0
    if text(strategy, "type") == "OnDelete":
        first = next((pod for pod in pods_of(world, obj)), None)
        yield Cause(
            f"{ref.place}: {total - updated} pods are of an older template, for its strategy OnDelete changes no pod "
            "before somebody deletes it.",
            (f"spec.updateStrategy.type is OnDelete; {updated} of {total} pods are of the newest template",),
            Fix(
                "delete the old pods, or let them be updated",
                (Action("patch", ref, {"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": None}}}),),
            )
            if first is not None
            else None,
            rank=1,
        )
    elif partition:
        yield Cause(
            f"{ref.place}: pods below ordinal {partition} stay as they are (partition).",
            (f"spec.updateStrategy.rollingUpdate.partition is {partition}; {updated} of {total} pods are updated",),
            Fix(
                "let all be updated",
                (Action("patch", ref, {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}),),
            ),
            rank=1,
        )


@rule("skipped-nodes", DAEMON_SETS, says="nodes that it does not run on")
def skipped_nodes(world: World, daemon_set: Obj) -> Found:
    nodes = world.all(NODES)
    wanted = whole(part(daemon_set, "status"), "desiredNumberScheduled") or 0
    ref = ref_of(DAEMON_SETS, daemon_set)
    if wanted >= len(nodes) or len(nodes) > 500:
        return
    placed = {node_name(pod) for pod in pods_of(world, daemon_set)}
    template: Obj = get_path(daemon_set, "spec", "template", default={})
    pod = {"metadata": {**part(template, "metadata"), "namespace": ref.namespace}, "spec": dict(part(template, "spec"))}
    pod["spec"]["tolerations"] = [*(pod["spec"].get("tolerations") or ()), *_ITS_TOLERATIONS]
    skipped = list(_skipped(pod, nodes, placed))
    if not skipped:
        return
    first = skipped[0]
    yield Cause(
        f"{ref.place} does not run on {len(skipped)} of {len(nodes)} nodes: {first.sentence}"
        + (", and others." if len(skipped) > 1 else "."),
        tuple(each.sentence for each in skipped[:8]),
        _on_all(Holder(DAEMON_SETS, daemon_set, ("spec", "template")), first),
        rank=20,
    )


#: what the controller adds to its pods
_ITS_TOLERATIONS: Final = (
    *({"key": key, "operator": "Exists", "effect": "NoExecute"} for key in fit.NOT_READY),
    *(
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoSchedule"}
        for key in ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")
    ),
)


def _skipped(pod: Obj, nodes: Sequence[Obj], placed: set[str]) -> Iterator[fit.Refusal]:
    for node in nodes:
        name = text(part(node, "metadata"), "name")
        if name in placed:
            continue
        for found in (*fit.taint_refusals(pod, node, name), *fit.wish_refusals(pod, node, name)):
            yield found
            break


def _on_all(held: Holder, found: fit.Refusal) -> Fix:
    def edit(template: Obj) -> None:
        spec = template["spec"]
        if found.kind == "taint":
            taint = {"key": found.data["key"], "operator": "Exists", "effect": found.data["effect"]}
            spec["tolerations"] = [*(spec.get("tolerations") or ()), taint]
        elif found.kind == "selector":
            spec["nodeSelector"] = {key: value for key, value in spec["nodeSelector"].items() if key != found.data[0]}
        else:
            spec["affinity"] = {key: value for key, value in spec["affinity"].items() if key != "nodeAffinity"}

    words = {"taint": "tolerate the taint", "selector": f"do without the nodeSelector {found.about}, or label the node"}
    return change(held, f"if it is to run there: {words.get(found.kind, 'do without the node affinity')}", edit)
