"""The shell of the DaemonSet controller: snapshot, revision, plan, apply, status."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

from sampan.api import labels, objects
from sampan.api.pods import status as podstatus
from sampan.api.reading import part, whole
from sampan.api.resources import DAEMON_SETS, NODES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result
from sampan.client.informer import ChangeType
from sampan.client.keys import ObjectKey, key_of
from sampan.client.timeline import Timeline
from sampan.controllers.context import Context
from sampan.controllers.daemonset import facts
from sampan.controllers.daemonset.plan import Observed, Plan, plan, plan_status
from sampan.controllers.workload import revisions
from sampan.controllers.workload.owner import PodOwner
from sampan.controllers.workload.pods import Outcome, is_terminating_namespace, pod_from_template, slow_start
from sampan.controllers.workload.revisions import Collision, Revisions

#: the ServiceAccount; Events come from ``daemonset-controller``
NAME: Final = "daemon-set-controller"
SOURCE: Final = "daemonset-controller"


class FailedPods:
    """How long a node's failed pods of one DaemonSet wait to be replaced: twice as long each time (seconds)."""

    FIRST, LONGEST, MOST = 1.0, 15 * 60.0, 10_000

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._noted: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def wait(self, uid: str, node: str) -> float:
        since, pause = self._noted.get((uid, node), (-math.inf, 0.0))
        return max(0.0, since + pause - self._timeline.monotonic())

    def note(self, uid: str, node: str) -> None:
        now, key = self._timeline.monotonic(), (uid, node)
        since, pause = self._noted.pop(key, (-math.inf, 0.0))
        long_ago = now - since > 2 * self.LONGEST
        self._noted[key] = (now, self.FIRST if long_ago else min(2 * pause, self.LONGEST))
        if len(self._noted) > self.MOST:
            self._noted.popitem(last=False)


class DaemonSetController:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, SOURCE)
        self._owner = PodOwner(context.informers, self._client, self._recorder, DAEMON_SETS, _selector)
        self._revisions = Revisions(context.informers, self._client, DAEMON_SETS, _selector)
        self._nodes = context.informers.informer(NODES)
        self._failed = FailedPods(Timeline.of(context.clock))
        #: where each runs, with the generation that says so; by UID
        self._placements: dict[str, tuple[int | None, facts.Placement]] = {}
        self._controller: Controller[ObjectKey] = Controller(
            SOURCE, self.sync, informers=[self._nodes, self._owner.pods]
        )
        self._owner.feed(self._controller)
        self._controller.watch(self._revisions.informer, self._owner.keys_of)
        self._owner.owners.add_handler(self._owner_changed)
        self._nodes.add_handler(self._node_changed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    def _owner_changed(self, kind: ChangeType, daemon_set: Obj, previous: Obj | None) -> None:
        if kind == "DELETED":
            self._placements.pop(objects.uid(daemon_set), None)

    def _node_changed(self, kind: ChangeType, node: Obj, previous: Obj | None) -> None:
        """A change of labels or taints concerns the DaemonSets that judge the node otherwise than before."""
        if kind == "MODIFIED" and previous is not None and facts.placing_facts(node) == facts.placing_facts(previous):
            return
        for daemon_set in self._owner.owners.list():
            placement = self._placement(daemon_set)
            before = placement.verdict(previous) if kind == "MODIFIED" and previous is not None else None
            if before is None or before != placement.verdict(node):
                self._controller.enqueue(key_of(daemon_set), self._owner.patience(objects.uid(daemon_set)))

    def _placement(self, daemon_set: Obj) -> facts.Placement:
        uid, generation = objects.uid(daemon_set), whole(part(daemon_set, "metadata"), "generation")
        known = self._placements.get(uid)
        if known is None or known[0] != generation or generation is None:
            known = self._placements[uid] = generation, facts.Placement(daemon_set)
        return known[1]

    async def sync(self, key: ObjectKey) -> Result:
        daemon_set = self._owner.owners.get(*key)
        if daemon_set is None:
            return DONE
        if _selector(daemon_set).everything:
            message = "This daemon set is selecting all pods. A non-empty selector is required."
            self._recorder.event(daemon_set, "Warning", "SelectingAll", message)
            return DONE
        if objects.is_deleting(daemon_set):
            return DONE
        try:
            known = await self._revisions.settle(daemon_set, await self._revisions.of(daemon_set))
        except Collision:
            await self._owner.write_status(daemon_set, revisions.with_collision(_whole_status(daemon_set)))
            return Result(0.01)
        revision = revisions.hash_of(known.current)
        await self._owner.claim(daemon_set)
        await self._placement(daemon_set).learn(self._nodes.list())
        observed = self._observe(daemon_set, revision)
        steps = plan(observed)
        outcome = await self._apply(daemon_set, revision, steps)
        if outcome.error is not None and is_terminating_namespace(outcome.error):
            return DONE
        used = {revisions.hash_of(pod) for pod in self._owner.owned(daemon_set)}
        limit = whole(part(daemon_set, "spec"), "revisionHistoryLimit")
        await self._revisions.forget(known, limit, lambda old: revisions.hash_of(old) in used)
        wait = await self._write_status(key, observed, steps)
        if outcome.error is not None:
            raise outcome.error
        return Result(min((seconds for seconds in (wait, steps.wait) if seconds), default=None))

    def _observe(self, daemon_set: Obj, revision: str) -> Observed:
        uid = daemon_set["metadata"]["uid"]
        nodes = {node["metadata"]["name"]: node for node in self._nodes.list()}
        owned = self._owner.owned(daemon_set)
        return Observed(
            daemon_set,
            nodes,
            owned,
            revision,
            self._clock.now(),
            lambda node: self._failed.wait(uid, node),
            self._placement(daemon_set),
        )

    async def _apply(self, daemon_set: Obj, revision: str, steps: Plan) -> Outcome:
        meta = daemon_set["metadata"]
        for node, pod in steps.ended:
            name = f"{meta['namespace']}/{pod['metadata']['name']}"
            if podstatus.phase(pod) == "Failed":
                self._failed.note(meta["uid"], node)
                message = f"Found failed daemon pod {name} on node {node}, will try to kill it"
                self._recorder.event(daemon_set, "Warning", "FailedDaemonPod", message)
            else:
                message = f"Found succeeded daemon pod {name} on node {node}, will try to delete it"
                self._recorder.event(daemon_set, "Normal", "SucceededDaemonPod", message)
        template = facts.template(daemon_set, revision)

        async def create(index: int) -> None:
            made = facts.for_node(template, steps.create[index])
            await self._owner.control.create(daemon_set, pod_from_template(made, daemon_set, DAEMON_SETS))

        created = await slow_start(len(steps.create), create)
        deleted = await self._owner.control.delete_many(daemon_set, steps.delete) if steps.delete else Outcome()
        return created if created.error is not None else deleted

    async def _write_status(self, key: ObjectKey, observed: Observed, steps: Plan) -> float | None:
        daemon_set = self._owner.owners.get(*key)
        if daemon_set is None or objects.uid(daemon_set) != objects.uid(observed.daemon_set):
            return None
        if not steps.empty or daemon_set is not observed.daemon_set:
            observed = self._observe(daemon_set, observed.revision)  # the pods just written count
        status, wait = plan_status(observed)
        await self._owner.write_status(daemon_set, status)
        return wait


def _selector(daemon_set: Obj) -> labels.Selector:
    return labels.from_label_selector(part(daemon_set, "spec").get("selector"))


def _whole_status(daemon_set: Obj) -> Obj:
    """What a status always shows, if there was none yet."""
    shown = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
    return dict.fromkeys(shown, 0) | part(daemon_set, "status")
