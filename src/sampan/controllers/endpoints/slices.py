"""Packs endpoints into EndpointSlices with few writes. Pure (upstream ``staging/endpointslice/reconciler.go``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

import orjson

from sampan.api import objects
from sampan.api.types import Obj, OwnerReference
from sampan.controllers.endpoints.facts import TRIGGER_TIME
from sampan.records import dataclass

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_NAME_CHARACTERS = 253


@dataclass(frozen=True, slots=True)
class Group:
    """Endpoints of one address family that share their ports."""

    ports: tuple[Obj, ...]
    endpoints: tuple[Obj, ...]

    @property
    def key(self) -> bytes:
        return port_key(self.ports)


def port_key(ports: Iterable[Obj]) -> bytes:
    return b"".join(sorted(orjson.dumps(port, option=orjson.OPT_SORT_KEYS) for port in ports))


@dataclass(frozen=True, slots=True)
class SliceMeta:
    """What all slices of a Service and a family share. ``annotations``: None leaves a slice those that it has."""

    namespace: str
    name_prefix: str
    address_type: str
    labels: Mapping[str, str]
    owner: OwnerReference
    annotations: Mapping[str, str] | None = None


def name_prefix(name: str) -> str:
    return f"{name}-" if len(name) < _NAME_CHARACTERS else name


@dataclass(frozen=True, slots=True)
class SlicePlan:
    create: list[Obj] = field(default_factory=list)
    update: list[Obj] = field(default_factory=list)
    delete: list[Obj] = field(default_factory=list)
    #: as the informer has them: not to be changed
    unchanged: list[Obj] = field(default_factory=list)

    def rendered(self) -> list[Obj]:
        """Those that will be written, and may be changed before."""
        return [*self.create, *self.update]


def plan_slices(
    meta: SliceMeta, groups: Sequence[Group], existing: Sequence[Obj], limit: int, *, heed_hints: bool = True
) -> SlicePlan:
    """The writes that make ``existing``, the slices of one family, hold exactly the groups.

    ``heed_hints`` False: another hint is no reason to write a slice; who plans hints decides himself.
    """
    plan = SlicePlan()
    existing = [present for present in existing if not objects.is_deleting(present)]
    by_key: dict[bytes, list[Obj]] = {}
    for present in existing:
        if is_owned(present, meta.owner):
            by_key.setdefault(port_key(present.get("ports") or ()), []).append(present)
        else:
            plan.delete.append(present)
    for group in groups:
        _plan_group(meta, group, by_key.pop(group.key, []), limit, plan, heed_hints)
    for unused in by_key.values():
        plan.delete.extend(unused)
    if not plan.create and len(plan.delete) == len(existing):
        _keep_placeholder(meta, plan)
    recycle(meta, plan)
    return plan


def is_owned(present: Obj, owner: OwnerReference) -> bool:
    return any(
        reference.get("uid") == owner["uid"] and reference.get("kind") == owner["kind"]
        for reference in objects.owner_references(present)
    )


def recycle(meta: SliceMeta, plan: SlicePlan) -> None:
    """A slice that would go takes the content of one that would come."""
    for present in list(plan.delete):
        if plan.create and is_owned(present, meta.owner):
            new = plan.create.pop()
            new["metadata"] = _updated_meta(meta, present)
            plan.delete.remove(present)
            plan.update.append(new)


def _plan_group(
    meta: SliceMeta, group: Group, slices: list[Obj], limit: int, plan: SlicePlan, heed_hints: bool
) -> None:
    alike = _same if heed_hints else _same_but_hints
    wanted = {identity(endpoint): endpoint for endpoint in group.endpoints}
    changed: list[tuple[Obj, list[Obj]]] = []
    unchanged: list[Obj] = []
    for present in slices:
        before = present.get("endpoints") or []
        held = [found for each in before if (found := wanted.pop(identity(each), None)) is not None]
        same = len(held) == len(before) and all(map(alike, held, before))
        if same and _labelled(present, meta):
            unchanged.append(present)
        elif same or held:
            changed.append((present, held))
        else:
            plan.delete.append(present)
    missing = list(wanted.values())
    # Slices that are written anyway take new endpoints first, the fullest before others.
    changed.sort(key=lambda entry: -len(entry[1]))
    for _, held in changed:
        room = max(0, limit - len(held))
        held.extend(missing[:room])
        missing = missing[room:]
    while missing:
        fitting = _to_fill(unchanged, len(missing), limit) if len(missing) < limit else None
        if fitting is None:
            plan.create.append(rendered(meta, group.ports, missing[:limit]))
            missing = missing[limit:]
        else:
            unchanged = [present for present in unchanged if present is not fitting]
            changed.append((fitting, [*(fitting.get("endpoints") or []), *missing]))
            missing = []
    for present, held in changed:
        plan.update.append(rendered(meta, group.ports, held, present))
    plan.unchanged.extend(unchanged)


def _to_fill(slices: Iterable[Obj], count: int, limit: int) -> Obj | None:
    """The slice that will be the fullest with so many endpoints more."""
    fitting = [each for each in slices if len(each.get("endpoints") or ()) + count <= limit]
    return max(fitting, key=lambda each: len(each.get("endpoints") or ()), default=None)


def _keep_placeholder(meta: SliceMeta, plan: SlicePlan) -> None:
    """One empty slice is the sign that somebody looks after this Service."""
    if len(plan.delete) == 1:
        [only] = plan.delete
        empty = not (only.get("endpoints") or only.get("ports"))
        if empty and is_owned(only, meta.owner) and _labelled(only, meta):
            plan.delete.clear()
            plan.unchanged.append(only)
            return
    plan.create.append(rendered(meta, (), []))


def identity(endpoint: Obj) -> tuple[object, ...]:
    target = endpoint.get("targetRef") or {}
    return (tuple(endpoint.get("addresses") or ()), target.get("uid", ""), target.get("name", ""))


def _same(left: Obj, right: Obj) -> bool:
    return left == right or objects.equal_semantics(left, right)


def _same_but_hints(left: Obj, right: Obj) -> bool:
    return _same(_without_hints(left), _without_hints(right))


def _without_hints(endpoint: Obj) -> Obj:
    return {key: value for key, value in endpoint.items() if key != "hints"}


def _labelled(present: Obj, meta: SliceMeta) -> bool:
    return objects.labels(present) == meta.labels


def rendered(meta: SliceMeta, ports: Iterable[Obj], endpoints: Iterable[Obj], present: Obj | None = None) -> Obj:
    """The slice to write: a new one, or ``present`` with another content."""
    metadata: Obj
    if present is not None:
        metadata = _updated_meta(meta, present)
    else:
        metadata = {
            "generateName": meta.name_prefix,
            "namespace": meta.namespace,
            "labels": dict(meta.labels),
            "ownerReferences": [dict(meta.owner)],
        }
        if meta.annotations:
            metadata["annotations"] = dict(meta.annotations)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": meta.address_type,
        "endpoints": [objects.deep_copy(endpoint) for endpoint in endpoints],
        "ports": [dict(port) for port in ports],
    }


def _updated_meta(meta: SliceMeta, present: Obj) -> Obj:
    merged: Obj = objects.deep_copy(present["metadata"])
    merged["labels"] = dict(meta.labels)
    if meta.annotations is not None:
        merged["annotations"] = dict(meta.annotations)
    return merged


def stamp(plan: SlicePlan, trigger: str) -> None:
    """Each slice that is written says when what it shows changed; "": that is not known."""
    for new in plan.rendered():
        annotations = new["metadata"].setdefault("annotations", {})
        if trigger:
            annotations[TRIGGER_TIME] = trigger
        else:
            annotations.pop(TRIGGER_TIME, None)
        if not annotations:
            del new["metadata"]["annotations"]
