"""HorizontalPodAutoscalers that do nothing, or can do no more."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.reading import part, parts, text, whole
from sampan.api.resources import API_SERVICES, HORIZONTAL_POD_AUTOSCALERS
from sampan.api.types import Obj
from sampan.why.model import Action, Cause, Fix, Ref, ref_of
from sampan.why.near import nearest
from sampan.why.states import condition_of
from sampan.why.subjects import kind_named
from sampan.why.table import Found, rule
from sampan.why.templates import OWNERS, change, holder
from sampan.why.world import World


def _target(autoscaler: Obj) -> Ref | None:
    found = part(part(autoscaler, "spec"), "scaleTargetRef")
    resource = kind_named(text(found, "kind"))
    if resource is None:
        return None
    return Ref(resource, text(found, "name"), text(part(autoscaler, "metadata"), "namespace"))


def _refused(autoscaler: Obj, kind: str) -> Obj:
    """The condition, where it is False."""
    found = condition_of(autoscaler, kind)
    return found if found.get("status") == "False" else {}


@rule("autoscaler-target", HORIZONTAL_POD_AUTOSCALERS, says="what it scales")
def target(world: World, autoscaler: Obj) -> Found:
    found, ref = _target(autoscaler), ref_of(HORIZONTAL_POD_AUTOSCALERS, autoscaler)
    if found is None or not world.absent(found.resource, found.name, found.namespace):
        return
    names = [text(part(each, "metadata"), "name") for each in world.all(found.resource, found.namespace)]
    near = nearest(found.name, names)
    fix = Fix(f"create the {found.resource.kind} {found.name}")
    if near:
        patch = {"spec": {"scaleTargetRef": {"name": near[0]}}}
        fix = Fix(f"let it scale {near[0]}", (Action("patch", ref, patch),))
    yield Cause(
        f"{ref.place} does nothing: the {found.resource.kind} {found.name} that it is to scale does not exist.",
        (f"there are {', '.join(names[:8]) or 'none'}",),
        fix,
        rank=0,
    )


@rule("autoscaler-off", HORIZONTAL_POD_AUTOSCALERS, says="whether its target is scaled to zero")
def off(world: World, autoscaler: Obj) -> Found:
    found, ref = _refused(autoscaler, "ScalingActive"), _target(autoscaler)
    if text(found, "reason") != "ScalingDisabled" or ref is None:
        return
    least = whole(part(autoscaler, "spec"), "minReplicas") or 1
    yield Cause(
        f"{ref_of(HORIZONTAL_POD_AUTOSCALERS, autoscaler).place} does nothing while {ref} has 0 replicas.",
        (text(found, "message"),),
        Fix(
            "scale the target up; from then on the autoscaler goes on",
            (Action("patch", ref, {"spec": {"replicas": least}}),),
        ),
        rank=0,
    )


def _containers_without(template: Obj, resource: str) -> Iterator[str]:
    for each in parts(part(template, "spec"), "containers"):
        own = part(each, "resources")
        if resource not in part(own, "requests") and resource not in part(own, "limits"):
            yield text(each, "name")


@rule("autoscaler-requests", HORIZONTAL_POD_AUTOSCALERS, says="requests of the pods, which a utilization is a part of")
def requests(world: World, autoscaler: Obj) -> Found:
    ref = _target(autoscaler)
    if ref is None or ref.resource.kind not in OWNERS:
        return
    obj = world.get(ref.resource, ref.name, ref.namespace)
    if obj is None:
        return
    held = holder(world, ref.resource, obj)
    for metric in parts(part(autoscaler, "spec"), "metrics"):
        own = part(metric, "resource")
        resource = text(own, "name")
        lacking = list(_containers_without(held.template, resource)) if resource else []
        if text(part(own, "target"), "type") != "Utilization" or not lacking:
            continue
        amount = "100m" if resource == "cpu" else "128Mi"

        def edit(template: Obj, resource: str = resource, amount: str = amount) -> None:
            for each in template["spec"]["containers"]:
                given = each.setdefault("resources", {})
                given.setdefault("requests", {}).setdefault(resource, amount)

        said = text(_refused(autoscaler, "ScalingActive"), "message")
        yield Cause(
            f"{ref_of(HORIZONTAL_POD_AUTOSCALERS, autoscaler).place} does nothing: it scales by "
            f"{resource} utilization, and "
            f"container {', '.join(lacking)} of {ref} requests no {resource}.",
            (said,) if said else (),
            change(held, f"let it request what it needs, as {amount}", edit),
            rank=1,
        )
        return


@rule("autoscaler-limit", HORIZONTAL_POD_AUTOSCALERS, says="its bounds")
def limit(world: World, autoscaler: Obj) -> Found:
    found = condition_of(autoscaler, "ScalingLimited")
    if found.get("status") != "True" or text(found, "reason") != "TooManyReplicas":
        return
    ref, most = ref_of(HORIZONTAL_POD_AUTOSCALERS, autoscaler), whole(part(autoscaler, "spec"), "maxReplicas") or 0
    yield Cause(
        f"{ref.place} wants more replicas than its maxReplicas of {most} allows.",
        (text(found, "message"), *_metrics(autoscaler)),
        Fix("raise maxReplicas", (Action("patch", ref, {"spec": {"maxReplicas": most * 2}}),)),
        rank=2,
    )


def _metrics(autoscaler: Obj) -> Iterator[str]:
    for each in parts(part(autoscaler, "status"), "currentMetrics"):
        own = part(each, "resource")
        current = part(own, "current")
        if own:
            used = current.get("averageUtilization", current.get("averageValue"))
            yield f"now {text(own, 'name')} is at {used}{'%' if 'averageUtilization' in current else ''}"


@rule("autoscaler-metrics", HORIZONTAL_POD_AUTOSCALERS, says="whether its metrics can be had")
def metrics(world: World, autoscaler: Obj) -> Found:
    found = _refused(autoscaler, "ScalingActive")
    reason = text(found, "reason")
    if not reason.startswith(("FailedGet", "InvalidMetric")) or list(requests(world, autoscaler)):
        return
    group = {
        "FailedGetResourceMetric": "v1beta1.metrics.k8s.io",
        "FailedGetContainerResourceMetric": "v1beta1.metrics.k8s.io",
        "FailedGetExternalMetric": "v1beta1.external.metrics.k8s.io",
    }.get(reason, "v1beta1.custom.metrics.k8s.io")
    served = world.get(API_SERVICES, group)
    missing = served is None and world.absent(API_SERVICES, group)
    if missing and group == "v1beta1.metrics.k8s.io":
        words = "install metrics-server, which serves metrics.k8s.io"
    elif missing:
        words = (
            f"install an adapter that serves {group.partition('.')[2]} (`sampan metrics-adapter` "
            "reads a Prometheus server)"
        )
    else:
        words = (
            "see that pods of the target are ready and have been so for a while, and that their metrics are collected"
        )
    yield Cause(
        f"{ref_of(HORIZONTAL_POD_AUTOSCALERS, autoscaler).place} does nothing: its metrics cannot be had ({reason}).",
        (text(found, "message"), *((f"nobody serves {group}",) if missing else ())),
        Fix(words),
        rank=3,
    )
