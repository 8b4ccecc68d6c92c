"""What a DaemonSet means for one node, and what its pods are made of. Pure.

Source: upstream ``pkg/controller/daemon`` and its ``util``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from sampan.api import objects
from sampan.api.intorpercent import scaled
from sampan.api.nodes import affinity, taints
from sampan.api.pods import status as podstatus
from sampan.api.pods import tolerations
from sampan.api.reading import flag, part, parts, text, text_map, whole
from sampan.api.types import Obj
from sampan.controllers.workload.remembered import Remembered
from sampan.controllers.workload.revisions import HASH_LABEL

TEMPLATE_GENERATION: Final = "deprecated.daemonset.template.generation"
GENERATION_LABEL: Final = "pod-template-generation"
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"


class Verdict(NamedTuple):
    """``starts``: a pod belongs on the node. ``stays``: one that is there already may go on."""

    starts: bool
    stays: bool


def _tolerates(key: str, effect: str) -> Obj:
    return {"key": key, "operator": "Exists", "effect": effect}


#: What pods of DaemonSets bear besides what their template says.
_TOLERATIONS: Final = (
    _tolerates(taints.NOT_READY, "NoExecute"),
    _tolerates(taints.UNREACHABLE, "NoExecute"),
    _tolerates(taints.DISK_PRESSURE, "NoSchedule"),
    _tolerates(taints.MEMORY_PRESSURE, "NoSchedule"),
    _tolerates(taints.PID_PRESSURE, "NoSchedule"),
    _tolerates(taints.UNSCHEDULABLE, "NoSchedule"),
)
_OF_HOST_NETWORK: Final = _tolerates(taints.NETWORK_UNAVAILABLE, "NoSchedule")


def template(daemon_set: Obj, revision: str) -> Obj:
    """The pod template with the tolerations of daemons, and the labels of this revision."""
    found: Obj = objects.deep_copy(part(part(daemon_set, "spec"), "template"))
    spec = found.setdefault("spec", {})
    spec["tolerations"] = _with_tolerations(list(parts(spec, "tolerations")), flag(spec, "hostNetwork"))
    labels = found.setdefault("metadata", {}).setdefault("labels", {})
    if generation := text_map(part(daemon_set, "metadata"), "annotations").get(TEMPLATE_GENERATION):
        labels[GENERATION_LABEL] = generation
    if revision:
        labels[HASH_LABEL] = revision
    return found


def for_node(made: Obj, node: str) -> Obj:
    """The template of the pod of one node: node affinity by name, instead of what the template required."""
    result: Obj = objects.deep_copy(made)
    named = {"key": "metadata.name", "operator": "In", "values": [node]}
    wanted = result["spec"].setdefault("affinity", {}).setdefault("nodeAffinity", {})
    wanted[_REQUIRED] = {"nodeSelectorTerms": [{"matchFields": [named]}]}
    return result


def _with_tolerations(own: list[Obj], host_network: bool) -> list[Obj]:
    for wanted in (*_TOLERATIONS, *((_OF_HOST_NETWORK,) if host_network else ())):
        same = [
            index
            for index, toleration in enumerate(own)
            if all(text(toleration, key) == text(wanted, key) for key in ("key", "effect", "operator", "value"))
        ]
        for index in same:
            own[index] = dict(wanted)
        if not same:
            own.append(dict(wanted))
    return own


class Placement:
    """Where a DaemonSet runs. Parsed once for all nodes of a sync."""

    def __init__(self, daemon_set: Obj) -> None:
        wanted = part(part(daemon_set, "spec"), "template")
        spec = part(wanted, "spec")
        self._pinned = podstatus.node_name(wanted)
        self._wanted = affinity.required_of(wanted)
        tolerated = _with_tolerations(list(parts(spec, "tolerations")), flag(spec, "hostNetwork"))
        self._pod: Obj = {"spec": {"tolerations": tolerated}}
        self._judge = Remembered(self.verdict)

    async def learn(self, nodes: Collection[Obj]) -> None:
        """Before ``verdicts``: where many are new, others have their turn between them."""
        await self._judge.learn(nodes)

    def verdicts(self, nodes: Collection[Obj]) -> list[Verdict]:
        """Of all nodes, in their order; those that have not changed since the last time are not looked at again."""
        return self._judge(nodes)

    def verdict(self, node: Obj) -> Verdict:
        meta = part(node, "metadata")
        name = text(meta, "name")
        if self._pinned and self._pinned != name:
            return Verdict(False, False)
        if not self._wanted.matches(text_map(meta, "labels"), name):
            return Verdict(False, False)
        listed = taints.of(node)
        if tolerations.first_untolerated(self._pod, listed, taints.REPELLING) is None:
            return Verdict(True, True)
        return Verdict(False, tolerations.first_untolerated(self._pod, listed, ("NoExecute",)) is None)


def target_node(pod: Obj) -> str:
    """The node that a pod of a DaemonSet is on, or will be; "" when it does not say."""
    if bound := podstatus.node_name(pod):
        return bound
    named = affinity.named_nodes(affinity.node_affinity(pod)) or set()
    return next(iter(named)) if len(named) == 1 else ""


def by_node(pods: Iterable[Obj]) -> dict[str, list[Obj]]:
    """Pods that ended and are being deleted are gone already."""
    found: dict[str, list[Obj]] = {}
    for pod in pods:
        if podstatus.is_terminating(pod) and podstatus.is_terminal(pod):
            continue
        if node := podstatus.node_name(pod) or target_node(pod):
            found.setdefault(node, []).append(pod)
    return found


def oldest_first(pods: Iterable[Obj]) -> list[Obj]:
    """Those that have a node before those that have none."""
    pods = list(pods)
    if len(pods) < 2:
        return pods
    return sorted(
        pods,
        key=lambda pod: (
            not podstatus.node_name(pod), text(part(pod, "metadata"), "creationTimestamp"), pod["metadata"]["name"]
        ),
    )  # fmt: skip


def is_updated(pod: Obj, daemon_set: Obj, revision: str) -> bool:
    labels = part(part(pod, "metadata"), "labels")
    if revision and labels.get(HASH_LABEL) == revision:
        return True
    generation = text_map(part(daemon_set, "metadata"), "annotations").get(TEMPLATE_GENERATION)
    return bool(generation) and labels.get(GENERATION_LABEL) == generation


def min_ready_seconds(daemon_set: Obj) -> int:
    return whole(part(daemon_set, "spec"), "minReadySeconds") or 0


def rolls(daemon_set: Obj) -> bool:
    return text(part(part(daemon_set, "spec"), "updateStrategy"), "type") in ("", "RollingUpdate")


def fenceposts(daemon_set: Obj, desired: int) -> tuple[int, int]:
    """(surge, unavailable) in pods of so many; not both are 0."""
    rolling = part(part(part(daemon_set, "spec"), "updateStrategy"), "rollingUpdate")
    surge = scaled(rolling.get("maxSurge", 0), desired, round_up=True) or 0
    unavailable = scaled(rolling.get("maxUnavailable", 1), desired, round_up=True) or 0
    return surge, unavailable if surge or unavailable else 1


def may_surge(daemon_set: Obj) -> bool:
    rolling = part(part(part(daemon_set, "spec"), "updateStrategy"), "rollingUpdate")
    return rolls(daemon_set) and (scaled(rolling.get("maxSurge", 0), 100, round_up=True) or 0) > 0


def placing_facts(node: Obj) -> tuple[Mapping[str, str], Sequence[Obj]]:
    """What of a node decides where daemons run: its heartbeats do not."""
    return text_map(part(node, "metadata"), "labels"), taints.of(node)
