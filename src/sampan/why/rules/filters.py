"""Pods without a node: for each of the scheduler's filters, the nodes it rules out, and what would let the pod in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sampan.api.objects import get_path
from sampan.api.pods.requests import container_requests
from sampan.api.pods.status import is_terminal
from sampan.api.reading import part, parts, text, texts, whole
from sampan.api.resources import (
    DEPLOYMENTS,
    NODES,
    PERSISTENT_VOLUMES,
    PODS,
)
from sampan.api.types import Obj
from sampan.why import fit
from sampan.why.fit import Refusal
from sampan.why.judging import judged
from sampan.why.model import Action, Cause, Fix, Ref, ref_of
from sampan.why.states import condition_of
from sampan.why.table import Found, rule
from sampan.why.templates import change, holder
from sampan.why.world import World

_NODES_SHOWN: Final = 4
_FIRST: Final = 10


def _count(found: Sequence[Refusal]) -> int:
    """So many nodes."""
    return sum({each.node: each.stands_for for each in found}.values())


def _rank(found: Sequence[Refusal], kind: str) -> int:
    """The reason of most nodes first."""
    nodes, mine = _count(found), _count([each for each in found if each.kind == kind])
    return _FIRST + 10 * (nodes - mine) // max(nodes, 1)


def _others(found: Sequence[Refusal], kind: str) -> list[str]:
    """What keeps it off the other nodes, counted."""
    kinds = dict.fromkeys(each.kind for each in found if each.kind != kind)
    counts = {other: _count([each for each in found if each.kind == other]) for other in kinds}
    ordered = sorted(counts.items(), key=lambda each: -each[1])
    return [f"besides: {_SHORT[other]} ({count} node{'s' * (count > 1)})" for other, count in ordered]


_SHORT: Final = {
    "cordoned": "cordoned", "not-ready": "not ready", "taint": "a taint that it does not tolerate",
    "selector": "another nodeSelector", "affinity": "another node affinity", "resources": "too little free",
    "pods": "no room for another pod", "port": "a host port in use", "volume": "a volume of another place",
    "pod-affinity": "no pod that it wants to be near", "anti-affinity": "a pod that it must not be near",
    "spread": "an uneven spread",
}  # fmt: skip


def _shown(found: Sequence[Refusal]) -> list[str]:
    lines = list(dict.fromkeys(each.sentence for each in found))
    more = [f"and {len(lines) - _NODES_SHOWN} more like these"] if len(lines) > _NODES_SHOWN else []
    return lines[:_NODES_SHOWN] + more


def _from_record(world: World, pod: Obj) -> list[str]:
    for attempt in world.attempts(pod)[:1]:
        return [f"the scheduler: {text(attempt, 'message')}"]
    said = text(condition_of(pod, "PodScheduled"), "message")
    return [f"the scheduler: {said}"] if said else []


Make = Callable[[World, Obj, Sequence[Refusal], int], Iterator[Cause]]


def _of_nodes(kind: str, says: str) -> Callable[[Make], Make]:
    """A rule about one sort of refusal."""

    def add(make: Make) -> Make:
        def judge(world: World, pod: Obj) -> Found:
            found, total = judged(world, pod)
            mine = [each for each in found if each.kind == kind]
            if not mine:
                return
            rest = (*_others(found, kind), *_from_record(world, pod))
            for cause in make(world, pod, mine, total):
                yield Cause(
                    cause.sentence, (*cause.evidence, *rest), cause.fix, cause.confidence,
                    _rank(found, kind) + cause.rank,
                )  # fmt: skip

        rule(f"node-{kind}", PODS, says=says)(judge)
        return make

    return add


def _nodes_words(found: Sequence[Refusal], total: int) -> str:
    if total <= 1:
        return "the only node"
    count = _count(found)
    return f"all {total} nodes" if count >= total else f"{count} of {total} nodes"


@_of_nodes("not-ready", "whether nodes are ready")
def not_ready(world: World, pod: Obj, found: Sequence[Refusal], total: int) -> Iterator[Cause]:
    names = ", ".join(sorted({each.node for each in found})[:_NODES_SHOWN])
    yield Cause(
        f"{ref_of(PODS, pod).place} has no node to go to: {_nodes_words(found, total)} "
        f"{'is' if len(found) == 1 else 'are'} not ready ({names}).",
        tuple(_shown(found)),
        Fix(f"bring a node back: `sampan why node/{found[0].node}` says what ails it"),
        rank=-1,
    )


@_of_nodes("cordoned", "cordoned nodes")
def cordoned(world: World, pod: Obj, found: Sequence[Refusal], total: int) -> Iterator[Cause]:
    first = found[0].node
    yield Cause(
        f"{ref_of(PODS, pod).place} has no node to go to: {_nodes_words(found, total)} "
        f"{'is' if len(found) == 1 else 'are'} cordoned.",
        tuple(_shown(found)),
        Fix(f"let pods onto {first} again", (Action("patch", Ref(NODES, first), {"spec": {"unschedulable": None}}),)),
    )


@_of_nodes("taint", "taints of nodes")
def taint(world: World, pod: Obj, found: Sequence[Refusal], total: int) -> Iterator[Cause]:
    about, count = Counter(each.about for each in found).most_common(1)[0]
    chosen = next(each for each in found if each.about == about)
    toleration: Obj = {"key": chosen.data["key"], "operator": "Exists", "effect": chosen.data["effect"]}
    if chosen.data.get("value"):
        toleration |= {"operator": "Equal", "value": chosen.data["value"]}
    held = holder(world, PODS, pod)
    if chosen.data["key"] in fit.CONDITIONS:
        yield Cause(
            f"{ref_of(PODS, pod).place} has no node to go to: {_nodes_words(found, total)} "
            f"{'has' if count == 1 else 'have'} the taint {about}, which says what ails them.",
            tuple(_shown(found)),
            Fix(f"mend the node: `sampan why node/{chosen.node}` says what ails it; the taint goes by itself"),
        )
        return
    text_ = f"tolerate the taint (or take it away: `kubectl taint nodes {chosen.node} {chosen.data['key']}-`)"

    def edit(template: Obj) -> None:
        template["spec"]["tolerations"] = [*(template["spec"].get("tolerations") or ()), toleration]

    if held.resource == PODS:  # the one thing of a pod's wishes that may be added to
        edited = {"metadata": {}, "spec": {"tolerations": list(part(pod, "spec").get("tolerations") or ())}}
        edit(edited)
        patch = [{"op": "add", "path": "/spec/tolerations", "value": edited["spec"]["tolerations"]}]
        fix = Fix(text_, (Action("json", held.ref, patch),))
    else:
        fix = change(held, text_, edit)
    yield Cause(
        f"{ref_of(PODS, pod).place} has no node to go to: {_nodes_words(found, total)} "
        f"{'has' if count == 1 else 'have'} the taint {about}, which it does not tolerate.",
        tuple(_shown(found)),
        fix,
    )


@_of_nodes("selector", "nodeSelector against the labels of nodes")
def selector(world: World, pod: Obj, found: Sequence[Refusal], total: int) -> Iterator[Cause]:
    about, count = Counter(each.about for each in found).most_common(1)[0]
    label, value = next(each.data for each in found if each.about == about)
    there = sorted({have for each in world.all(NODES) if (have := get_path(each, "metadata", "labels", label))})
    held = holder(world, PODS, pod)
    if there:
        meant = _near(value, there)

        def edit(template: Obj) -> None:
            template["spec"]["nodeSelector"][label] = meant

        fix = change(held, f"ask for a value that nodes have: {meant}", edit)
        says = f"nodes have {label}={', '.join(there[:_NODES_SHOWN])}"
    else:
        node = found[0].node
        patch = {"metadata": {"labels": {label: value}}}
        fix = Fix(f"label a node that is to take it, as {node}", (Action("patch", Ref(NODES, node), patch),))
        says = f"no node has a label {label}"
    yield Cause(
        f"{ref_of(PODS, pod).place} has no node to go to: it asks for nodes with {about}, and "
        f"{_nodes_words(found, total) if count < total else 'none'} {'lack it' if count < total else 'has it'}.",
        (says, *_shown(found)),
        fix,
    )


def _near(value: str, there: Sequence[str]) -> str:
    from sampan.why.near import nearest

    return (*nearest(value, there), *there)[0]


@_of_nodes("affinity", "node affinity")
def node_affinity(world: World, pod: Obj, found: Sequence[Refusal], total: int) -> Iterator[Cause]:
    terms = parts(found[0].data, "nodeSelectorTerms")
    shown = " or ".join(_term(term) for term in terms) or "nothing"

    def edit(template: Obj) -> None:
        own = template["spec"]["affinity"]["nodeAffinity"]
        required = own.pop("requiredDuringSchedulingIgnoredDuringExecution")
        wishes = [{"weight": 100, "preference": term} for term in required["nodeSelectorTerms"]]
        own["preferredDuringSchedulingIgnoredDuringExecution"] = [
            *(own.get("preferredDuringSchedulingIgnoredDuringExecution") or ()),
            *wishes,
        ]

    yield Cause(
        f"{ref_of(PODS, pod).place} has no node to go to: its node affinity asks for {shown}, and "
        f"{_nodes_words(found, total)} {'does' if total <= 1 else 'do'} not match.",
        tuple(_shown(found)),
        change(holder(world, PODS, pod), "label a node so, or make the affinity a wish (preferred)", edit),
    )


def _term(term: Obj) -> str:
    listed = [
        f"{text(each, 'key')} {text(each, 'operator')} {','.join(texts(each, 'values'))}".strip()
        for sort in ("matchExpressions", "matchFields")
        for each in parts(term, sort)
    ]
    return " and ".join(listed) or "nothing"


@_of_nodes("resources", "requests against what is free on nodes")
def resources(world: World, pod: Obj, found: Sequence[Refusal], total: int) -> Iterator[Cause]:
    about, _count = Counter(each.about for each in found).most_common(1)[0]
    mine = [each for each in found if each.about == about]
    wanted = mine[0].data[0]
    best = max(mine, key=lambda each: each.data[1] - each.data[2])
    free, largest = max(best.data[1] - best.data[2], 0), max(each.data[1] for each in mine)
    ref = ref_of(PODS, pod)
    asks = f"{ref.place} asks for {fit.show(about, wanted)} {about}"
    if not largest:
        sentence = f"{asks}, and no node has any {about}."
    elif wanted > largest:
        sentence = f"{asks}, and no node is that large: the largest has {fit.show(about, largest)}."
    else:
        sentence = (
            f"{asks}, and {_nodes_words(mine, total)} {'has' if len(mine) == 1 else 'have'} less free: "
            f"{fit.show(about, free)} at the most, on {best.node}."
        )
    held_by = _biggest(world, best.node, about) if largest else []
    evidence = [*_shown(mine), *([f"held on {best.node} by {', '.join(held_by)}"] if held_by else [])]
    yield Cause(sentence, tuple(evidence), _less(world, pod, about, wanted, free), rank=-1 if wanted > largest else 0)


def _biggest(world: World, node: str, resource: str) -> list[str]:
    from sampan.api.pods.requests import pod_requests

    there = world.all(PODS, fields=f"spec.nodeName={node}")
    sizes = [(pod_requests(each).get(resource, 0), fit.key(each)) for each in there if not is_terminal(each)]
    return [f"{name} ({fit.show(resource, size)})" for size, name in sorted(sizes, reverse=True)[:3] if size]


def _less(world: World, pod: Obj, resource: str, wanted: int, free: int) -> Fix:
    """Ask for less: what is missing is taken from the container that asks for most."""
    listed = parts(part(pod, "spec"), "containers")
    largest = max(listed, key=lambda each: container_requests(each).get(resource, 0))
    name, own = text(largest, "name"), container_requests(largest).get(resource, 0)
    left = own - (wanted - free)
    standard = resource in ("cpu", "memory")
    if left <= 0 and standard:
        return Fix(f"make room: free {fit.show(resource, wanted - free)} of {resource} on a node, or add a node")
    amount = fit.show(resource, left) if left > 0 else ""

    def edit(template: Obj) -> None:
        for each in template["spec"]["containers"]:
            if each["name"] != name:
                continue
            for sort in ("requests", "limits"):
                given = part(each.get("resources"), sort)
                if resource not in given:
                    continue
                if not amount:
                    del given[resource]
                elif sort == "requests" or not standard:
                    given[resource] = amount
            given = each["resources"]
            if amount and resource not in part(given, "requests"):
                given["requests"] = {**part(given, "requests"), resource: amount}

    text_ = f"let container {name} ask for {amount or 'no'} {resource}{' or less' if amount else ''}, or add a node"
    return change(holder(world, PODS, pod), text_, edit)


@_of_nodes("pods", "how many pods nodes may have")
def pods(world: World, pod: Obj, found: Sequence[Refusal], total: int) -> Iterator[Cause]:
    yield Cause(
        f"{ref_of(PODS, pod).place} has no node to go to: {_nodes_words(found, total)} "
        f"{'has' if len(found) == 1 else 'have'} as many pods as may be ({found[0].data}).",
        tuple(_shown(found)),
        Fix("add a node, or end pods that nobody needs"),
    )


@_of_nodes("port", "host ports")
def port(world: World, pod: Obj, found: Sequence[Refusal], total: int) -> Iterator[Cause]:
    number, other = found[0].data
    ref = ref_of(PODS, pod)

    def edit(template: Obj) -> None:
        for each in template["spec"]["containers"]:
            for one in each.get("ports") or ():
                if one.get("hostPort") == number:
                    del one["hostPort"]

    yield Cause(
        f"{ref.place} has no node to go to: port {found[0].about} is taken on {_nodes_words(found, total)}, "
        f"as by pod {fit.key(other)}.",
        tuple(_shown(found)),
        change(holder(world, PODS, pod), "do without the host port (a Service reaches the pod, too)", edit),
    )


@_of_nodes("volume", "where volumes can be used")
def volume(world: World, pod: Obj, found: Sequence[Refusal], total: int) -> Iterator[Cause]:
    name = found[0].about
    claim, required = found[0].data
    terms = parts(required, "nodeSelectorTerms")
    label, value = "", ""
    for each in parts(terms[0], "matchExpressions") if terms else ():
        if each.get("operator") == "In":
            label, value = text(each, "key"), next(iter(texts(each, "values")), "")
            break
    fix = Fix(f"bring back a node that the volume can be used on: {' or '.join(map(_term, terms))}")
    # What a node is and where it stands nobody changes by a label: the volume would not be found there.
    if label and "kubernetes.io/" not in label:
        patch = {"metadata": {"labels": {label: value}}}
        fix = Fix(
            f"label a node that reaches the volume, as {found[0].node}",
            (Action("patch", Ref(NODES, found[0].node), patch),),
        )
    yield Cause(
        f"{ref_of(PODS, pod).place} has no node to go to: volume {name} of its claim {claim} can be used only where "
        f"{' or '.join(map(_term, terms))}.",
        (
            f"the volume's spec.nodeAffinity: see `kubectl get {PERSISTENT_VOLUMES.plural} {name} -o yaml`",
            *_shown(found),
        ),
        fix,
    )


@_of_nodes("pod-affinity", "pods that it wants to be near")
def pod_affinity(world: World, pod: Obj, found: Sequence[Refusal], total: int) -> Iterator[Cause]:
    term, anywhere = found[0].data
    why = "that are on other nodes" if anywhere else "and there are none"

    def edit(template: Obj) -> None:
        _make_wish(template["spec"]["affinity"]["podAffinity"], term)

    yield Cause(
        f"{ref_of(PODS, pod).place} has no node to go to: it has to be near pods with {found[0].about}, {why}.",
        tuple(_shown(found)),
        change(holder(world, PODS, pod), "start such pods, or make the affinity a wish (preferred)", edit),
    )


def _make_wish(own: Obj, term: Obj) -> None:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    own[required] = [each for each in own[required] if each != term]
    own[preferred] = [*(own.get(preferred) or ()), {"weight": 100, "podAffinityTerm": term}]
    if not own[required]:
        del own[required]


@_of_nodes("anti-affinity", "pods that it must not be near")
def anti_affinity(world: World, pod: Obj, found: Sequence[Refusal], total: int) -> Iterator[Cause]:
    held, term = holder(world, PODS, pod), found[0].data
    own = term in list(fit.pod_terms(pod, "podAntiAffinity"))

    def edit(template: Obj) -> None:
        _make_wish(template["spec"]["affinity"]["podAntiAffinity"], term)

    fix = Fix(f"end pod {found[0].about}, or add a node")
    ready = whole(part(held.obj, "status"), "readyReplicas") or 0
    if own and ready and held.resource == DEPLOYMENTS and _is_own(pod, term):
        # A rule against one's own kind: as long as old pods have it, a new template alone does not help.
        fix = Fix(
            f"add nodes, or run {ready} replicas, as many as there is room for",
            (Action("patch", held.ref, {"spec": {"replicas": ready}}),),
        )
    elif own:
        fix = change(held, "add a node, run fewer replicas, or make the rule a wish (preferred)", edit)
    yield Cause(
        f"{ref_of(PODS, pod).place} has no node to go to: it must not be near pod {found[0].about}, and "
        f"{_nodes_words(found, total)} {'has' if total <= 1 else 'have'} such a pod.",
        tuple(_shown(found)),
        fix,
    )


def _is_own(pod: Obj, term: Obj) -> bool:
    return fit.term_selects(term, pod, pod)


@_of_nodes("spread", "topology spread constraints")
def spread(world: World, pod: Obj, found: Sequence[Refusal], total: int) -> Iterator[Cause]:
    constraint = found[0].data

    def edit(template: Obj) -> None:
        for each in template["spec"]["topologySpreadConstraints"]:
            if each == constraint:
                each["whenUnsatisfiable"] = "ScheduleAnyway"

    yield Cause(
        f"{ref_of(PODS, pod).place} has no node to go to: its pods are to be spread evenly by {found[0].about} "
        f"(at most {constraint.get('maxSkew', 1)} more here than there).",
        tuple(_shown(found)),
        change(holder(world, PODS, pod), "let it be uneven (ScheduleAnyway), or add nodes where there are few", edit),
        rank=1,
    )
