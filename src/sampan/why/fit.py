"""Why one pod does not go onto one node: every reason, as the scheduler's filters have them. Pure.

It says of objects what the scheduler says of its arrays; where both speak (``attempts``), the scheduler is right.
Spread and affinity between pods are judged by the pods that were read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sampan.api import labels as selectors
from sampan.api.nodes import affinity, taints
from sampan.api.nodes.status import is_cordoned, labels
from sampan.api.pods import containers, tolerations
from sampan.api.pods.requests import amounts, pod_requests
from sampan.api.pods.status import is_terminal
from sampan.api.quantity import format_quantity
from sampan.api.reading import part, parts, text, text_map, whole
from sampan.api.resources import NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.why.world import World

#: What ``refusals`` looks at, in words.
JUDGED: Final = (
    "taints",
    "cordons",
    "labels of the node",
    "requests against what is free",
    "host ports",
    "where volumes can be used",
    "affinity between pods",
    "spreading",
)
_KEEPS_OFF: Final = ("NoSchedule", "NoExecute")
_HOST: Final = "kubernetes.io/hostname"
#: taints that say how a node is, which another reason says better
NOT_READY: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
#: taints that go when the node is well again: a pod that tolerates them would be evicted there, or not start
CONDITIONS: Final = frozenset({
    "node.kubernetes.io/memory-pressure", "node.kubernetes.io/disk-pressure", "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/network-unavailable", "node.kubernetes.io/out-of-service",
    "node.cloudprovider.kubernetes.io/uninitialized", "node.cloudprovider.kubernetes.io/shutdown",
})  # fmt: skip
CORDONED: Final = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True, slots=True)
class Refusal:
    """``kind`` says which rule it is, ``about`` of what (a resource, a taint, a pod), ``data`` what a fix needs;
    ``stands_for``: so many nodes are like this one."""

    kind: str
    node: str
    sentence: str
    about: str = ""
    data: Any = None
    stands_for: int = 1


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Pods that are bound, by the name of their node, and all nodes that count. ``whole``: these are all there are;
    else nothing is said of what asks for other nodes, or for the pods on them."""

    pods: Mapping[str, Sequence[Obj]]
    nodes: Sequence[Obj]
    whole: bool = True


def bound(world: World, nodes: Iterable[Obj], *, whole: bool = True) -> Neighbours:
    """Raises Wanted, for all nodes at once."""
    from sampan.why.world import Query

    nodes = list(nodes)
    names = [text(part(node, "metadata"), "name") for node in nodes]
    queries = [Query(PODS, fields=f"spec.nodeName={name}") for name in names]
    world.want(*queries)
    there = {
        name: [pod for pod in world.answer(query).objects if not is_terminal(pod)]
        for name, query in zip(names, queries, strict=True)
    }
    return Neighbours(there, nodes, whole and not any(world.answer(query).more for query in queries))


def refusals(world: World, pod: Obj, node: Obj, near: Neighbours) -> Iterator[Refusal]:
    """Every reason; none: the pod fits there."""
    name = text(part(node, "metadata"), "name")
    yield from taint_refusals(pod, node, name)
    yield from wish_refusals(pod, node, name)
    there = [each for each in near.pods.get(name, ()) if not _same(each, pod)]
    yield from _resources(pod, node, name, there)
    yield from _ports(pod, name, there)
    yield from _volumes(world, pod, node, name)
    yield from _between_pods(pod, node, name, near)
    yield from _spread(pod, node, name, near)


def _same(left: Obj, right: Obj) -> bool:
    return text(part(left, "metadata"), "uid") == text(part(right, "metadata"), "uid") != ""


def key(pod: Obj) -> str:
    meta = part(pod, "metadata")
    return f"{text(meta, 'namespace')}/{text(meta, 'name')}"


def taint_refusals(pod: Obj, node: Obj, name: str) -> Iterator[Refusal]:
    if is_cordoned(node) and not tolerations.any_covers(tolerations.of(pod), CORDONED, "", "NoSchedule"):
        yield Refusal("cordoned", name, f"node {name} is cordoned")
    for taint in taints.with_effect(node, *_KEEPS_OFF):
        about = text(taint, "key")
        if about == CORDONED or any(tolerations.tolerates(each, taint) for each in tolerations.of(pod)):
            continue
        if about in NOT_READY:
            yield Refusal("not-ready", name, f"node {name} is not ready", about)
        else:
            yield Refusal("taint", name, f"node {name} has the taint {show_taint(taint)}", show_taint(taint), taint)


def show_taint(taint: Obj) -> str:
    value = f"={text(taint, 'value')}" if text(taint, "value") else ""
    return f"{text(taint, 'key')}{value}:{text(taint, 'effect')}"


def wish_refusals(pod: Obj, node: Obj, name: str) -> Iterator[Refusal]:
    own = labels(node)
    selector = text_map(part(pod, "spec"), "nodeSelector")
    for label, value in selector.items():
        if own.get(label) != value:
            has = f"has {label}={own[label]}" if label in own else f"has no label {label}"
            yield Refusal("selector", name, f"node {name} {has}", f"{label}={value}", (label, value))
    required = affinity.node_affinity(pod).get("requiredDuringSchedulingIgnoredDuringExecution")
    if isinstance(required, dict) and not affinity.selector_takes(required, node):
        yield Refusal("affinity", name, f"node {name} matches no term of the node affinity", "", required)


def _resources(pod: Obj, node: Obj, name: str, there: Sequence[Obj]) -> Iterator[Refusal]:
    room = amounts(part(node, "status").get("allocatable"))
    used: dict[str, int] = {}
    for each in there:
        for resource, amount in pod_requests(each).items():
            used[resource] = used.get(resource, 0) + amount
    if len(there) + 1 > room.get("pods", len(there) + 1):
        yield Refusal("pods", name, f"node {name} has its {room['pods']} pods", "pods", room["pods"])
    for resource, wanted in pod_requests(pod).items():
        total, taken = room.get(resource, 0), used.get(resource, 0)
        if wanted <= 0 or wanted <= total - taken:
            continue
        free = show(resource, max(total - taken, 0))
        of = show(resource, total)
        said = f"node {name} has no {resource}" if not total else f"node {name} has {free} of its {of} {resource} free"
        yield Refusal("resources", name, said, resource, (wanted, total, taken))


def show(resource: str, amount: int) -> str:
    """``1500m``, ``2Gi``."""
    from fractions import Fraction

    if resource == "cpu":
        return format_quantity(Fraction(amount, 1000))
    binary = resource in ("memory", "ephemeral-storage") or resource.startswith("hugepages-")
    return format_quantity(amount, "BinarySI" if binary else "DecimalSI")


def _ports(pod: Obj, name: str, there: Sequence[Obj]) -> Iterator[Refusal]:
    for wanted in containers.host_ports(pod):
        for other in there:
            for taken in containers.host_ports(other):
                wide = "0.0.0.0" in (wanted.ip, taken.ip) or wanted.ip == taken.ip
                if wide and (wanted.protocol, wanted.port) == (taken.protocol, taken.port):
                    about = f"{wanted.port}/{wanted.protocol}"
                    yield Refusal(
                        "port", name, f"pod {key(other)} has port {about} of node {name}", about, (wanted.port, other)
                    )


def claims_of(pod: Obj) -> Iterator[str]:
    """The claims that the pod mounts, by name; of an ephemeral volume the one that is made for it."""
    for volume in parts(part(pod, "spec"), "volumes"):
        if name := text(part(volume, "persistentVolumeClaim"), "claimName"):
            yield name
        elif "ephemeral" in volume:
            yield f"{text(part(pod, 'metadata'), 'name')}-{text(volume, 'name')}"


def _volumes(world: World, pod: Obj, node: Obj, name: str) -> Iterator[Refusal]:
    namespace = text(part(pod, "metadata"), "namespace")
    for claim_name in claims_of(pod):
        claim = world.get(PERSISTENT_VOLUME_CLAIMS, claim_name, namespace)
        volume_name = text(part(claim, "spec"), "volumeName") if claim is not None else ""
        volume = world.get(PERSISTENT_VOLUMES, volume_name) if volume_name else None
        required = part(part(part(volume, "spec"), "nodeAffinity"), "required")
        if volume is not None and required and not affinity.selector_takes(required, node):
            said = f"volume {volume_name} of claim {claim_name} cannot be used on node {name}"
            yield Refusal("volume", name, said, volume_name, (claim_name, required))


def pod_terms(pod: Obj, sort: str) -> Iterator[Obj]:
    """Required terms of ``podAffinity`` or ``podAntiAffinity``."""
    own = part(part(part(pod, "spec"), "affinity"), sort)
    yield from parts(own, "requiredDuringSchedulingIgnoredDuringExecution")


def term_selects(term: Obj, own: Obj, other: Obj) -> bool:
    """Whether a term of pod ``own`` means pod ``other``; a namespaceSelector counts as all namespaces."""
    namespace = text(part(other, "metadata"), "namespace")
    listed = [each for each in term.get("namespaces") or () if isinstance(each, str)]
    if "namespaceSelector" not in term:
        wanted = listed or [text(part(own, "metadata"), "namespace")]
        if namespace not in wanted:
            return False
    selector = selectors.from_label_selector(term.get("labelSelector"))
    return selector.matches(text_map(part(other, "metadata"), "labels"))


def _between_pods(pod: Obj, node: Obj, name: str, near: Neighbours) -> Iterator[Refusal]:
    by_name = {text(part(each, "metadata"), "name"): labels(each) for each in near.nodes}
    own_labels = labels(node)

    def in_domain(topology: str, place: str) -> bool:
        return topology in own_labels and by_name.get(place, {}).get(topology) == own_labels[topology]

    for term in pod_terms(pod, "podAffinity"):
        topology = text(term, "topologyKey")
        met = any(
            term_selects(term, pod, other)
            for place, others in near.pods.items()
            if in_domain(topology, place)
            for other in others
        )
        anywhere = any(term_selects(term, pod, other) for others in near.pods.values() for other in others)
        if not near.whole and not (met or (topology == _HOST and anywhere)):
            continue  # it may be met by a pod of a node that was not looked at
        if not met and not (not anywhere and term_selects(term, pod, pod)):
            wanted = str(selectors.from_label_selector(term.get("labelSelector")))
            yield Refusal(
                "pod-affinity", name, f"no pod with {wanted} is near node {name} ({topology})", wanted, (term, anywhere)
            )
    for sort, subject_first in (("podAntiAffinity", True), ("", False)):
        for place, others in near.pods.items():
            for other in others:
                if _same(other, pod):
                    continue
                holder, target = (pod, other) if subject_first else (other, pod)
                for term in pod_terms(holder, sort or "podAntiAffinity"):
                    if in_domain(text(term, "topologyKey"), place) and term_selects(term, holder, target):
                        said = f"pod {key(other)} on node {place} keeps it off node {name}"
                        yield Refusal("anti-affinity", name, said, key(other), term)


def _spread(pod: Obj, node: Obj, name: str, near: Neighbours) -> Iterator[Refusal]:
    for constraint in parts(part(pod, "spec"), "topologySpreadConstraints"):
        if text(constraint, "whenUnsatisfiable") != "DoNotSchedule":
            continue
        topology = text(constraint, "topologyKey")
        own = labels(node).get(topology)
        if own is None:
            yield Refusal("spread", name, f"node {name} has no label {topology}", topology, constraint)
            continue
        if not near.whole:
            continue
        selector = selectors.from_label_selector(constraint.get("labelSelector"))
        counts: dict[str, int] = {}
        for each in near.nodes:
            domain = labels(each).get(topology)
            if domain is None or not affinity.allows(pod, each):
                continue
            there = near.pods.get(text(part(each, "metadata"), "name"), ())
            found = sum(
                text(part(p, "metadata"), "namespace") == text(part(pod, "metadata"), "namespace")
                and selector.matches(text_map(part(p, "metadata"), "labels"))
                for p in there
            )
            counts[domain] = counts.get(domain, 0) + found
        skew = counts.get(own, 0) + 1 - min(counts.values(), default=0)
        most = whole(constraint, "maxSkew") or 1
        if skew > most:
            said = f"{topology}={own} has {counts.get(own, 0)} such pods, another {min(counts.values())}"
            yield Refusal("spread", name, said, topology, constraint)


__all__ = ["Neighbours", "Refusal", "bound", "claims_of", "refusals", "show", "show_taint"]


def every_node(world: World) -> Sequence[Obj]:
    return world.all(NODES)
