"""Groups of pods that are scheduled together (PodGroup, KEP-4671): which there are, and which pods are theirs.

Fed by what informers say of PodGroups and pods, asked by the plug-in GangScheduling, by the cycle of a group
(``groupcycle.py``) and by the search for victims. Pure bookkeeping on one event loop: it decides and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from sampan.api.reading import part, text, whole
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.scheduler.podinfo import PodInfo

#: the plug-in that keeps a gang together
GANG: Final = "GangScheduling"
#: of a pod that waits for its group and for nothing else
GANG_ALONE: Final = frozenset((GANG,))
#: namespace and name of a PodGroup
GroupKey: TypeAlias = tuple[str, str]

_NEVER: Final = "Never"


def key_of(pod: PodInfo) -> GroupKey | None:
    """The group that a pod names; None: it stands alone."""
    group = pod.spec.get("schedulingGroup")
    name = text(group, "podGroupName") if isinstance(group, dict) else ""
    return (pod.namespace, name) if name else None


@dataclass(frozen=True, slots=True)
class Group:
    """``least``: how many of its pods have to be placed for any to be (1 unless it is a gang). ``together``: they may
    only be disrupted all at once."""

    obj: Obj
    gang: bool
    least: int
    priority: int
    together: bool

    @classmethod
    def of(cls, obj: Obj) -> Group:
        spec = part(obj, "spec")
        gang = part(spec, "schedulingPolicy").get("gang")
        least = (whole(gang, "minCount") or 1) if isinstance(gang, dict) else 1
        mode = part(spec, "disruptionMode")
        return cls(
            obj, isinstance(gang, dict), max(least, 1), whole(spec, "priority") or 0, mode.get("all") is not None
        )


class PodGroups:
    """Invariants: ``_members`` holds every pod that names a group, has not ended and is not being deleted; ``_held``
    only those of them that the plug-in turned away before the queue."""

    def __init__(self) -> None:
        self._groups: dict[GroupKey, Group] = {}
        self._members: dict[GroupKey, dict[str, PodInfo]] = {}
        self._held: dict[GroupKey, dict[str, None]] = {}

    def find(self, key: GroupKey) -> Group | None:
        return self._groups.get(key)

    def members(self, key: GroupKey) -> list[PodInfo]:
        return list(self._members.get(key, {}).values())

    def refusal(self, key: GroupKey) -> str:
        """Why pods of this group may not be queued yet; "": they may."""
        group = self._groups.get(key)
        if group is None:
            return f'waiting for pod\'s pod group "{key[1]}" to appear in scheduling queue'
        if group.gang and len(self._members.get(key, ())) < group.least:
            return "waiting for minCount pods from a gang to appear in scheduling queue"
        return ""

    def hold(self, key: GroupKey, uid: str) -> None:
        """This pod was turned away."""
        self._held.setdefault(key, {})[uid] = None

    def release(self, key: GroupKey) -> list[PodInfo]:
        """The pods that were turned away and may be queued now; they are not held any more."""
        if key not in self._held or self.refusal(key):
            return []
        members = self._members.get(key, {})
        return [members[uid] for uid in self._held.pop(key) if uid in members]

    def may_differ(self, key: GroupKey) -> bool:
        """Whether a try of this gang may end otherwise than before, once a pod of it has gone: enough are left, or
        for the first time too few."""
        group = self._groups.get(key)
        return group is not None and group.gang and len(self._members.get(key, ())) >= group.least - 1

    # What informers say

    def put(self, obj: Obj) -> bool:
        """Whether fewer pods than before are enough, or the group is new."""
        meta = part(obj, "metadata")
        key = text(meta, "namespace"), text(meta, "name")
        before, now = self._groups.get(key), Group.of(obj)
        self._groups[key] = now
        return before is None or now.least < before.least

    def drop(self, obj: Obj) -> None:
        meta = part(obj, "metadata")
        self._groups.pop((text(meta, "namespace"), text(meta, "name")), None)

    def put_pod(self, key: GroupKey, pod: PodInfo) -> bool:
        """Whether it is a new member."""
        members = self._members.setdefault(key, {})
        known = pod.uid in members
        members[pod.uid] = pod
        return not known

    def drop_pod(self, key: GroupKey, uid: str) -> None:
        tables: tuple[dict[GroupKey, dict[str, Any]], ...] = (self._members, self._held)
        for table in tables:
            inside = table.get(key)
            if inside is not None:
                inside.pop(uid, None)
                if not inside:
                    del table[key]


def fault_of(group: Group, pods: Iterable[PodInfo]) -> str:
    """Why these pods cannot be a group; "": they can. The words are upstream's."""
    scheduler = policy = ""
    for pod in pods:
        own = text(pod.spec, "preemptionPolicy") or "PreemptLowerPriority"
        scheduler, policy = scheduler or pod.scheduler_name, policy or own
        if pod.scheduler_name != scheduler:
            return (
                "all pods in a single pod group should have the same .spec.schedulerName set, "
                f'got: "{pod.scheduler_name}" and "{scheduler}"'
            )
        if pod.priority != group.priority:
            return (
                "all pods in a single pod group should have the same priority as the pod group's priority, "
                f"got {pod.priority} and {group.priority}"
            )
        if own != policy:
            return f"all pods in a single pod group should have the same preemption policy, got {own} and {policy}"
    return ""


def may_preempt(pods: Iterable[PodInfo]) -> bool:
    return all(text(pod.spec, "preemptionPolicy") != _NEVER for pod in pods)
