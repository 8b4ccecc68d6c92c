"""Which objects a controller owns, adopts and lets go (upstream ``controller_ref_manager.go``).

``plan_claims`` decides and is pure; ``apply_claims`` writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.labels import Selector
from sampan.api.resources import Resource
from sampan.api.types import Obj, OwnerReference
from sampan.client.client import Client
from sampan.client.controller import observe
from sampan.client.informer import Informer
from sampan.records import dataclass

CONTROLLER_INDEX = "controller-uid"
ORPHAN_INDEX = "orphans-of-namespace"

Verdict = Literal["owned", "adopt", "release", "another's"]


@dataclass(frozen=True, slots=True)
class Claims:
    owned: list[Obj]
    adopt: list[Obj]
    release: list[Obj]


def controller_reference(owner: Obj, resource: Resource) -> OwnerReference:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def plan_claims(
    owner: Obj, selector: Selector, candidates: Iterable[Obj], *, is_member: Callable[[Obj], bool] | None = None
) -> Claims:
    """Sorts candidates of the owner's namespace. A deleting owner keeps what it has and claims nothing. ``is_member``:
    what an object must be besides selected."""
    judge = judging(owner, selector, is_member)
    return sort_claims((obj, judge(obj)) for obj in candidates)


def judging(
    owner: Obj,
    selector: Selector,
    is_member: Callable[[Obj], bool] | None = None,
    may_change_hands: Callable[[Obj], bool] = lambda obj: True,
) -> Callable[[Obj], Verdict]:
    """What is to become of one candidate after the other; the same as long as owner's spec and object are. What may not
    change hands is neither adopted nor released."""
    uid, deleting, selects = owner["metadata"]["uid"], objects.is_deleting(owner), selector.matches

    def judge(obj: Obj) -> Verdict:
        matches = selects(obj["metadata"].get("labels") or {}) and (is_member is None or is_member(obj))
        controller = objects.controller_of(obj)
        if controller is not None:
            if controller.get("uid") != uid:
                return "another's"
            if matches:
                return "owned"
            return "another's" if deleting or not may_change_hands(obj) else "release"
        may_adopt = matches and not deleting and not objects.is_deleting(obj) and may_change_hands(obj)
        return "adopt" if may_adopt else "another's"

    return judge


def sort_claims(judged: Iterable[tuple[Obj, Verdict]]) -> Claims:
    claims = Claims([], [], [])
    for obj, verdict in judged:
        if verdict == "owned":
            claims.owned.append(obj)
        elif verdict == "adopt":
            claims.adopt.append(obj)
        elif verdict == "release":
            claims.release.append(obj)
    return claims


def add_claim_indexes(informer: Informer) -> None:
    """Indexes that find an owner's objects and a namespace's orphans without a scan."""
    informer.add_index(CONTROLLER_INDEX, _controller_uid, holds=True)
    informer.add_index(ORPHAN_INDEX, _orphan_namespace, holds=True)


def candidates(informer: Informer, owner: Obj) -> list[Obj]:
    return [*controlled(informer, owner), *orphans(informer, owner)]


def controlled(informer: Informer, owner: Obj) -> Sequence[Obj]:
    return informer.by_index(CONTROLLER_INDEX, owner["metadata"]["uid"])


def orphans(informer: Informer, owner: Obj) -> Sequence[Obj]:
    """Those that it may adopt, of its namespace."""
    return informer.by_index(ORPHAN_INDEX, owner["metadata"].get("namespace", ""))


def _controller_uid(obj: Obj) -> Iterable[str]:
    controller = objects.controller_of(obj)
    return (controller["uid"],) if controller is not None else ()


def _orphan_namespace(obj: Obj) -> Iterable[str]:
    return (obj["metadata"].get("namespace", ""),) if objects.controller_of(obj) is None else ()


async def apply_claims(
    client: Client,
    owner: Obj,
    owner_resource: Resource,
    informer: Informer,
    claims: Claims,
    *,
    on_released: Callable[[Obj], None] | None = None,
    finalizer: str = "",
) -> bool:
    """Writes adoptions and releases. True when anything was written: take a new snapshot then.

    ``finalizer``: what comes with an adoption and goes with a release. Every write carries the object's
    resourceVersion; NotFound means that there is nothing left to claim.
    """
    if not claims.adopt and not claims.release:
        return False
    if claims.adopt:
        # The informer may be behind: adopting for an owner that is going would keep the GC from its work.
        meta = owner["metadata"]
        live = await client.get(owner_resource, meta["name"], meta.get("namespace"))
        if live["metadata"]["uid"] != meta["uid"] or objects.is_deleting(live):
            return False
    for obj in claims.adopt:
        owners = [*objects.owner_references(obj), controller_reference(owner, owner_resource)]
        await _write_owners(client, informer, obj, owners, {*objects.finalizers(obj), finalizer})
    for obj in claims.release:
        owners = [ref for ref in objects.owner_references(obj) if ref.get("uid") != owner["metadata"]["uid"]]
        await _write_owners(client, informer, obj, owners, {*objects.finalizers(obj)} - {finalizer})
        if on_released is not None:
            on_released(obj)
    return True


async def _write_owners(
    client: Client, informer: Informer, obj: Obj, owners: list[OwnerReference], finalizers: set[str]
) -> None:
    meta = obj["metadata"]
    patch: Obj = {
        "metadata": {
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
            "ownerReferences": objects.deep_copy(owners) or None,
        }
    }
    finalizers.discard("")
    if finalizers != set(objects.finalizers(obj)):
        patch["metadata"]["finalizers"] = sorted(finalizers) or None
    try:
        written = await client.patch(informer.resource, meta["name"], patch, meta.get("namespace"))
    except NotFound:
        return
    await observe(informer, written, meta.get("namespace", ""))
