"""From (resource, subresource, verb) to the module that serves it. The end of the pipeline for resource requests."""

from __future__ import annotations

from collections.abc import Mapping

from sampan.api import errors
from sampan.api.kind import Kind
from sampan.api.strategies import strategy_for
from sampan.server import fencing
from sampan.server.request import Request, RequestInfo
from sampan.server.rest import scale
from sampan.server.rest.body import kind_or_fail
from sampan.server.rest.context import Connector, RestContext, Verb
from sampan.server.rest.create import create
from sampan.server.rest.delete import delete
from sampan.server.rest.deletecollection import delete_collection
from sampan.server.rest.get import get
from sampan.server.rest.list import list_
from sampan.server.rest.patch import patch
from sampan.server.rest.update import update
from sampan.server.rest.watch import watch
from sampan.server.results import Result
from sampan.server.write import Write

_MAIN: dict[str, Verb] = {
    "create": create,
    "get": get,
    "list": list_,
    "watch": watch,
    "update": update,
    "patch": patch,
    "delete": delete,
    "deletecollection": delete_collection,
}
_SCALE: dict[str, Verb] = {"get": scale.get_scale, "update": scale.update_scale, "patch": scale.patch_scale}
_UPDATED: dict[str, Verb] = {"get": get, "update": update, "patch": patch}
#: what may be addressed with a name, and what without
_NAMED = frozenset({"get", "update", "patch", "delete"})


async def serve(ctx: RestContext, request: Request) -> Result:
    """Raises ApiError."""
    info = request.info
    kind = kind_or_fail(info.kind)
    if kind.deprecation_warning:
        request.warn(kind.deprecation_warning)
    connector = ctx.connect.get((kind.group, kind.plural, info.subresource)) if info.subresource else None
    if connector is not None:
        return await _connect(ctx, request, kind, connector)
    if request.surface.ending:
        _check_ending(request, kind)
    verb = find(ctx, kind, info, request.method)
    leader = request.headers.get(fencing.HEADER)
    if leader is None:
        return await verb(ctx, request)
    with fencing.fenced(request, leader):
        return await verb(ctx, request)


async def _connect(ctx: RestContext, request: Request, kind: Kind, connector: Connector) -> Result:
    """A connection is admitted, and is no rehearsal; reading a log is neither."""
    info, options = request.info, connector.options(request)
    if options is not None:
        if "dryRun" in request.query:
            raise errors.BadRequest("the dryRun parameter is not supported")
        place = (info.subresource, info.namespace, info.name)
        write = Write("CONNECT", kind, *place, options, None, request.user, False, request, kind)
        await ctx.admission.admit(write)
        await ctx.admission.validate(write)
    return await connector.handle(request)


def find(ctx: RestContext, kind: Kind, info: RequestInfo, method: str) -> Verb:
    """Raises NotFound for an unknown subresource, MethodNotAllowed for a verb it does not have."""
    if method == "HEAD":
        raise not_allowed()
    own = ctx.own_verbs.get((kind.group, kind.plural, info.subresource))
    if info.subresource:
        return _subresource(kind, info, own)
    if own is not None and info.verb in own:
        return own[info.verb]
    if info.verb not in kind.verbs or info.verb not in _MAIN:
        raise not_allowed()
    if "list" not in kind.verbs:
        return ctx.review
    _check_level(kind, info, method)
    return _MAIN[info.verb]


def _check_ending(request: Request, kind: Kind) -> None:
    """Raises MethodNotAllowed."""
    if request.info.verb == "create" and (kind.group, kind.plural) in request.surface.ending:
        raise errors.MethodNotAllowed("create not allowed while custom resource definition is terminating")


def _check_level(kind: Kind, info: RequestInfo, method: str) -> None:
    """Names belong to objects, not to collections; a namespaced object is created in a namespace."""
    if info.verb in _NAMED and not info.name:
        raise not_allowed()
    if info.verb == "create" and (info.name or (kind.namespaced and not info.namespace)):
        raise not_allowed()
    if info.verb == "deletecollection" and kind.namespaced and not info.namespace:
        raise not_allowed()


def _subresource(kind: Kind, info: RequestInfo, own: Mapping[str, Verb] | None) -> Verb:
    name = info.subresource
    verbs: Mapping[str, Verb]
    if name == "scale" and kind.scale is not None:
        verbs = _SCALE
    elif own is not None:
        verbs = own
    elif strategy_for(kind, name) is not None:
        verbs = _UPDATED
    else:
        raise errors.NotFound("the server could not find the requested resource")
    declared = next((sub.verbs for sub in kind.subresources if sub.name == name), tuple(verbs))
    if info.verb not in verbs or info.verb not in declared:
        raise not_allowed()
    return verbs[info.verb]


def not_allowed() -> errors.MethodNotAllowed:
    return errors.MethodNotAllowed("the server does not allow this method on the requested resource")
