"""Where resizes are promised: the one place of a node that knows what all its pods were promised.

Asked by pod workers, through ``NodeContext.weigh_resize``; the agent says when there may be more room. A promise is
kept from the moment it is made: two pods that ask in one turn of the loop cannot both get what is left. Wishes that
wait are granted in ``resizing.turn``'s order, whoever asks. One event loop; nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from sampan.api.clock import Clock
from sampan.api.pods.requests import Amounts, pod_requests
from sampan.api.types import Obj
from sampan.node.pods import resizing
from sampan.node.pods.resizing import Allocation, Verdict
from sampan.node.pods.swap import Swap
from sampan.records import dataclass

_VIEWS_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Claim:
    """A pod that has a part of the node: as the API wants it, and what it was promised."""

    pod: Obj
    allocated: Allocation

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])


class ResizeDesk:
    """Invariant: ``_promised`` has what was promised since, and only of pods that are still here; so has ``_views``."""

    def __init__(
        self,
        claims: Callable[[], Iterable[Claim]],
        allocatable: Amounts,
        clock: Clock,
        wake: Callable[[str], None],
        *,
        static_cpus: bool = False,
        static_memory: bool = False,
        swap: Swap | None = None,
    ) -> None:
        """``wake``: the pod of that uid may go on."""
        self._claims, self._allocatable, self._clock, self._wake = claims, allocatable, clock, wake
        self._static_cpus, self._static_memory, self._swap = static_cpus, static_memory, swap
        self._promised: dict[str, Allocation] = {}
        #: What ``promised`` said last, and of what: the agent asks for all pods at each one that it takes.
        self._views: dict[str, tuple[Obj, Allocation, Obj]] = {}
        #: since when pods wait for room
        self._waiting: dict[str, datetime] = {}

    def promised(self, claim: Claim) -> Obj:
        """The pod as the node has promised it; its status does not count."""
        uid = claim.uid
        allocated = self._promised.get(uid, claim.allocated)
        known = self._views.get(uid)
        if known is None or known[0] is not claim.pod or known[1] is not allocated:
            pod = resizing.with_allocated(claim.pod, allocated)
            view = {**pod, "status": {"qosClass": (pod.get("status") or {}).get("qosClass")}}
            known = self._views[uid] = claim.pod, allocated, view
        return known[2]

    def weigh(self, pod: Obj) -> Verdict | None:
        """None: the pod has been promised what it wishes."""
        uid = pod["metadata"]["uid"]
        if self._promised.get(uid) == resizing.wished(pod):
            return None
        self._waiting.setdefault(uid, self._clock.now())
        return self._grant(asking=pod).get(uid)

    def changed(self, uid: str) -> None:
        """The pod is another than it was; what was said of it would only keep the one of before."""
        self._views.pop(uid, None)

    def forget(self, uid: str) -> None:
        """Nothing is left of the pod."""
        self._promised.pop(uid, None)
        self._views.pop(uid, None)
        self._waiting.pop(uid, None)

    def room(self) -> None:
        """There may be more than before."""
        if len(self._views) > _VIEWS_LIMIT:
            self._views.clear()
        if self._waiting:
            self._grant()

    def _grant(self, asking: Obj | None = None) -> Mapping[str, Verdict]:
        """Goes through all that wait; the verdicts on those that go on waiting."""
        claims = {claim.uid: claim for claim in self._claims()}
        if asking is not None:
            known = claims.get(asking["metadata"]["uid"])
            allocated = known.allocated if known is not None else resizing.wished(asking)
            claims[asking["metadata"]["uid"]] = Claim(asking, allocated)
        before = {uid: self.promised(claim) for uid, claim in claims.items()}
        used = resizing.total(before.values())
        waiting = [uid for uid in self._waiting if uid in claims]
        self._waiting = {uid: self._waiting[uid] for uid in waiting}
        waiting.sort(key=lambda uid: resizing.turn(claims[uid].pod, before[uid], self._waiting[uid].timestamp()))
        verdicts: dict[str, Verdict] = {}
        for uid in waiting:
            pod, had = claims[uid].pod, pod_requests(before[uid], use_status=False)
            others = {name: amount - had.get(name, 0) for name, amount in used.items()}
            verdict = resizing.infeasible(
                pod,
                before[uid],
                self._allocatable,
                static_cpus=self._static_cpus,
                static_memory=self._static_memory,
                swap=self._swap,
            )
            verdict = verdict or resizing.deferred(pod, others, self._allocatable)
            if verdict is not None:
                verdicts[uid] = verdict
                if verdict.reason == "Infeasible":
                    del self._waiting[uid]
                continue
            self._promised[uid] = resizing.wished(pod)
            del self._waiting[uid]
            has = pod_requests(pod, use_status=False)
            used = {name: others.get(name, 0) + has.get(name, 0) for name in others.keys() | has.keys()}
            if asking is None or uid != asking["metadata"]["uid"]:
                self._wake(uid)
        return verdicts
