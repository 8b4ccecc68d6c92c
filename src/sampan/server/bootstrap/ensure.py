"""Writes what a cluster starts with: creates what is missing, completes default policy that somebody cut down.

Called by the server after its own start, before it is ready, and by ``keep`` from then on, as a member of
``system:masters``. Idempotent. Reads first and then only the writes that are needed, all at the same time, so that the
store commits them together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sampan.api.clock import parse_day
from sampan.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from sampan.api.registry import registry
from sampan.api.resources import Resource
from sampan.api.transport import Call, Transport
from sampan.api.types import Obj
from sampan.server.authz.policy.notation import RBAC
from sampan.server.authz.rules import compact, rules_of, uncovered
from sampan.server.bootstrap import flow, objects
from sampan.server.bootstrap.objects import BootstrapConfig

_AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_FLOW_GROUP = "flowcontrol.apiserver.k8s.io"
_AUTOUPDATE_FLOW = "apf.kubernetes.io/autoupdate-spec"
#: up to so many objects of one resource are read by name
_FEW = 4


async def ensure(writer: Transport, config: BootstrapConfig, *, shared: bool = False) -> None:
    """``shared``: other servers may be there, so the endpoints of all are for ``keep`` to write. Raises ApiError when a
    write is refused: then the server must not become ready."""
    await _ensure_all(writer, objects.namespaces())
    await _ensure_all(writer, objects.all_but_namespaces(config, () if shared else None))


async def _ensure_all(writer: Transport, wanted: Sequence[Obj]) -> None:
    present = await find(writer, wanted)
    async with asyncio.TaskGroup() as tasks:
        for obj in wanted:
            found = present.get(_identity(obj))
            tasks.create_task(_ensure(writer, _resource(obj), obj, found), name=f"ensure {_identity(obj)}")


async def ensure_each(writer: Transport, wanted: Sequence[Obj]) -> list[ApiError]:
    """The same when one fault must not keep the others from coming back: what could not be done."""
    try:
        present = await find(writer, wanted)
    except ApiError as error:
        return [error]
    results = await asyncio.gather(
        *(_ensure(writer, _resource(obj), obj, present.get(_identity(obj))) for obj in wanted), return_exceptions=True
    )
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, ApiError):
            raise result
    return [result for result in results if isinstance(result, ApiError)]


_Identity = tuple[Resource, tuple[str | None, str]]


async def find(writer: Transport, wanted: Sequence[Obj]) -> dict[_Identity, Obj]:
    """What there is of ``wanted``: one list for many of a resource, for a few each by its name. Raises ApiError."""
    by_resource: dict[Resource, list[Obj]] = {}
    for obj in wanted:
        by_resource.setdefault(_resource(obj), []).append(obj)

    async def list_all(resource: Resource) -> list[Obj]:
        found = await writer.call(Call("GET", resource.path()))
        return [_with_kind(obj, resource) for obj in found.get("items") or ()]

    async def get(resource: Resource, obj: Obj) -> list[Obj]:
        try:
            return [await writer.call(Call("GET", resource.path(*_key(obj))))]
        except NotFound:
            return []

    reads = [
        read
        for resource, objs in by_resource.items()
        for read in ([list_all(resource)] if len(objs) > _FEW else [get(resource, obj) for obj in objs])
    ]
    return {_identity(obj): obj for found in await asyncio.gather(*reads) for obj in found}


def _identity(obj: Obj) -> _Identity:
    return _resource(obj), _key(obj)


async def _ensure(writer: Transport, resource: Resource, wanted: Obj, found: Obj | None) -> None:
    namespace, name = _key(wanted)
    query = {"fieldManager": flow.PRODUCER} if resource.group == _FLOW_GROUP else {}
    if found is not None:
        changed = reconcile(wanted, found)
        if changed is None:
            return
        if changed.get("roleRef") == found.get("roleRef"):
            try:
                await writer.call(Call("PUT", resource.path(namespace, name), query, body=changed))
            except (Conflict, NotFound):
                return  # another server of this cluster does the same at this moment
            return
        await writer.call(Call("DELETE", resource.path(namespace, name)))  # roleRef cannot be changed
    try:
        await writer.call(Call("POST", resource.path(namespace), query, body=wanted))
    except AlreadyExists:
        return  # another server of this cluster was first


def reconcile(wanted: Obj, found: Obj) -> Obj | None:
    """What ``found`` should become, None when it may stay. Pure.

    Default policy only ever gains what is missing, unless its annotation opts out; flow control has its default spec
    as long as its annotation says so; the endpoints of the API server follow its address; everything else is left as
    its owner made it.
    """
    kind = wanted["kind"]
    if wanted["apiVersion"] == f"{RBAC}/v1":
        return _reconcile_policy(wanted, found)
    if kind in ("FlowSchema", "PriorityLevelConfiguration"):
        automatic = (found["metadata"].get("annotations") or {}).get(_AUTOUPDATE_FLOW) == "true"
        same = _contains(found.get("spec"), wanted["spec"])
        return {**found, "spec": wanted["spec"]} if automatic and not same else None
    if wanted["metadata"].get("name") == objects.TOKEN_TRACKING and _is_date((found.get("data") or {}).get("since")):
        return None  # it counts from the first start
    fields: dict[str, tuple[str, ...]] = {
        "Endpoints": ("subsets",), "EndpointSlice": ("endpoints", "ports"), "ConfigMap": ("data",),
    }  # fmt: skip
    changed = {key: wanted[key] for key in fields.get(kind, ()) if not _contains(found.get(key), wanted[key])}
    return {**found, **changed} if changed else None


def _is_date(text: Any) -> bool:
    try:
        return isinstance(text, str) and bool(parse_day(text))
    except ValueError:
        return False


def _contains(found: Any, wanted: Any) -> bool:
    """Whether ``found`` says all that ``wanted`` says; the server's defaults may say more."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_contains(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return False
        return all(_contains(left, right) for left, right in zip(found, wanted, strict=True))
    return bool(found == wanted)


def _reconcile_policy(wanted: Obj, found: Obj) -> Obj | None:
    meta = found["metadata"]
    if (meta.get("annotations") or {}).get(_AUTOUPDATE) == "false":
        return None
    changed: Obj = {}
    if "roleRef" in wanted:
        if found.get("roleRef") != wanted["roleRef"]:
            return wanted
        subjects = found.get("subjects") or []
        missing = [subject for subject in wanted.get("subjects") or () if subject not in subjects]
        if missing:
            changed["subjects"] = [*subjects, *missing]
    elif "aggregationRule" in wanted:
        if found.get("aggregationRule") != wanted["aggregationRule"]:
            changed["aggregationRule"] = wanted["aggregationRule"]
    else:
        lost = uncovered(rules_of(found), rules_of(wanted))
        if lost:
            changed["rules"] = [*(found.get("rules") or ()), *(rule.wire() for rule in compact(lost))]
    for key in ("labels", "annotations"):
        if not _contains(meta.get(key) or {}, wanted["metadata"][key]):
            merged = {**(meta.get(key) or {}), **wanted["metadata"][key]}
            base: Obj = changed.get("metadata") or meta
            changed["metadata"] = {**base, key: merged}
    return {**found, **changed} if changed else None


def _resource(obj: Obj) -> Resource:
    kind = registry().by_api_version(obj["apiVersion"], obj["kind"])
    if kind is None:
        raise LookupError(f"{obj['apiVersion']} {obj['kind']} is not a kind of this server")
    return kind.resource


def _key(obj: Obj) -> tuple[str | None, str]:
    return obj["metadata"].get("namespace") or None, obj["metadata"]["name"]


def _with_kind(obj: Obj, resource: Resource) -> Obj:
    """Items of a list come without kind and apiVersion."""
    return {"kind": resource.kind, "apiVersion": resource.api_version, **obj}
