"""The shell of the ReplicaSet and ReplicationController controllers: snapshot, claim, plan, apply, status."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.resources import PODS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context
from sampan.controllers.replicaset.adapters import Adapter
from sampan.controllers.replicaset.plan import Failure, Observed, plan, plan_status
from sampan.controllers.workload import claims
from sampan.controllers.workload.pods import Outcome, PodControl, is_terminating_namespace
from sampan.controllers.workload.selecting import Selectors

log = logging.getLogger(__name__)


class ReplicaSetController:
    def __init__(self, context: Context, adapter: Adapter) -> None:
        self._adapter = adapter
        self._clock = context.clock
        self._client = context.client_for(adapter.controller_name)
        self._recorder = context.recorder(self._client, adapter.controller_name)
        self._sets = context.informers.informer(adapter.resource)
        self._pods = context.informers.informer(PODS)
        claims.add_claim_indexes(self._sets)
        claims.add_claim_indexes(self._pods)
        self._control = PodControl(self._client, self._pods, adapter.resource, self._recorder)
        self._controller: Controller[ObjectKey] = Controller(adapter.controller_name, self.sync)
        self._selecting = Selectors(self._sets, adapter.selector)
        self._controller.watch(self._sets, own_key)
        self._controller.watch(self._pods, self._keys_of_pod)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    async def sync(self, key: ObjectKey) -> Result:
        owner = self._sets.get(*key)
        if owner is None:
            return DONE
        selector = self._adapter.selector(owner)
        claimed = claims.plan_claims(owner, selector, claims.candidates(self._pods, owner))
        if await claims.apply_claims(self._client, owner, self._adapter.resource, self._pods, claimed):
            claimed = claims.plan_claims(owner, selector, claims.candidates(self._pods, owner))
        steps = plan(Observed(owner, claimed.owned, self._related(owner, claimed.owned)), self._clock.now())
        outcome, failure = Outcome(), None
        if steps.create:
            outcome = await self._control.create_many(owner, owner["spec"].get("template") or {}, steps.create)
            if outcome.error:
                failure = Failure("FailedCreate", outcome.error.message)
        elif steps.delete:
            outcome = await self._control.delete_many(owner, steps.delete)
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
        owner = self._sets.get(*key)
        if owner is None or owner["metadata"]["uid"] != uid:
            return DONE
        owned = claims.plan_claims(owner, self._adapter.selector(owner), claims.candidates(self._pods, owner)).owned
        template_labels = objects.get_path(owner, "spec", "template", "metadata", "labels", default={})
        observed = Observed(owner, owned, ())
        status, wait_seconds = plan_status(observed, template_labels, failure, self._clock.now())
        if status != owner.get("status"):
            new = objects.deep_copy(owner)
            new["status"] = status
            try:
                written = await self._client.update_status(self._adapter.resource, new)
            except NotFound:
                return DONE
            await observe(self._sets, written)
        return Result(wait_seconds)

    def _related(self, owner: Obj, own: list[Obj]) -> list[Obj]:
        """The pods of all sets that share this set's controller (a Deployment)."""
        controller = objects.controller_of(owner)
        if controller is None:
            return own
        related: list[Obj] = []
        for sibling in self._sets.by_index(claims.CONTROLLER_INDEX, controller["uid"]):
            related.extend(self._pods.by_index(claims.CONTROLLER_INDEX, sibling["metadata"]["uid"]))
        return related

    def _keys_of_pod(self, pod: Obj) -> Iterable[ObjectKey]:
        namespace = pod["metadata"]["namespace"]
        controller = objects.controller_of(pod)
        if controller is not None:
            resource = self._adapter.resource
            if controller.get("kind") == resource.kind and controller.get("apiVersion") == resource.api_version:
                return (ObjectKey(namespace, controller["name"]),)
            return ()
        # An orphan. A set that is seen later looks for orphans itself.
        return self._selecting.matching(pod)
