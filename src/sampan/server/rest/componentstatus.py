"""ComponentStatus (deprecated upstream since 1.19): the health of what runs behind the API, computed on every read."""

from __future__ import annotations

from sampan.api import errors, table
from sampan.api.types import Obj
from sampan.server.request import Request, Response
from sampan.server.rest.body import kind_or_fail
from sampan.server.rest.context import RestContext
from sampan.server.rest.respond import LIST_FORMS, OBJECT_FORMS, accepted, encoded, include_object

_COMPONENTS = ("scheduler", "controller-manager", "etcd-0")
_WARNING = "v1 ComponentStatus is deprecated in v1.19+"


def _status(name: str) -> Obj:
    """Everything that answers requests shares a process or a store with this server: it is healthy if this is."""
    return {
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}],
    }


async def component_statuses(ctx: RestContext, request: Request) -> Response:
    kind, info = kind_or_fail(request.info.kind), request.info
    request.warn(_WARNING)
    if info.verb == "get":
        if info.name not in _COMPONENTS:
            raise errors.not_found(kind.plural, info.name)
        obj, forms, items = _status(info.name), OBJECT_FORMS, [_status(info.name)]
    else:
        items = [_status(name) for name in _COMPONENTS]
        obj, forms = {"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": items}, LIST_FORMS
    if request.in_process:
        return Response(obj=obj)
    media = accepted(request, forms)
    if media.form == "Table":
        obj = table.build_table(kind, items, ctx.clock.now(), include_object(request))
    return encoded(request, media, obj)
