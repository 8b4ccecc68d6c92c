"""Services without endpoints, without an address, or whose packets are dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sampan.api import labels as selectors
from sampan.api.pods.containers import find_port
from sampan.api.pods.status import is_ready, is_terminal
from sampan.api.reading import part, parts, text, text_map
from sampan.api.resources import ENDPOINT_SLICES, PODS, SERVICES
from sampan.api.types import Obj
from sampan.why.model import Action, Cause, Fix, Lead, ref_of
from sampan.why.near import nearest
from sampan.why.subjects import NETWORK_POLICIES
from sampan.why.table import Found, rule
from sampan.why.world import SERVICE_NAME_LABEL, World

_FOLLOWED: Final = 3


def chosen(world: World, service: Obj) -> list[Obj]:
    """Pods that its selector means, those that have ended left out."""
    selector = text_map(part(service, "spec"), "selector")
    namespace = text(part(service, "metadata"), "namespace")
    if not selector:
        return []
    found = world.all(PODS, namespace, labels=str(selectors.from_map(selector)))
    return [pod for pod in found if not is_terminal(pod)]


def _counts(service: Obj) -> bool:
    return text(part(service, "spec"), "type") != "ExternalName"


@rule("service-selector", SERVICES, says="pods that its selector means")
def selector(world: World, service: Obj) -> Found:
    wanted = text_map(part(service, "spec"), "selector")
    if not _counts(service) or not wanted or chosen(world, service):
        return
    ref = ref_of(SERVICES, service)
    there = [pod for pod in world.all(PODS, ref.namespace) if not is_terminal(pod)]
    near = _nearest_labels(wanted, there)
    shown = ",".join(f"{key}={value}" for key, value in wanted.items())
    if near is None:
        yield Cause(
            f"{ref.place} has no endpoints: no pod of namespace {ref.namespace} has the labels {shown}.",
            (f"there are {len(there)} pods in the namespace",),
            Fix("start such pods, or select others"),
            rank=1,
        )
        return
    name, meant = near
    patch = {key: meant.get(key) for key in wanted}
    yield Cause(
        f"{ref.place} has no endpoints: its selector {shown} means no pod.",
        (f"pod {name}, as one that may be meant, has {','.join(f'{key}={value}' for key, value in meant.items())}",),
        Fix("select the labels that the pods have", (Action("patch", ref, {"spec": {"selector": patch}}),)),
        rank=1,
    )


def _nearest_labels(wanted: Mapping[str, str], pods: Sequence[Obj]) -> tuple[str, dict[str, str]] | None:
    """(a pod, what the selector would have to be); the pod that has most of it, and the rest nearly."""
    best: tuple[float, str, dict[str, str]] | None = None
    for pod in pods:
        own = text_map(part(pod, "metadata"), "labels")
        score, meant = 0.0, {}
        for key, value in wanted.items():
            if own.get(key) == value:
                score += 1
                meant[key] = value
            elif key in own:
                score += 0.5 if nearest(value, [own[key]]) else 0.1
                meant[key] = own[key]
            elif close := nearest(key, own):
                score += 0.3
                meant[close[0]] = own[close[0]]
        if meant and (best is None or score > best[0]):
            best = score, text(part(pod, "metadata"), "name"), meant
    return best[1:] if best is not None else None


@rule("service-port", SERVICES, says="ports that it sends to")
def port(world: World, service: Obj) -> Found:
    pods = chosen(world, service)
    ref = ref_of(SERVICES, service)
    for index, each in enumerate(parts(part(service, "spec"), "ports")):
        target, protocol = each.get("targetPort"), text(each, "protocol") or "TCP"
        if not isinstance(target, str) or not pods or any(find_port(pod, target, protocol) for pod in pods):
            continue
        declared = {
            text(one, "name"): one.get("containerPort")
            for container in parts(part(pods[0], "spec"), "containers")
            for one in parts(container, "ports")
        }
        names = [name for name in declared if name]
        near = nearest(target, names) or tuple(names)
        numbers = [number for number in declared.values() if number]
        value: object = near[0] if near else numbers[0] if numbers else None
        fix = Fix("name a port that the pods have")
        if value is not None:
            patch = [{"op": "replace", "path": f"/spec/ports/{index}/targetPort", "value": value}]
            fix = Fix(f"send to {value}", (Action("json", ref, patch),))
        shown = ", ".join(f"{name or 'without a name'} ({number})" for name, number in declared.items()) or "none"
        yield Cause(
            f"{ref.place} has no endpoints at port {each.get('port')}: no container of its pods has "
            f"a port named {target}.",
            (f"the ports of pod {text(part(pods[0], 'metadata'), 'name')}: {shown}",),
            fix,
            rank=1,
        )


@rule("service-number", SERVICES, says="whether its pods say that they listen there")
def number(world: World, service: Obj) -> Found:
    """A number that no container declares may be right all the same: so this is only possible."""
    pods = chosen(world, service)
    ref = ref_of(SERVICES, service)
    for index, each in enumerate(parts(part(service, "spec"), "ports")):
        target = each.get("targetPort", each.get("port"))
        declared = {
            one.get("containerPort")
            for pod in pods
            for container in parts(part(pod, "spec"), "containers")
            for one in parts(container, "ports")
        }
        if not isinstance(target, int) or not declared or target in declared:
            continue
        meant = sorted(declared, key=str)[0]
        patch = [{"op": "replace", "path": f"/spec/ports/{index}/targetPort", "value": meant}]
        yield Cause(
            f"{ref.place} sends to port {target} of its pods, and they declare "
            f"{', '.join(map(str, sorted(declared, key=str)))}.",
            ("what a container declares is a note, so it may listen there all the same",),
            Fix(f"send to {meant}, where they listen", (Action("json", ref, patch),)),
            "possible",
            rank=1,
        )


@rule("service-pods", SERVICES, says="whether its pods are ready")
def pods_ready(world: World, service: Obj) -> Found:
    if not _counts(service):
        return
    pods = chosen(world, service)
    if any(is_ready(pod) for pod in pods):
        return
    for pod in pods[:_FOLLOWED]:
        yield Lead(ref_of(PODS, pod), "selects")


@rule("service-by-hand", SERVICES, says="endpoints of a Service without a selector")
def by_hand(world: World, service: Obj) -> Found:
    ref = ref_of(SERVICES, service)
    if not _counts(service) or text_map(part(service, "spec"), "selector"):
        return
    if not world.all(ENDPOINT_SLICES, ref.namespace, labels=f"{SERVICE_NAME_LABEL}={ref.name}"):
        yield Cause(
            f"{ref.place} has no endpoints: it has no selector, and nobody wrote an EndpointSlice for it.",
            ("spec.selector is empty",),
            Fix(f"select pods, or write an EndpointSlice with the label {SERVICE_NAME_LABEL}={ref.name}"),
            rank=1,
        )


@rule("load-balancer", SERVICES, says="the address of a LoadBalancer")
def load_balancer(world: World, service: Obj) -> Found:
    ref = ref_of(SERVICES, service)
    if text(part(service, "spec"), "type") != "LoadBalancer":
        return
    if parts(part(part(service, "status"), "loadBalancer"), "ingress"):
        return
    said = [text(event, "message") for event in world.events_of(SERVICES, service) if text(event, "type") == "Warning"]
    of_class = text(part(service, "spec"), "loadBalancerClass")
    why = f"nothing here serves the class {of_class}" if of_class else "nobody gives it one"
    fix = Fix(
        "give the cluster addresses to hand out (`sampan up --loadbalancer-pool`), or reach it by its node port",
        (Action("patch", ref, {"spec": {"type": "NodePort", "loadBalancerClass": None}}),),
        "whoever reaches a node then reaches the Service",
    )
    yield Cause(
        f"{ref.place} has no address from outside: {why}.",
        tuple(said[:2]) or ("status.loadBalancer is empty",),
        fix,
        "certain" if said or of_class else "likely",
        rank=2,
    )


@rule("policy-drops", SERVICES, PODS, says="NetworkPolicies that keep everybody away")
def policy_drops(world: World, obj: Obj) -> Found:
    """Pods that a policy selects and lets nobody reach. Which connection is dropped, `sampan net path` says."""
    ref = world.about
    if ref is None:
        return
    pods = chosen(world, obj) if ref.resource == SERVICES else [obj]
    if ref.resource == PODS and not text(part(obj, "status"), "podIP"):
        return  # nobody could reach it anyway: what keeps it from starting is told
    policies = world.all(NETWORK_POLICIES, ref.namespace)
    for pod in pods[:1]:
        own = text_map(part(pod, "metadata"), "labels")
        for_pod = [
            each
            for each in policies
            if "Ingress" in (part(each, "spec").get("policyTypes") or ("Ingress",))
            and selectors.from_label_selector(part(part(each, "spec"), "podSelector")).matches(own)
        ]
        if not for_pod or any(parts(part(each, "spec"), "ingress") or _all(each) for each in for_pod):
            continue
        first = ref_of(NETWORK_POLICIES, for_pod[0])
        opening: Obj = {"spec": {"ingress": [{"from": [{"podSelector": {}}]}]}}
        yield Cause(
            f"{ref.place} is reached by nobody: the NetworkPolicy {first.name} lets no connection in.",
            (f"it selects pod {text(part(pod, 'metadata'), 'name')} and has no ingress rules",),
            Fix(
                "let pods of the namespace in, or those that need it",
                (Action("patch", first, opening),),
                "every pod of the namespace then reaches the pods that the policy selects",
            ),
            rank=3,
        )


def _all(policy: Obj) -> bool:
    """``ingress: [{}]``: everybody."""
    rules = part(policy, "spec").get("ingress")
    return isinstance(rules, list) and bool(rules)
