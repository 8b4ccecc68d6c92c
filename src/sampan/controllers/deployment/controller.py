"""The shell of the Deployment controller: snapshot, plan, apply in order, look again, write status last."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sampan.api import labels, objects
from sampan.api.errors import AlreadyExists, ApiError, NotFound
from sampan.api.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from sampan.api.types import Condition, Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, key_of, own_key
from sampan.controllers.context import Context
from sampan.controllers.deployment import facts
from sampan.controllers.deployment.plan import (
    Action,
    AnnotateSet,
    CreateSet,
    DeleteSet,
    Observed,
    ScaleSet,
    SetRevision,
    plan,
)
from sampan.controllers.deployment.status import create_failed_condition, created_condition, plan_status, with_collision
from sampan.controllers.workload import claims
from sampan.controllers.workload.pods import is_terminating_namespace
from sampan.controllers.workload.selecting import Selectors

log = logging.getLogger(__name__)

NAME = "deployment-controller"
#: A plan has few stages; more rounds than this in one sync would be a loop.
MAX_ROUNDS = 8


class DeploymentController:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        self._deployments = context.informers.informer(DEPLOYMENTS)
        self._sets = context.informers.informer(REPLICA_SETS)
        self._pods = context.informers.informer(PODS)
        claims.add_claim_indexes(self._sets)
        claims.add_claim_indexes(self._pods)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync)
        self._selecting = Selectors(
            self._deployments, lambda deployment: labels.from_label_selector(deployment["spec"].get("selector"))
        )
        self._controller.watch(self._deployments, own_key)
        self._controller.watch(self._sets, self._keys_of_set)
        self._controller.watch(self._pods, self._keys_of_pod)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    async def sync(self, key: ObjectKey) -> Result:
        deployment = self._deployments.get(*key)
        if deployment is None:
            return DONE
        selector = deployment["spec"].get("selector") or {}
        if labels.from_label_selector(selector).everything:
            message = "This deployment is selecting all pods. A non-empty selector is required."
            self._recorder.event(deployment, "Warning", "SelectingAll", message)
            return DONE
        uid = deployment["metadata"]["uid"]
        fresh: Condition | None = None
        for _ in range(MAX_ROUNDS):
            observed = await self._snapshot(key, uid)
            if observed is None:
                return DONE
            actions = plan(observed)
            if not actions:
                return await self._write_status(observed, fresh)
            for action in actions:
                fresh = await self._apply(observed.deployment, action) or fresh
        log.warning("%s: %s is still changing after %d rounds", NAME, key, MAX_ROUNDS)
        return Result(requeue_after_seconds=1)

    async def _snapshot(self, key: ObjectKey, uid: str) -> Observed | None:
        deployment = self._deployments.get(*key)
        if deployment is None or deployment["metadata"]["uid"] != uid:
            return None
        selector = labels.from_label_selector(deployment["spec"]["selector"])
        claimed = claims.plan_claims(deployment, selector, claims.candidates(self._sets, deployment))
        if await claims.apply_claims(self._client, deployment, DEPLOYMENTS, self._sets, claimed):
            claimed = claims.plan_claims(deployment, selector, claims.candidates(self._sets, deployment))
        pods = {
            rs["metadata"]["uid"]: list(self._pods.by_index(claims.CONTROLLER_INDEX, rs["metadata"]["uid"]))
            for rs in claimed.owned
        }
        return Observed(deployment, claimed.owned, pods)

    async def _write_status(self, observed: Observed, fresh: Condition | None) -> Result:
        deployment = observed.deployment
        planned = plan_status(observed, fresh, self._clock.now())
        await self._put_status(deployment, planned.status)
        return Result(planned.requeue_after_seconds)

    async def _put_status(self, deployment: Obj, status: Obj) -> None:
        if status == (deployment.get("status") or {}):
            return
        new = objects.deep_copy(deployment)
        new["status"] = objects.deep_copy(status)
        try:
            written = await self._client.update_status(DEPLOYMENTS, new)
        except NotFound:
            return
        await observe(self._deployments, written)

    async def _apply(self, deployment: Obj, action: Action) -> Condition | None:
        match action:
            case CreateSet(replica_set):
                return await self._create(deployment, replica_set)
            case ScaleSet(replica_set, size):
                await self._scale(deployment, replica_set, size)
            case AnnotateSet(replica_set, annotations, min_ready_seconds):
                patch: Obj = {"metadata": {"annotations": annotations}}
                if min_ready_seconds is not None:
                    patch["spec"] = {"minReadySeconds": min_ready_seconds}
                await self._patch_set(replica_set, patch)
            case DeleteSet(replica_set):
                await self._delete(replica_set)
            case SetRevision(revision):
                # PUT, not PATCH: the controller's role has update alone, as upstream's.
                new = objects.deep_copy(deployment)
                new["metadata"].setdefault("annotations", {})[facts.REVISION] = revision
                await observe(self._deployments, await self._client.update(DEPLOYMENTS, new))
        return None

    async def _create(self, deployment: Obj, replica_set: Obj) -> Condition | None:
        name, size = replica_set["metadata"]["name"], facts.replicas(replica_set)
        try:
            created = await self._client.create(REPLICA_SETS, replica_set)
        except AlreadyExists:
            await self._resolve_name(deployment, replica_set)
            return None
        except ApiError as error:
            if is_terminating_namespace(error):
                raise
            condition = create_failed_condition(name, error.message, self._clock.now())
            self._recorder.event(deployment, "Warning", condition["reason"], condition["message"])
            observed = await self._snapshot(key_of(deployment), deployment["metadata"]["uid"])
            if observed is not None and facts.deadline_seconds(deployment) is not None:
                await self._write_status(observed, condition)
            raise
        await observe(self._sets, created)
        if size:
            self._scaled(deployment, name, 0, size)
        return created_condition(name, self._clock.now())

    async def _resolve_name(self, deployment: Obj, replica_set: Obj) -> None:
        """The name is taken: by our own earlier create, or by another template of the same hash."""
        meta = replica_set["metadata"]
        present = await self._client.get(REPLICA_SETS, meta["name"], meta["namespace"])
        template = deployment["spec"]["template"]
        if objects.is_controlled_by(present, deployment) and facts.same_template(present["spec"]["template"], template):
            await observe(self._sets, present)
            return
        await self._put_status(deployment, with_collision(deployment))

    async def _scale(self, deployment: Obj, replica_set: Obj, size: int) -> None:
        before = facts.replicas(replica_set)
        patch: Obj = {"metadata": {"annotations": facts.replicas_annotations(deployment)}}
        if size != before:
            patch["spec"] = {"replicas": size}
        await self._patch_set(replica_set, patch)
        if size != before:
            self._scaled(deployment, replica_set["metadata"]["name"], before, size)

    async def _patch_set(self, replica_set: Obj, patch: Obj) -> None:
        meta = replica_set["metadata"]
        patch["metadata"].update(uid=meta["uid"], resourceVersion=meta["resourceVersion"])
        written = await self._client.patch(REPLICA_SETS, meta["name"], patch, meta["namespace"])
        await observe(self._sets, written)

    async def _delete(self, replica_set: Obj) -> None:
        meta = replica_set["metadata"]
        try:
            answer = await self._client.delete(
                REPLICA_SETS, meta["name"], meta["namespace"], uid=meta["uid"], resource_version=meta["resourceVersion"]
            )
        except NotFound:
            return
        await observe(self._sets, answer, meta["namespace"])

    def _scaled(self, deployment: Obj, name: str, before: int, after: int) -> None:
        direction = "up" if after > before else "down"
        message = f"Scaled {direction} replica set {name} from {before} to {after}"
        self._recorder.event(deployment, "Normal", "ScalingReplicaSet", message)

    def _keys_of_set(self, rs: Obj) -> Iterable[ObjectKey]:
        controller = objects.controller_of(rs)
        namespace = rs["metadata"]["namespace"]
        if controller is not None:
            return (ObjectKey(namespace, controller["name"]),) if controller.get("kind") == "Deployment" else ()
        return self._selecting.matching(rs)

    def _keys_of_pod(self, pod: Obj) -> Iterable[ObjectKey]:
        """Only Recreate waits for pods themselves; all else comes by the status of the sets."""
        controller = objects.controller_of(pod)
        if controller is None or controller.get("kind") != "ReplicaSet" or not objects.is_deleting(pod):
            return ()
        rs = self._sets.get(pod["metadata"]["namespace"], controller["name"])
        owner = objects.controller_of(rs) if rs is not None else None
        if owner is None or owner.get("kind") != "Deployment":
            return ()
        deployment = self._deployments.get(pod["metadata"]["namespace"], owner["name"])
        return (key_of(deployment),) if deployment is not None and not facts.is_rolling(deployment) else ()
