"""ComponentStatus (deprecated upstream since 1.19): the health of what runs behind the API, computed on every read."""

from __future__ import annotations

from sampan.api import errors
from sampan.api.types import Obj
from sampan.server.request import Request
from sampan.server.rest.body import kind_or_fail
from sampan.server.rest.context import RestContext
from sampan.server.results import PlainResult

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


async def component_statuses(ctx: RestContext, request: Request) -> PlainResult:
    kind, info = kind_or_fail(request.info.kind), request.info
    request.warn(_WARNING)
    if info.verb == "get":
        if info.name not in _COMPONENTS:
            raise errors.not_found(kind.plural, info.name)
        return PlainResult(_status(info.name), rows=(kind, [_status(info.name)]))
    items = [_status(name) for name in _COMPONENTS]
    found: Obj = {"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": items}
    return PlainResult(found, rows=(kind, items))
