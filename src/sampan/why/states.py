"""How an object is, in one sentence, and whether that is well. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sampan.api.objects import is_deleting
from sampan.api.pods.status import is_ready, phase
from sampan.api.reading import flag, part, parts, text, whole
from sampan.api.resources import ENDPOINT_SLICES, Resource
from sampan.api.types import Obj
from sampan.why.model import Condition, ref_of
from sampan.why.world import SERVICE_NAME_LABEL, World

_State = Callable[[World, Obj, str], Condition]


def state(world: World, resource: Resource, obj: Obj) -> Condition:
    name = ref_of(resource, obj).place
    if is_deleting(obj):
        return Condition(False, f"{name} is being deleted")
    found = _BY_KIND.get(resource.kind)
    return found(world, obj, name) if found is not None else _by_conditions(world, obj, name)


def condition_of(obj: Obj, kind: str) -> Obj:
    """The condition of that type; empty when there is none."""
    for each in parts(part(obj, "status"), "conditions"):
        if text(each, "type") == kind:
            return each
    return {}


def _pod(world: World, pod: Obj, name: str) -> Condition:
    now = phase(pod)
    if now == "Running" and is_ready(pod):
        return Condition(True, f"{name} runs and is ready")
    if now == "Succeeded":
        return Condition(True, f"{name} has ended, and succeeded")
    if now == "Running":
        return Condition(False, f"{name} runs and is not ready")
    return Condition(False, f"{name} is {now or 'Pending'}")


def _replicas(ready: str) -> _State:
    def of(world: World, obj: Obj, name: str) -> Condition:
        wanted = whole(part(obj, "spec"), "replicas")
        wanted = 1 if wanted is None else wanted
        there = whole(part(obj, "status"), ready) or 0
        updated = part(obj, "status").get("updatedReplicas", there)
        observed = part(obj, "status").get("observedGeneration", 0) >= part(obj, "metadata").get("generation", 0)
        surplus = (whole(part(obj, "status"), "replicas") or 0) > wanted  # a rollout that is under way
        well = there >= wanted and observed and updated >= wanted and not surplus
        return Condition(well, f"{name} has {there} of {wanted} replicas ready")

    return of


def _daemons(world: World, obj: Obj, name: str) -> Condition:
    status = part(obj, "status")
    wanted, ready = whole(status, "desiredNumberScheduled") or 0, whole(status, "numberReady") or 0
    return Condition(ready >= wanted, f"{name} has {ready} of {wanted} pods ready")


def _job(world: World, job: Obj, name: str) -> Condition:
    if condition_of(job, "Complete").get("status") == "True":
        return Condition(True, f"{name} is complete")
    if condition_of(job, "Failed").get("status") == "True":
        return Condition(False, f"{name} has failed")
    if flag(part(job, "spec"), "suspend"):
        return Condition(False, f"{name} is suspended")
    ready, active = whole(part(job, "status"), "ready") or 0, whole(part(job, "status"), "active") or 0
    return Condition(bool(active) and ready >= active, f"{name} has {active} active pods, {ready} of them ready")


def _cron_job(world: World, obj: Obj, name: str) -> Condition:
    last = text(part(obj, "status"), "lastScheduleTime")
    if flag(part(obj, "spec"), "suspend"):
        return Condition(False, f"{name} is suspended")
    return Condition(None, f"{name} started its last Job at {last}" if last else f"{name} has started no Job yet")


def _service(world: World, service: Obj, name: str) -> Condition:
    if text(part(service, "spec"), "type") == "ExternalName":
        return Condition(None, f"{name} is another name of {text(part(service, 'spec'), 'externalName')}")
    meta = part(service, "metadata")
    slices = world.all(ENDPOINT_SLICES, text(meta, "namespace"), labels=f"{SERVICE_NAME_LABEL}={text(meta, 'name')}")
    ready = sum(
        part(each, "conditions").get("ready") is not False for one in slices for each in parts(one, "endpoints")
    )
    return Condition(ready > 0, f"{name} has {ready} ready endpoint{'s' if ready != 1 else ''}")


def _phase(*well: str) -> _State:
    def of(world: World, obj: Obj, name: str) -> Condition:
        found = text(part(obj, "status"), "phase")
        return Condition(found in well, f"{name} is {found or 'without a phase'}")

    return of


def _node(world: World, node: Obj, name: str) -> Condition:
    ready = condition_of(node, "Ready").get("status")
    cordoned = ", and cordoned" if flag(part(node, "spec"), "unschedulable") else ""
    return Condition(
        ready == "True" and not cordoned, f"{name} is {'Ready' if ready == 'True' else 'NotReady'}{cordoned}"
    )


def _csr(world: World, obj: Obj, name: str) -> Condition:
    if text(part(obj, "status"), "certificate"):
        return Condition(True, f"{name} has its certificate")
    return Condition(False, f"{name} has no certificate")


def _available(world: World, obj: Obj, name: str) -> Condition:
    found = condition_of(obj, "Available").get("status") == "True"
    return Condition(found, f"{name} is {'' if found else 'not '}available")


def _established(world: World, obj: Obj, name: str) -> Condition:
    found = condition_of(obj, "Established").get("status") == "True"
    return Condition(found, f"{name} is {'' if found else 'not '}established")


def _budget(world: World, obj: Obj, name: str) -> Condition:
    allowed = whole(part(obj, "status"), "disruptionsAllowed") or 0
    return Condition(allowed > 0, f"{name} allows {allowed} pods to be evicted")


def _autoscaler(world: World, obj: Obj, name: str) -> Condition:
    active = condition_of(obj, "ScalingActive").get("status") == "True"
    status = part(obj, "status")
    return Condition(
        active and condition_of(obj, "ScalingLimited").get("status") != "True",
        f"{name} wants {whole(status, 'desiredReplicas') or 0} replicas, and there are"
        f" {whole(status, 'currentReplicas') or 0}",
    )


def _by_conditions(world: World, obj: Obj, name: str) -> Condition:
    """A kind that nothing here knows: what Ready or Available say, as most kinds have them."""
    for kind in ("Ready", "Available"):
        found = condition_of(obj, kind)
        if found:
            well = found.get("status") == "True"
            said = text(found, "message") or text(found, "reason")
            return Condition(
                well, f"{name} is {'' if well else 'not '}{kind}" + (f": {said}" if said and not well else "")
            )
    if failed := text(part(part(obj, "status"), "error"), "message"):  # as snapshots and their contents tell it
        return Condition(False, f"{name} failed: {failed}")
    return Condition(None, f"{name} is there")


def _refusal(world: World, obj: Obj, name: str) -> Condition:
    return Condition(False, "")


_BY_KIND: Final[dict[str, _State]] = {
    "Refusal": _refusal,
    "Pod": _pod,
    "Deployment": _replicas("availableReplicas"),
    "ReplicaSet": _replicas("readyReplicas"),
    "ReplicationController": _replicas("readyReplicas"),
    "StatefulSet": _replicas("readyReplicas"),
    "DaemonSet": _daemons,
    "Job": _job,
    "CronJob": _cron_job,
    "Service": _service,
    "PersistentVolumeClaim": _phase("Bound"),
    "PersistentVolume": _phase("Bound", "Available"),
    "Namespace": _phase("Active"),
    "Node": _node,
    "CertificateSigningRequest": _csr,
    "APIService": _available,
    "CustomResourceDefinition": _established,
    "PodDisruptionBudget": _budget,
    "HorizontalPodAutoscaler": _autoscaler,
}
