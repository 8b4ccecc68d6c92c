"""The shell that owners of pods have in common: whose pod it is, which pods are mine, and a status written last.

A controller supplies its resource and how its objects select; plans and their order stay its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Final

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.labels import Selector
from sampan.api.resources import PODS, Resource
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.controller import Controller, observe
from sampan.client.events import EventRecorder
from sampan.client.informer import ChangeType, InformerFactory
from sampan.client.keys import ObjectKey, key_of
from sampan.controllers.workload import claims
from sampan.controllers.workload.pods import PodControl
from sampan.controllers.workload.remembered import PIECE, Readers
from sampan.controllers.workload.selecting import Selectors

#: Each look at an owner costs as much as it has pods: the more there are, the more of their news it takes at once.
_FEW: Final = 50
_SECONDS_A_POD: Final = 0.0001
_LONGEST_PAUSE: Final = 1.0


class PodOwner:
    """``owners`` and ``pods`` are the informers; ``control`` writes pods."""

    def __init__(
        self,
        informers: InformerFactory,
        client: Client,
        recorder: EventRecorder,
        resource: Resource,
        selector_of: Callable[[Obj], Selector],
        *,
        is_member: Callable[[Obj, Obj], bool] | None = None,
        may_change_hands: Callable[[Obj], bool] = lambda pod: True,
        finalizer: str = "",
    ) -> None:
        """``is_member(owner, pod)``: what a pod must be besides selected (its name, of a StatefulSet).
        ``may_change_hands``: which pods it adopts, or lets go. ``finalizer``: what its pods bear."""
        self._client, self._resource = client, resource
        self._finalizer = finalizer
        self.owners = informers.informer(resource)
        self.pods = informers.informer(PODS)
        claims.add_claim_indexes(self.owners)
        claims.add_claim_indexes(self.pods)
        self.control = PodControl(client, self.pods, resource, recorder)
        self._selecting = Selectors(self.owners, selector_of)
        #: what was planned last for an owner, by its UID, with what that stood on: nothing is planned twice
        self._planned: dict[str, tuple[Obj, int, int, claims.Claims]] = {}

        def judging(owner: Obj) -> Callable[[Obj], claims.Verdict]:
            member = None if is_member is None else partial(is_member, owner)
            return claims.judging(owner, selector_of(owner), member, may_change_hands)

        self._judging = judging
        #: what was said of the pods that an owner has; of the namespace's orphans nothing is kept
        self._judged = Readers(self.owners, judging)
        self.owners.add_handler(self._forget)

    def keys_of(self, obj: Obj) -> Iterable[ObjectKey]:
        """The owner of a pod, or of a revision, or whoever may adopt it. An owner that is seen later looks for orphans
        itself."""
        controller = objects.controller_of(obj)
        if controller is None:
            return self._selecting.matching(obj)
        if controller.get("kind") == self._resource.kind and controller.get("apiVersion") == self._resource.api_version:
            return (ObjectKey(obj["metadata"]["namespace"], controller["name"]),)
        return ()

    def feed(self, controller: Controller[ObjectKey]) -> None:
        """Has the controller look at owners: at once when they change, with patience when their pods do, or their
        status, which is mostly the controller's own writing."""
        controller.watch(self.pods, self.keys_of, self.patience_with)

        def changed(kind: ChangeType, owner: Obj, previous: Obj | None) -> None:
            own_status = kind == "MODIFIED" and previous is not None and _differ_in_status_alone(owner, previous)
            controller.enqueue(key_of(owner), self.patience(objects.uid(owner)) if own_status else 0.0)

        controller.wait_for(self.owners)
        self.owners.add_handler(changed)

    def patience(self, owner_uid: str) -> float:
        """For how many seconds an owner may wait for more news of its pods before it looks at them all."""
        count = self.pods.count(claims.CONTROLLER_INDEX, owner_uid)
        return min(count * _SECONDS_A_POD, _LONGEST_PAUSE) if count >= _FEW else 0.0

    def patience_with(self, pod: Obj) -> float:
        """The same, for the owner of a pod."""
        controller = objects.controller_of(pod)
        return 0.0 if controller is None else self.patience(controller["uid"])

    def is_there(self, owner: Obj) -> bool:
        """It may have gone since it was looked up: then nothing is to be kept of it, for nobody would forget that."""
        present = self.owners.get(owner["metadata"].get("namespace", ""), owner["metadata"]["name"])
        return present is not None and objects.uid(present) == objects.uid(owner)

    def owned(self, owner: Obj) -> Sequence[Obj]:
        """The pods that are the owner's and that it still selects."""
        return self._plan_claims(owner).owned

    async def claim(self, owner: Obj) -> Sequence[Obj]:
        """The same, after orphans have been adopted and others released."""
        own = claims.controlled(self.pods, owner)
        if len(own) > PIECE:
            await self._judged.of(owner, len(own)).learn(own)
        planned = self._plan_claims(owner)
        if await claims.apply_claims(
            self._client, owner, self._resource, self.pods, planned, finalizer=self._finalizer
        ):
            planned = self._plan_claims(owner)
        return planned.owned

    def siblings_pods(self, owner: Obj, own: Sequence[Obj]) -> Sequence[Obj]:
        """The pods of all owners that share this one's controller (a Deployment); else its own."""
        controller = objects.controller_of(owner)
        if controller is None:
            return own
        return [
            pod
            for sibling in self.owners.by_index(claims.CONTROLLER_INDEX, controller["uid"])
            for pod in self.pods.by_index(claims.CONTROLLER_INDEX, sibling["metadata"]["uid"])
        ]

    async def write_status(self, owner: Obj, status: Obj) -> None:
        """Only if it differs; an owner that is gone needs none."""
        if status == owner.get("status"):
            return
        new = objects.deep_copy(owner)
        new["status"] = status
        try:
            written = await self._client.update_status(self._resource, new)
        except NotFound:
            return
        await observe(self.owners, written)

    def _forget(self, kind: ChangeType, owner: Obj, previous: Obj | None) -> None:
        if kind == "DELETED":
            self._planned.pop(objects.uid(owner), None)

    def _plan_claims(self, owner: Obj) -> claims.Claims:
        meta = owner["metadata"]
        own = self.pods.version(claims.CONTROLLER_INDEX, meta["uid"])
        orphans = self.pods.version(claims.ORPHAN_INDEX, meta.get("namespace", ""))
        before = self._planned.get(meta["uid"])
        if before is not None and before[0] is owner and before[1:3] == (own, orphans):
            return before[3]
        pods, judge = claims.controlled(self.pods, owner), self._judging(owner)
        planned = claims.sort_claims(
            chain(
                zip(pods, self._judged.of(owner, len(pods))(pods), strict=True),
                ((pod, judge(pod)) for pod in claims.orphans(self.pods, owner)),
            )
        )
        if self.is_there(owner):
            self._planned[meta["uid"]] = owner, own, orphans, planned
        return planned


def _differ_in_status_alone(owner: Obj, previous: Obj) -> bool:
    """Of an object that counts the generations of its spec."""
    now, before = owner["metadata"], previous["metadata"]
    return "generation" in now and all(
        now.get(field) == before.get(field)
        for field in ("generation", "uid", "deletionTimestamp", "labels", "annotations", "ownerReferences")
    )
