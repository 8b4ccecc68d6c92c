"""``sampan why-not KIND/NAME --node NODE``: every reason that keeps a pod off one node. Pure.

Of a workload, a pod of its template is judged, as it would be made now.
"""

from __future__ import annotations

from sampan.api.objects import deep_copy, get_path
from sampan.api.pods.status import node_name
from sampan.api.reading import part, text
from sampan.api.resources import NODES, PODS
from sampan.why import fit
from sampan.why.judging import FEW_NODES
from sampan.why.model import Cause, Condition, Explanation, Fix, Ref
from sampan.why.near import nearest
from sampan.why.templates import holder
from sampan.why.world import World


def why_not(world: World, subject: Ref, node: str) -> Explanation:
    """Raises Wanted."""
    fault = world.fault(subject.resource, subject.name, subject.namespace)
    if fault:  # nobody knows whether there is one
        return Explanation(subject, Condition(None, fault), unseen=(fault,), found=False)
    obj = world.get(subject.resource, subject.name, subject.namespace)
    if obj is None:
        names = [text(part(each, "metadata"), "name") for each in world.all(subject.resource, subject.namespace)]
        said = Condition(None, f"there is no {subject.place}")
        return Explanation(subject, said, found=False, near=nearest(subject.name, names))
    fault = world.fault(NODES, node)
    if fault:
        return Explanation(Ref(NODES, node), Condition(None, fault), unseen=(fault,), found=False)
    target = world.get(NODES, node)
    if target is None:
        names = [text(part(each, "metadata"), "name") for each in world.all(NODES)]
        said = Condition(None, f"there is no Node {node}")
        return Explanation(Ref(NODES, node), said, found=False, near=nearest(node, names))
    pod = obj
    if subject.resource != PODS:
        held = holder(world, subject.resource, obj)
        template = deep_copy(get_path(held.obj, *held.path, default={}))
        pod = {"metadata": {**part(template, "metadata"), "namespace": subject.namespace, "name": "new"}}
        pod["spec"] = part(template, "spec")
    where = node_name(pod)
    if where == node:
        return Explanation(subject, Condition(True, f"{subject.place} is on node {node}"))
    nodes = list(world.all(NODES))
    chosen = nodes if len(nodes) <= FEW_NODES else [target]
    near = fit.bound(world, chosen, whole=chosen is nodes and not world.cut(NODES))
    found = list(fit.refusals(world, pod, target, near))
    causes = tuple(
        Cause(f"{each.sentence[0].upper()}{each.sentence[1:]}.", rule=f"node-{each.kind}", subject=subject)
        for each in found
    )
    if causes:
        return Explanation(subject, Condition(False, f"{subject.place} does not fit on node {node}"), causes)
    fits = f"{subject.place} would fit on node {node}"
    if where:
        fits += f"; it is on node {where}, and pods are not moved"
        return Explanation(subject, Condition(False, fits), (_elsewhere(world, pod, subject, node, where),))
    return Explanation(subject, Condition(True, fits), checked=fit.JUDGED)


def _elsewhere(world: World, pod: object, subject: Ref, node: str, where: str) -> Cause:
    scores: list[str] = []
    if isinstance(pod, dict):
        for attempt in world.attempts(pod)[:1]:
            for each in attempt.get("topScores") or ():
                scores.append(f"{text(each, 'node')}: {each.get('total')}")
    return Cause(
        f"Nothing keeps {subject.place} off node {node}: the scheduler chose {where}, and a pod stays where it is.",
        (f"scores of that choice: {', '.join(scores)}",) if scores else (),
        Fix(f"ask for the node by nodeSelector or node affinity; or delete the pod, and another may go to {node}"),
        "likely",
        rule="chosen-elsewhere",
        subject=subject,
    )
