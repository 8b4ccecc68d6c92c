"""ControllerRevisions: what an owner made its pods from, kept for going back (upstream ``pkg/controller/history``).

The first half is pure; ``Revisions`` reads and writes. One revision holds the template as a patch of the owner, which
is what ``kubectl rollout undo`` sends back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sampan.api import labels, objects
from sampan.api.errors import AlreadyExists, NotFound
from sampan.api.reading import part, text_map, whole
from sampan.api.resources import CONTROLLER_REVISIONS, Resource
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.controller import observe
from sampan.client.informer import InformerFactory
from sampan.controllers.workload import claims, history

#: of pods and revisions: which revision it is
HASH_LABEL: Final = "controller-revision-hash"
#: An owner's name is cut to this in the names of its revisions (``ControllerRevisionName``).
_LONGEST_PREFIX: Final = 223


def template_of(owner: Obj) -> Obj:
    """What a revision of the owner holds: a strategic merge patch that puts its template back."""
    template = objects.deep_copy(part(part(owner, "spec"), "template"))
    return {"spec": {"template": {**template, "$patch": "replace"}}}


def number_of(revision: Obj) -> int:
    return whole(revision, "revision") or 0


def name_of(revision: Obj) -> str:
    return str(revision["metadata"]["name"])


def hash_of(obj: Obj) -> str:
    """Of a pod or a revision; "" when it does not say."""
    return text_map(part(obj, "metadata"), "labels").get(HASH_LABEL, "")


def holds(revision: Obj, data: Obj) -> bool:
    """Whether it is of this template."""
    return objects.equal_semantics(part(revision, "data"), data)


def make(owner: Obj, resource: Resource, number: int, collisions: int) -> Obj:
    """The revision of the owner's present template."""
    data = template_of(owner)
    digest = history.short_hash(data, collisions)
    meta = owner["metadata"]
    template_labels = text_map(part(part(part(owner, "spec"), "template"), "metadata"), "labels")
    made: Obj = {
        "name": f"{meta['name'][:_LONGEST_PREFIX]}-{digest}",
        "namespace": meta["namespace"],
        "labels": {**template_labels, HASH_LABEL: digest},
        "ownerReferences": [claims.controller_reference(owner, resource)],
    }
    if annotations := text_map(meta, "annotations"):
        made["annotations"] = dict(annotations)
    return {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": made,
        "data": data,
        "revision": number,
    }


@dataclass(frozen=True, slots=True)
class Known:
    """``old``: the owner's other revisions, oldest first."""

    current: Obj
    old: Sequence[Obj]


class Collision(Exception):
    """Another template has the same short name: the owner's ``status.collisionCount`` must grow."""


class Revisions:
    """The revisions of owners of one resource. ``selector_of``: as the owners select their pods."""

    def __init__(
        self,
        informers: InformerFactory,
        client: Client,
        resource: Resource,
        selector_of: Callable[[Obj], labels.Selector],
    ) -> None:
        self._client, self._resource, self._selector_of = client, resource, selector_of
        self.informer = informers.informer(CONTROLLER_REVISIONS)
        claims.add_claim_indexes(self.informer)

    async def of(self, owner: Obj) -> list[Obj]:
        """The owner's, oldest first, after orphans have been adopted and others released."""
        planned = self._plan(owner)
        if await claims.apply_claims(self._client, owner, self._resource, self.informer, planned):
            planned = self._plan(owner)
        return sorted(planned.owned, key=lambda revision: (number_of(revision), name_of(revision)))

    async def settle(self, owner: Obj, present: Sequence[Obj]) -> Known:
        """The revision of the owner's template, made or put last if need be. Raises Collision, ApiError."""
        data = template_of(owner)
        equal = [revision for revision in present if holds(revision, data)]
        highest = max(map(number_of, present), default=0)
        if not equal:
            current = await self._create(owner, highest + 1)
            return Known(current, list(present))
        current = equal[-1]
        if number_of(current) < highest:  # rolled back: it is the newest again
            current = await self._renumber(current, highest + 1)
        return Known(current, [revision for revision in present if name_of(revision) != name_of(current)])

    async def forget(self, known: Known, limit: int | None, in_use: Callable[[Obj], bool]) -> None:
        """Deletes the oldest above the limit (``revisionHistoryLimit``) that nothing uses any more."""
        for revision in history.surplus(known.old, limit, number_of, lambda revision: not in_use(revision)):
            meta = revision["metadata"]
            try:
                answer = await self._client.delete(
                    CONTROLLER_REVISIONS, meta["name"], meta["namespace"], uid=meta["uid"]
                )
            except NotFound:
                continue
            await observe(self.informer, answer, meta["namespace"])

    async def _create(self, owner: Obj, number: int) -> Obj:
        collisions = whole(part(owner, "status"), "collisionCount") or 0
        wanted = make(owner, self._resource, number, collisions)
        meta = wanted["metadata"]
        try:
            made = await self._client.create(CONTROLLER_REVISIONS, wanted)
        except AlreadyExists as error:
            made = await self._client.get(CONTROLLER_REVISIONS, meta["name"], meta["namespace"])
            if not (holds(made, wanted["data"]) and objects.is_controlled_by(made, owner)):
                raise Collision from error
        await observe(self.informer, made)
        return made

    async def _renumber(self, revision: Obj, number: int) -> Obj:
        changed = await self._client.update(CONTROLLER_REVISIONS, {**revision, "revision": number})
        await observe(self.informer, changed)
        return changed

    def _plan(self, owner: Obj) -> claims.Claims:
        return claims.plan_claims(owner, self._selector_of(owner), claims.candidates(self.informer, owner))


def with_collision(status: Mapping[str, Any]) -> Obj:
    """The status with one more collision counted."""
    return {**status, "collisionCount": (whole(status, "collisionCount") or 0) + 1}
