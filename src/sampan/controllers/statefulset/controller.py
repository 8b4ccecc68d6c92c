"""The shell of the StatefulSet controller: snapshot, revisions, plan, apply in order, status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sampan.api import labels, objects
from sampan.api.errors import AlreadyExists, ApiError, NotFound
from sampan.api.reading import part, text, whole
from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.client.keys import ObjectKey
from sampan.controllers.context import Context
from sampan.controllers.statefulset import facts
from sampan.controllers.statefulset.plan import (
    Action,
    CreateClaims,
    CreatePod,
    DeletePod,
    Observed,
    OwnClaim,
    RepairPod,
    TellConflict,
    plan,
    plan_status,
)
from sampan.controllers.workload import revisions
from sampan.controllers.workload.owner import PodOwner
from sampan.controllers.workload.pods import is_terminating_namespace, slow_start
from sampan.controllers.workload.remembered import Remembered
from sampan.controllers.workload.revisions import Collision, Known, Revisions

NAME: Final = "statefulset-controller"


class StatefulSetController:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        self._owner = PodOwner(
            context.informers, self._client, self._recorder, STATEFUL_SETS, _selector, is_member=facts.is_member
        )
        self._revisions = Revisions(context.informers, self._client, STATEFUL_SETS, _selector)
        #: what is known of each set's pods, with the generation for which it holds; by UID
        self._readers: dict[str, tuple[int | None, Remembered[facts.Standing]]] = {}
        self._claims = context.informers.informer(PERSISTENT_VOLUME_CLAIMS)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync)
        self._owner.feed(self._controller)
        self._owner.owners.add_handler(self._forget_reader)
        self._controller.watch(self._revisions.informer, self._owner.keys_of)
        self._controller.watch(self._claims, self._keys_of_claim)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    def _keys_of_claim(self, claim: Obj) -> Iterable[ObjectKey]:
        """The set whose claim this may be: its name ends in the set's and an ordinal, ``data-web-0``."""
        found = facts.split_name(claim["metadata"]["name"])
        if found is None:
            return
        namespace, rest = claim["metadata"]["namespace"], found[0]
        while rest:
            _, dash, rest = rest.partition("-")
            if dash and self._owner.owners.get(namespace, rest) is not None:
                yield ObjectKey(namespace, rest)

    async def sync(self, key: ObjectKey) -> Result:
        stateful_set = self._owner.owners.get(*key)
        if stateful_set is None:
            return DONE
        if objects.is_deleting(stateful_set):
            return Result(await self._write_status(key, stateful_set["metadata"]["uid"], _named(stateful_set)))
        try:
            known = await self._revisions.settle(stateful_set, await self._revisions.of(stateful_set))
        except Collision:
            await self._owner.write_status(stateful_set, _with_collision(stateful_set))
            return Result(0.01)
        await self._reader(stateful_set).learn(await self._owner.claim(stateful_set))
        actions = plan(self._observe(stateful_set, known))
        error = await self._apply(stateful_set, actions)
        if error is not None and is_terminating_namespace(error):
            return DONE
        wait = await self._write_status(key, stateful_set["metadata"]["uid"], known)
        if error is not None:
            raise error
        await self._forget(stateful_set, known)
        return Result(wait)

    def _observe(self, stateful_set: Obj, known: Known) -> Observed:
        namespace = stateful_set["metadata"]["namespace"]
        pods = self._owner.owned(stateful_set)
        named = text(part(stateful_set, "status"), "currentRevision")
        current = next(
            (old for old in known.old if revisions.name_of(old) == named), known.current
        )  # none yet: the set begins with what it has now
        template = objects.deep_copy(part(part(part(current, "data"), "spec"), "template"))
        template.pop("$patch", None)
        return Observed(
            stateful_set,
            pods,
            lambda name: self._claims.get(namespace, name),
            revisions.name_of(current),
            revisions.name_of(known.current),
            template,
            self._clock.now(),
            self._reader(stateful_set),
        )

    def _reader(self, stateful_set: Obj) -> Remembered[facts.Standing]:
        uid, generation = objects.uid(stateful_set), whole(part(stateful_set, "metadata"), "generation")
        known = self._readers.get(uid)
        if known is None or known[0] != generation or generation is None:
            known = generation, Remembered(lambda pod: facts.standing(stateful_set, pod))
            if self._owner.is_there(stateful_set):
                self._readers[uid] = known
        return known[1]

    def _forget_reader(self, kind: ChangeType, stateful_set: Obj, previous: Obj | None) -> None:
        if kind == "DELETED":
            self._readers.pop(objects.uid(stateful_set), None)

    async def _apply(self, stateful_set: Obj, actions: Sequence[Action]) -> ApiError | None:
        """The first error ends it. A parallel set's many creates, or deletes, go out in growing batches."""
        done = 0
        while done < len(actions):
            same = 1
            while done + same < len(actions) and type(actions[done + same]) is type(actions[done]):
                same += 1
            batch = actions[done : done + same]

            async def step(index: int, batch: Sequence[Action] = batch) -> None:
                await self._do(stateful_set, batch[index])

            outcome = await slow_start(len(batch), step)
            if outcome.error is not None:
                return outcome.error
            done += same
        return None

    async def _do(self, owner: Obj, action: Action) -> None:
        match action:
            case CreatePod(pod, claims):
                await self._create_claims(owner, pod, claims)
                await self._create_pod(owner, pod)
            case CreateClaims(pod, claims):
                await self._create_claims(owner, pod, claims)
            case DeletePod(pod):
                await self._delete_pod(owner, pod)
            case RepairPod(pod):
                try:
                    written = await self._client.update(PODS, pod)
                except ApiError as error:
                    self._tell(owner, "Update", f"Pod {pod['metadata']['name']}", error)
                    raise
                self._tell(owner, "Update", f"Pod {pod['metadata']['name']}")
                await observe(self._owner.pods, written)
            case OwnClaim(claim):
                await observe(self._claims, await self._client.update(PERSISTENT_VOLUME_CLAIMS, claim))
            case TellConflict(claim):
                message = (
                    f"PersistentVolumeClaim {claim['metadata']['name']} has a conflicting OwnerReference that acts as "
                    "a manging controller, the retention policy is ignored for this claim"
                )
                self._recorder.event(owner, "Warning", "ConflictingController", message)

    async def _create_pod(self, owner: Obj, pod: Obj) -> None:
        name = pod["metadata"]["name"]
        try:
            created = await self._client.create(PODS, pod)
        except AlreadyExists:
            raise  # somebody else's pod has the name: told by whoever looks for it
        except ApiError as error:
            if not is_terminating_namespace(error):
                self._tell(owner, "Create", f"Pod {name}", error)
            raise
        self._tell(owner, "Create", f"Pod {name}")
        await observe(self._owner.pods, created)

    async def _create_claims(self, owner: Obj, pod: Obj, claims: Sequence[Obj]) -> None:
        of_pod = pod["metadata"]["name"]
        for claim in claims:
            name, set_name = claim["metadata"]["name"], owner["metadata"]["name"]
            try:
                created = await self._client.create(PERSISTENT_VOLUME_CLAIMS, claim)
            except AlreadyExists:
                continue
            except ApiError as error:
                text_of = (
                    f"Create Claim {name} for Pod {of_pod} in StatefulSet {set_name} failed error: {error.message}"
                )
                self._recorder.event(owner, "Warning", "FailedCreate", text_of)
                raise
            message = f"Create Claim {name} Pod {of_pod} in StatefulSet {set_name} success"
            self._recorder.event(owner, "Normal", "SuccessfulCreate", message)
            await observe(self._claims, created)

    async def _delete_pod(self, owner: Obj, pod: Obj) -> None:
        meta = pod["metadata"]
        try:
            answer = await self._client.delete(PODS, meta["name"], meta["namespace"], uid=meta["uid"])
        except NotFound:
            return
        except ApiError as error:
            self._tell(owner, "Delete", f"Pod {meta['name']}", error)
            raise
        self._tell(owner, "Delete", f"Pod {meta['name']}")
        await observe(self._owner.pods, answer, meta["namespace"])

    def _tell(self, owner: Obj, verb: str, what: str, error: ApiError | None = None) -> None:
        told = f"{verb} {what} in StatefulSet {owner['metadata']['name']}"
        if error is None:
            self._recorder.event(owner, "Normal", f"Successful{verb}", f"{told} successful")
        else:
            self._recorder.event(owner, "Warning", f"Failed{verb}", f"{told} failed error: {error.message}")

    async def _write_status(self, key: ObjectKey, uid: str, known: Known) -> float | None:
        # A second look: the pods just written count.
        stateful_set = self._owner.owners.get(*key)
        if stateful_set is None or stateful_set["metadata"]["uid"] != uid:
            return None
        status, wait = plan_status(self._observe(stateful_set, known))
        await self._owner.write_status(stateful_set, status)
        return wait

    async def _forget(self, stateful_set: Obj, known: Known) -> None:
        used = {pod.revision for pod in self._reader(stateful_set)(self._owner.owned(stateful_set))}
        used.add(text(part(stateful_set, "status"), "currentRevision"))
        limit = whole(part(stateful_set, "spec"), "revisionHistoryLimit")
        await self._revisions.forget(known, limit, lambda old: revisions.name_of(old) in used)


def _selector(stateful_set: Obj) -> labels.Selector:
    return labels.from_label_selector(part(stateful_set, "spec").get("selector"))


def _with_collision(stateful_set: Obj) -> Obj:
    return {"replicas": 0, "availableReplicas": 0} | revisions.with_collision(part(stateful_set, "status"))


def _named(stateful_set: Obj) -> Known:
    """The revisions that its status names, whether or not they are there: were new ones made for a set that goes, the
    garbage collector would delete them, and so on."""
    status = part(stateful_set, "status")
    update, current = ({"metadata": {"name": text(status, f"{which}Revision")}} for which in ("update", "current"))
    return Known(update, [current])
