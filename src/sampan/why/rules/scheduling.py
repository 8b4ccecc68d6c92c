"""Pods without a node: gates, claims, no scheduler, no nodes; and pods whose node is not well. What keeps a pod off
each node is told in ``filters``."""

from __future__ import annotations

from sampan.api.pods.status import is_terminal, node_name
from sampan.api.reading import part, parts, text, texts, whole
from sampan.api.resources import (
    LEASES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    POD_GROUPS,
    PODS,
)
from sampan.api.types import Obj
from sampan.why import fit
from sampan.why.fixes import pod_manifest
from sampan.why.judging import is_gated, judged, waits
from sampan.why.model import Action, Cause, Fix, Lead, Ref, ref_of
from sampan.why.states import condition_of
from sampan.why.table import Found, rule
from sampan.why.templates import change, holder
from sampan.why.world import Query, World

#: Pods of a gang wait for what is alike.
_FOLLOWED = 3


@rule("gate", PODS, says="scheduling gates")
def gate(world: World, pod: Obj) -> Found:
    if not waits(pod) or not is_gated(pod):
        return
    ref = ref_of(PODS, pod)
    gates = [text(each, "name") for each in parts(part(pod, "spec"), "schedulingGates")]
    removal = [{"op": "remove", "path": "/spec/schedulingGates"}]
    yield Cause(
        f"{ref.place} is not scheduled yet: its scheduling gate{'s' * (len(gates) > 1)} "
        f"{', '.join(gates)} hold it back.",
        ("whoever set a gate removes it when the pod may go",),
        Fix("remove the gates", (Action("json", ref, removal),)),
        rank=0,
    )


@rule("group", PODS, says="the group of pods that it is scheduled with")
def group(world: World, pod: Obj) -> Found:
    """A gang's pods are not tried before the PodGroup is there, and as many of them as it needs."""
    name = _group_of(pod)
    if not name or not waits(pod) or is_gated(pod):
        return
    ref, namespace = ref_of(PODS, pod), text(part(pod, "metadata"), "namespace")
    found = world.get(POD_GROUPS, name, namespace)
    if found is None:
        if world.absent(POD_GROUPS, name, namespace):
            made: Obj = {
                "apiVersion": "scheduling.k8s.io/v1beta1",
                "kind": "PodGroup",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"schedulingPolicy": {"gang": {"minCount": 1}}},
            }
            yield Cause(
                f"{ref.place} waits for the PodGroup {name}, which does not exist.",
                (f"spec.schedulingGroup names it; there is none in namespace {namespace}",),
                Fix(
                    "create the group, with as many pods as it needs",
                    (Action("create", Ref(POD_GROUPS, name, namespace), made),),
                ),
                rank=1,
            )
        return
    least = whole(part(part(part(found, "spec"), "schedulingPolicy"), "gang"), "minCount") or 0
    members = [each for each in world.all(PODS, namespace) if _group_of(each) == name and not is_terminal(each)]
    if len(members) < least and not world.cut(PODS, namespace):
        yield Cause(
            f"{ref.place} waits for more pods of its gang: {len(members)} of {least} are there.",
            (f"spec.schedulingPolicy.gang.minCount of PodGroup {name} is {least}",),
            Fix(f"create the other pods, or lower minCount of PodGroup {name}"),
            rank=1,
        )


@rule("members", POD_GROUPS, says="pods of the group that wait")
def members(world: World, group: Obj) -> Found:
    """What keeps a gang is told of its pods, once enough of them are there."""
    ref = ref_of(POD_GROUPS, group)
    pods = [each for each in world.all(PODS, ref.namespace) if _group_of(each) == ref.name and not is_terminal(each)]
    least = whole(part(part(part(group, "spec"), "schedulingPolicy"), "gang"), "minCount") or 0
    if len(pods) < least and not world.cut(PODS, ref.namespace):
        yield Cause(
            f"{ref.place} waits for more pods: {len(pods)} of {least} are there.",
            (f"spec.schedulingPolicy.gang.minCount is {least}",),
            Fix("create the other pods, or lower minCount"),
            rank=1,
        )
        return
    for pod in [each for each in pods if waits(each)][:_FOLLOWED]:
        yield Lead(ref_of(PODS, pod), "has")


def _group_of(pod: Obj) -> str:
    return text(part(part(pod, "spec"), "schedulingGroup"), "podGroupName")


@rule("scheduler", PODS, says="whether a scheduler looks after it")
def scheduler(world: World, pod: Obj) -> Found:
    if not waits(pod) or is_gated(pod) or condition_of(pod, "PodScheduled") or _group_of(pod):
        return
    name = text(part(pod, "spec"), "schedulerName") or "default-scheduler"
    ref = ref_of(PODS, pod)
    if name == "default-scheduler":
        lease = world.get(LEASES, "kube-scheduler", "kube-system")
        if lease is None and world.absent(LEASES, "kube-scheduler", "kube-system"):
            yield Cause(
                f"{ref.place} is not scheduled: no scheduler runs.",
                ("nobody holds the lease kube-system/kube-scheduler",),
                Fix("start the scheduler: `sampan status` shows what runs"),
                "likely",
                rank=1,
            )
        return

    def edit(template: Obj) -> None:
        template["spec"]["schedulerName"] = "default-scheduler"

    yield Cause(
        f"{ref.place} is not scheduled: it asks for the scheduler {name}, and none of that name has looked at it.",
        (f"spec.schedulerName is {name}", "it has no condition PodScheduled, which every scheduler sets"),
        change(holder(world, PODS, pod), "start that scheduler, or use the default one", edit),
        "likely",
        rank=1,
    )


@rule("claim-of-pod", PODS, says="the claims that it mounts")
def claim_of_pod(world: World, pod: Obj) -> Found:
    """A claim that is not there, or not bound: that is told of the claim."""
    if not waits(pod) or is_gated(pod):
        return
    namespace = text(part(pod, "metadata"), "namespace")
    ref = ref_of(PODS, pod)
    world.want(*(Query(PERSISTENT_VOLUME_CLAIMS, name, namespace) for name in fit.claims_of(pod)))
    for name in fit.claims_of(pod):
        claim = world.get(PERSISTENT_VOLUME_CLAIMS, name, namespace)
        if claim is None and world.absent(PERSISTENT_VOLUME_CLAIMS, name, namespace):
            made: Obj = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }
            yield Cause(
                f"{ref.place} waits for the PersistentVolumeClaim {name}, which does not exist.",
                (f"spec.volumes names it; there is none in namespace {namespace}",),
                Fix(
                    "create the claim, as large as it has to be",
                    (Action("create", Ref(PERSISTENT_VOLUME_CLAIMS, name, namespace), made),),
                ),
                rank=2,
            )
        elif claim is not None and text(part(claim, "status"), "phase") != "Bound":
            yield Lead(ref_of(PERSISTENT_VOLUME_CLAIMS, claim), "mounts", rank=3)


@rule("scheduler-says", PODS, says="what the scheduler said of it")
def scheduler_says(world: World, pod: Obj) -> Found:
    """A reason that no rule above judges: devices, plug-ins of others, extenders."""
    said = text(condition_of(pod, "PodScheduled"), "message")
    if said and waits(pod) and not is_gated(pod) and not judged(world, pod)[0]:
        yield Cause(
            f"{ref_of(PODS, pod).place} has no node to go to: {said[:300]}",
            (),
            Fix("see which nodes it could have, and why not: `sampan why-not pod/NAME --node NODE`"),
            "possible",
            rank=30,
        )


@rule("access-mode", PODS, says="volumes that one pod alone may use")
def access_mode(world: World, pod: Obj) -> Found:
    """ReadWriteOncePod."""
    if not waits(pod) or is_gated(pod):
        return
    namespace = text(part(pod, "metadata"), "namespace")
    for name in fit.claims_of(pod):
        claim = world.get(PERSISTENT_VOLUME_CLAIMS, name, namespace)
        if claim is None or "ReadWriteOncePod" not in texts(part(claim, "spec"), "accessModes"):
            continue
        for other in world.all(PODS, namespace):
            if other is pod or is_terminal(other) or not node_name(other) or name not in fit.claims_of(other):
                continue
            yield Cause(
                f"{ref_of(PODS, pod).place} waits: pod {fit.key(other)} has the claim {name}, which "
                "one pod alone may use.",
                ("the claim's access mode is ReadWriteOncePod", f"the other pod runs on node {node_name(other)}"),
                Fix("end the other pod", (Action("delete", ref_of(PODS, other)),), "what it does now ends"),
                rank=4,
            )
            return


@rule("no-nodes", PODS, says="whether there are nodes")
def no_nodes(world: World, pod: Obj) -> Found:
    if not waits(pod) or is_gated(pod) or any(attempt.get("nodes") for attempt in world.attempts(pod)[:1]):
        return
    if not world.all(NODES) and not world.fault(NODES):
        yield Cause(
            f"{ref_of(PODS, pod).place} has no node to go to: the cluster has no nodes.",
            (),
            Fix("add one: `sampan up --with-node`, or `sampan up --simulate 1` for a simulated one"),
            rank=1,
        )


@rule("node-of-pod", PODS, says="whether its node is there and ready")
def node_of_pod(world: World, pod: Obj) -> Found:
    name = node_name(pod)
    if not name or is_terminal(pod):
        return
    ref = ref_of(PODS, pod)
    node = world.get(NODES, name)
    if node is None:
        if world.absent(NODES, name):
            made = pod_manifest(PODS, pod)
            yield Cause(
                f"{ref.place} is bound to node {name}, which does not exist.",
                ("spec.nodeName names it; the scheduler has no say in that",),
                Fix("let the scheduler choose a node", (Action("replace", ref, made),)),
                rank=0,
            )
        return
    if condition_of(node, "Ready").get("status") != "True":
        yield Lead(Ref(NODES, name), "runs on")
