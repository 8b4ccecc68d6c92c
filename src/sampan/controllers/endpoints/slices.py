"""Packs endpoints into EndpointSlices with few writes. Pure (upstream ``staging/endpointslice/reconciler.go``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

import orjson

from sampan.api import objects
from sampan.api.types import Obj, OwnerReference
from sampan.records import dataclass

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


@dataclass(frozen=True, slots=True)
class Group:
    """Endpoints that share an address family and ports."""

    address_type: str
    ports: tuple[Obj, ...]
    endpoints: tuple[Obj, ...]

    @property
    def key(self) -> bytes:
        return group_key(self.address_type, self.ports)


def group_key(address_type: str, ports: Sequence[Obj]) -> bytes:
    listed = sorted(orjson.dumps(port, option=orjson.OPT_SORT_KEYS) for port in ports)
    return address_type.encode() + b"".join(listed)


@dataclass(frozen=True, slots=True)
class SliceMeta:
    """What all slices of a Service share. ``name_prefix`` is their generateName."""

    namespace: str
    name_prefix: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner: OwnerReference


@dataclass(frozen=True, slots=True)
class SlicePlan:
    create: list[Obj] = field(default_factory=list)
    update: list[Obj] = field(default_factory=list)
    delete: list[Obj] = field(default_factory=list)


def plan_slices(meta: SliceMeta, groups: Sequence[Group], existing: Sequence[Obj], limit: int) -> SlicePlan:
    """The writes that make ``existing`` hold exactly the groups. Creates come before deletes when applied in order,
    so no endpoint is ever missing in between."""
    plan = SlicePlan()
    by_key: dict[bytes, list[Obj]] = {}
    for present in existing:
        if not objects.is_deleting(present):
            by_key.setdefault(group_key(present["addressType"], present.get("ports") or ()), []).append(present)
    for group in groups:
        _plan_group(meta, group, by_key.pop(group.key, []), limit, plan)
    for unused in by_key.values():
        plan.delete.extend(unused)
    return plan


def _plan_group(meta: SliceMeta, group: Group, slices: list[Obj], limit: int, plan: SlicePlan) -> None:
    wanted = {_identity(endpoint): endpoint for endpoint in group.endpoints}
    kept: list[tuple[Obj, list[Obj]]] = []
    for present in slices:
        held = []
        for endpoint in present.get("endpoints") or ():
            desired = wanted.pop(_identity(endpoint), None)
            if desired is not None:
                held.append(desired)
        kept.append((present, held))
    missing = list(wanted.values())
    # Slices that are written anyway take new endpoints first.
    kept.sort(key=lambda entry: entry[1] == (entry[0].get("endpoints") or []))
    for _, held in kept:
        room = limit - len(held)
        held.extend(missing[:room])
        missing = missing[room:] if room > 0 else missing
    empty = not missing and not any(held for _, held in kept)
    for index, (present, held) in enumerate(kept):
        if not held and not (empty and index == 0):
            # One empty slice stays as the sign that somebody looks after this Service.
            plan.delete.append(present)
            continue
        new = _rendered(meta, group, held)
        new["metadata"] = _updated_meta(present, new["metadata"])
        if not _same(present, new):
            plan.update.append(new)
    while missing or (empty and not kept):
        plan.create.append(_rendered(meta, group, missing[:limit]))
        missing = missing[limit:]
        if not missing:
            break


def _identity(endpoint: Obj) -> tuple[object, ...]:
    target = endpoint.get("targetRef") or {}
    return (tuple(endpoint.get("addresses") or ()), target.get("uid", ""), target.get("name", ""))


def _rendered(meta: SliceMeta, group: Group, endpoints: list[Obj]) -> Obj:
    made: Obj = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": meta.name_prefix,
            "namespace": meta.namespace,
            "labels": dict(meta.labels),
            "ownerReferences": [dict(meta.owner)],
        },
        "addressType": group.address_type,
        "endpoints": [objects.deep_copy(endpoint) for endpoint in endpoints],
        "ports": [dict(port) for port in group.ports],
    }
    if meta.annotations:
        made["metadata"]["annotations"] = dict(meta.annotations)
    return made


def _updated_meta(present: Obj, wanted: Obj) -> Obj:
    merged: Obj = objects.deep_copy(present["metadata"])
    for key in ("labels", "annotations", "ownerReferences"):
        if wanted.get(key):
            merged[key] = wanted[key]
        else:
            merged.pop(key, None)
    return merged


def _same(left: Obj, right: Obj) -> bool:
    fields = ("metadata", "endpoints", "ports")
    return all(objects.equal_semantics(left.get(name), right.get(name)) for name in fields)
