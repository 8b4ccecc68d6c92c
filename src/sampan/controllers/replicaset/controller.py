"""The shell of the ReplicaSet and ReplicationController controllers: snapshot, claim, plan, apply, status."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api.pods import status as podstatus
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result
from sampan.client.keys import ObjectKey
from sampan.controllers.context import Context
from sampan.controllers.replicaset.adapters import Adapter
from sampan.controllers.replicaset.plan import (
    Failure,
    Observed,
    plan,
    plan_status,
    reader,
    wanted_replicas,
)
from sampan.controllers.workload import ranking
from sampan.controllers.workload.owner import PodOwner
from sampan.controllers.workload.pods import Outcome, is_terminating_namespace
from sampan.controllers.workload.remembered import Readers, Remembered
from sampan.metrics import Distribution, current
from sampan.metrics.counting import exponential

AGES = "replicaset_controller_sorting_deletion_age_ratio"


class ReplicaSetController:
    def __init__(self, context: Context, adapter: Adapter) -> None:
        self._clock = context.clock
        client = context.client_for(adapter.controller_name)
        self._recorder = context.recorder(client, adapter.controller_name)
        self._owner = PodOwner(
            context.informers,
            client,
            self._recorder,
            adapter.resource,
            adapter.selector,
            # As upstream: a pod that has ended stays whose it is, and does not go with a set that never made it.
            may_change_hands=podstatus.is_active,
        )
        self._standings = Readers(self._owner.owners, reader)
        self._controller: Controller[ObjectKey] = Controller(adapter.controller_name, self.sync)
        self._ages = current().of(
            AGES,
            lambda: Distribution(
                AGES,
                "Ages of Ready pods that were chosen to go, by that of the youngest Ready pod: below 2 as a rule",
                exponential(0.25, 2, 6),
            ),
        )
        self._owner.feed(self._controller)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    async def sync(self, key: ObjectKey) -> Result:
        owner = self._owner.owners.get(*key)
        if owner is None:
            return DONE
        owned = await self._owner.claim(owner)
        # Who shares a node with whom matters only when some have to go.
        standings, traits = self._standings.of(owner, len(owned)), Remembered(ranking.traits)
        await standings.learn(owned)
        related: Sequence[Obj] = ()
        if len(owned) > wanted_replicas(owner):
            await traits.learn(owned)
            related = self._owner.siblings_pods(owner, owned)
        steps = plan(Observed(owner, owned, related, standings, traits), self._clock.now())
        outcome, failure = Outcome(), None
        if steps.create:
            outcome = await self._owner.control.create_many(owner, owner["spec"].get("template") or {}, steps.create)
            if outcome.error:
                failure = Failure("FailedCreate", outcome.error.message)
        elif steps.delete:
            for ratio in steps.age_ratios:
                self._ages.observe(ratio)
            outcome = await self._owner.control.delete_many(owner, steps.delete)
            if outcome.error:
                failure = Failure("FailedDelete", outcome.error.message)
        if outcome.error is not None and is_terminating_namespace(outcome.error):
            return DONE
        result = await self._write_status(key, owner["metadata"]["uid"], failure)
        if outcome.error is not None:
            raise outcome.error
        return result

    async def _write_status(self, key: ObjectKey, uid: str, failure: Failure | None) -> Result:
        # A second look: the pods just written count.
        owner = self._owner.owners.get(*key)
        if owner is None or owner["metadata"]["uid"] != uid:
            return DONE
        owned = self._owner.owned(owner)
        observed = Observed(owner, owned, (), self._standings.of(owner, len(owned)))
        status, wait_seconds = plan_status(observed, failure, self._clock.now())
        await self._owner.write_status(owner, status)
        return Result(wait_seconds)
