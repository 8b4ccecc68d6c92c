"""The scheduling queue: active, backing off, unschedulable, gated (upstream ``backend/queue``).

The shell puts pods in, takes the next one, and says what came of it; changes of the cluster move unschedulable pods.
Runs on the scheduler's timeline; idle it holds no timer unless a pod waits. It decides nothing about nodes.

A pod whose back-off has not ended is taken early when nothing else is waiting (upstream's SchedulerPopFromBackoffQ),
unless it backs off because of an error.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Hashable
from dataclasses import field
from enum import Enum
from typing import Any

from sampan.client.timeline import Timeline
from sampan.records import dataclass
from sampan.scheduler.podinfo import PodInfo

log = logging.getLogger(__name__)

INITIAL_BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 10.0
#: After this time an unschedulable pod is tried again though nothing is known to have changed for it.
FLUSH_SECONDS = 300.0


class Place(Enum):
    ACTIVE = "active"
    BACKOFF = "backoff"
    ERROR_BACKOFF = "error-backoff"
    UNSCHEDULABLE = "unschedulable"
    GATED = "gated"
    TAKEN = "taken"


@dataclass(eq=False, slots=True)
class QueuedPod:
    pod: PodInfo
    place: Place = Place.ACTIVE
    attempts: int = 0
    #: when it first entered the queue: the tie-breaker among equal priorities
    enqueued: float = 0.0
    #: when the last attempt failed; back-off counts from there
    failed: float = 0.0
    plugins: frozenset[str] = field(default_factory=frozenset)
    #: the same for pods that any change helps alike
    group: Hashable = None
    #: which heap entry is the valid one
    ticket: int = 0
    #: while it is taken: changes of the cluster, for whoever knows what they mean; and whether it is to be tried again
    #: whatever comes of this try
    missed: list[Any] = field(default_factory=list)
    again: bool = False


SortKey = Callable[[PodInfo, float], Any]


def guarded(sort_key: SortKey) -> SortKey:
    """Pods on which the plug-in raises come after all others."""

    def key(pod: PodInfo, enqueued: float) -> tuple[bool, Any]:
        try:
            return False, sort_key(pod, enqueued)
        except Exception:  # a plug-in's fault costs the pod its place, not the queue its order
            log.exception("the order of %s in the queue is not known", pod.key)
            return True, 0

    return key


class SchedulingQueue:
    """Invariant: every pod is in exactly one place; a heap entry counts only if its ticket is the pod's."""

    def __init__(
        self,
        sort_key: SortKey,
        *,
        initial_seconds: float = INITIAL_BACKOFF_SECONDS,
        max_seconds: float = MAX_BACKOFF_SECONDS,
        flush_seconds: float = FLUSH_SECONDS,
        timeline: Timeline | None = None,
    ) -> None:
        self._timeline = timeline or Timeline()
        self._sort_key = sort_key
        self._initial_seconds, self._max_seconds = initial_seconds, max_seconds
        self._flush_seconds = flush_seconds
        self._pods: dict[str, QueuedPod] = {}
        self._active: list[tuple[Any, int, QueuedPod]] = []
        self._backoff: list[tuple[float, int, QueuedPod]] = []
        self._tickets = 0
        #: unschedulable pods by their group: a change of the cluster asks once a group, whatever the queue holds
        self._groups: dict[Hashable, dict[str, QueuedPod]] = {}
        #: pods that are being tried now
        self._taken: dict[str, QueuedPod] = {}
        self._wanted: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._pods)

    def places(self) -> dict[Place, int]:
        found = dict.fromkeys(Place, 0)
        for item in self._pods.values():
            found[item.place] += 1
        return found

    def find(self, uid: str) -> QueuedPod | None:
        return self._pods.get(uid)

    def unschedulable(self) -> list[list[QueuedPod]]:
        """By group; none is empty."""
        return [list(group.values()) for group in self._groups.values()]

    def in_group(self, group: Hashable) -> list[QueuedPod]:
        """Unschedulable pods that failed with this ``group``."""
        return list(self._groups.get(group, {}).values())

    def taken(self) -> list[QueuedPod]:
        """Those that are being tried now: few."""
        return list(self._taken.values())

    # Putting in

    def add(self, pod: PodInfo, *, gated: bool = False) -> None:
        """A new pod, or a new state of a known one, worth a try now."""
        item = self._pods.get(pod.uid)
        if item is None:
            item = self._pods[pod.uid] = QueuedPod(pod, Place.GATED, enqueued=self._now())
        item.pod = pod
        if gated:
            self._leave_group(item)
            self._taken.pop(pod.uid, None)
            item.place, item.ticket = Place.GATED, 0  # where it waited it is not found any more
        elif item.place is Place.GATED:
            self._activate(item)
        else:
            self.requeue(item)

    def update(self, pod: PodInfo) -> None:
        """The same pod with changes that do not matter to scheduling."""
        item = self._pods.get(pod.uid)
        if item is not None:
            item.pod = pod

    def remove(self, uid: str) -> None:
        item = self._pods.pop(uid, None)
        if item is not None:
            self._leave_group(item)
            self._taken.pop(uid, None)
            item.ticket = 0

    def requeue(self, item: QueuedPod) -> None:
        """From unschedulable to active, or to back-off while that lasts. One that is being tried is tried again."""
        if item.place is Place.TAKEN:
            item.again = True
        if item.place is not Place.UNSCHEDULABLE or self._pods.get(item.pod.uid) is not item:
            return
        if self._backoff_ends(item) > self._now():
            self._back_off(item, Place.BACKOFF)
        else:
            self._activate(item)

    # Outcomes of an attempt

    def done(self, uid: str) -> None:
        """It has a node."""
        self.remove(uid)

    def failed(
        self, item: QueuedPod, plugins: frozenset[str], *, group: Hashable = None, attempted: bool = True
    ) -> None:
        """No node could take it: wait for a change. ``attempted`` False: there was nothing to try it on. ``group``:
        pods that a change helps alike; None: it is alone."""
        if self._pods.get(item.pod.uid) is not item:
            return
        item.attempts += attempted
        item.failed = self._now()
        item.plugins = plugins
        item.group = item.pod.uid if group is None else group
        self._taken.pop(item.pod.uid, None)
        item.place = Place.UNSCHEDULABLE
        self._groups.setdefault(item.group, {})[item.pod.uid] = item
        self._set_timer(item.failed + self._flush_seconds)

    def errored(self, item: QueuedPod) -> None:
        """Something went wrong that has nothing to do with the cluster's state: try again after back-off."""
        if self._pods.get(item.pod.uid) is not item:
            return
        item.attempts += 1
        item.failed = self._now()
        self._back_off(item, Place.ERROR_BACKOFF)

    def retry(self, item: QueuedPod) -> None:
        """It changed while it was tried: to be tried now as it is."""
        if self._pods.get(item.pod.uid) is item and item.place is Place.TAKEN:
            self._activate(item)

    def put_back(self, pod: PodInfo) -> None:
        """A pod whose binding failed after it had left the queue."""
        item = self._pods.get(pod.uid)
        if item is None:
            item = self._pods[pod.uid] = QueuedPod(pod, Place.TAKEN, enqueued=self._now())
        self.errored(item)

    # Taking out

    async def pop(self) -> QueuedPod:
        """The next pod; the caller reports with ``done``, ``failed`` or ``errored``."""
        while True:
            item = self.pop_nowait()
            if item is not None:
                return item
            self._wanted = asyncio.get_running_loop().create_future()
            try:
                await self._wanted
            finally:
                self._wanted = None

    def pop_nowait(self) -> QueuedPod | None:
        self._end_backoffs()
        item = self._pop_active() or self._pop_backoff()
        if item is not None:
            item.place, item.ticket = Place.TAKEN, 0
            item.missed, item.again = [], False
            self._taken[item.pod.uid] = item
        return item

    def take(self, item: QueuedPod) -> bool:
        """Takes one that waits, for whatever, along with another; False: it is gated, tried already, or gone."""
        if self._pods.get(item.pod.uid) is not item or item.place in (Place.GATED, Place.TAKEN):
            return False
        self._leave_group(item)
        item.place, item.ticket = Place.TAKEN, 0
        item.missed, item.again = [], False
        self._taken[item.pod.uid] = item
        return True

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def check_invariants(self) -> None:
        for place, heap in ((Place.ACTIVE, self._active), (Place.BACKOFF, self._backoff)):
            valid = [entry[-1] for entry in heap if entry[1] == entry[-1].ticket]
            assert len(valid) == len({id(item) for item in valid}), f"a pod is twice in {place}"
            expected = [item for item in self._pods.values() if item.place is place]
            assert {id(item) for item in expected} <= {id(item) for item in valid}, f"a pod is lost from {place}"
        waiting = {item.pod.uid for item in self._pods.values() if item.place is Place.UNSCHEDULABLE}
        assert all(item.place is Place.TAKEN for item in self._taken.values()), "a pod is tried that waits"
        grouped = [uid for group in self._groups.values() for uid in group]
        assert not any(item.ticket for item in self._pods.values() if item.place is Place.GATED), "a gated pod is taken"
        assert waiting == set(grouped) and len(grouped) == len(waiting), "groups and places differ"

    # Inside

    def _now(self) -> float:
        return self._timeline.monotonic()

    def _backoff_ends(self, item: QueuedPod) -> float:
        if not item.attempts:
            return item.failed
        return item.failed + min(self._initial_seconds * 2.0 ** min(item.attempts - 1, 60), self._max_seconds)

    def _ticket(self, item: QueuedPod) -> int:
        self._tickets += 1
        item.ticket = self._tickets
        return self._tickets

    def _leave_group(self, item: QueuedPod) -> None:
        held = self._groups.get(item.group)
        if held is not None and held.pop(item.pod.uid, None) is not None and not held:
            del self._groups[item.group]

    def _activate(self, item: QueuedPod) -> None:
        self._leave_group(item)
        self._taken.pop(item.pod.uid, None)
        item.place = Place.ACTIVE
        heapq.heappush(self._active, (self._sort_key(item.pod, item.enqueued), self._ticket(item), item))
        self._wake()

    def _back_off(self, item: QueuedPod, place: Place) -> None:
        self._leave_group(item)
        self._taken.pop(item.pod.uid, None)
        item.place = place
        heapq.heappush(self._backoff, (self._backoff_ends(item), self._ticket(item), item))
        self._wake()
        self._set_timer(self._backoff_ends(item))

    def _pop_active(self) -> QueuedPod | None:
        while self._active:
            _, ticket, item = heapq.heappop(self._active)
            if ticket == item.ticket:
                return item
        return None

    def _pop_backoff(self) -> QueuedPod | None:
        """The first that waits for its back-off only."""
        held: list[tuple[float, int, QueuedPod]] = []
        found = None
        while self._backoff and found is None:
            entry = heapq.heappop(self._backoff)
            if entry[1] != entry[2].ticket:
                continue
            if entry[2].place is Place.BACKOFF:
                found = entry[2]
            else:
                held.append(entry)
        for entry in held:
            heapq.heappush(self._backoff, entry)
        return found

    def _end_backoffs(self) -> None:
        now = self._now()
        while self._backoff and (self._backoff[0][0] <= now or self._backoff[0][1] != self._backoff[0][2].ticket):
            _, ticket, item = heapq.heappop(self._backoff)
            if ticket == item.ticket:
                self._activate(item)

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    def _set_timer(self, when: float) -> None:
        """One timer, for the earliest end of a back-off or flush."""
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._timeline.call_at(when, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._end_backoffs()
        waiting = [item for group in self.unschedulable() for item in group]
        horizon = self._now() - self._flush_seconds
        for item in waiting:
            if item.failed <= horizon:
                self.requeue(item)
        due = [item.failed + self._flush_seconds for item in waiting if item.place is Place.UNSCHEDULABLE]
        if self._backoff:
            due.append(self._backoff[0][0])
        if due:
            self._set_timer(min(due))
