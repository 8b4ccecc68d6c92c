"""Everything that is not a resource: one place where non-resource paths find their handler.

The REST core calls ``NonResourceHandlers.handle`` for requests whose info says ``is_resource`` False, after
authorization.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import orjson

from sampan.api.errors import MethodNotAllowed, NotFound
from sampan.api.types import Obj
from sampan.server.discovery.handlers import DiscoveryHandlers
from sampan.server.discovery.openapi import OpenApiHandlers
from sampan.server.discovery.version import version_info
from sampan.server.health import PROBES, Health
from sampan.server.metrics import Metrics
from sampan.server.request import Request, Response
from sampan.server.surface import Surface
from sampan.server.tokens import OpenIdDocuments

_FIXED = ("/.well-known/openid-configuration", "/metrics", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/version")

#: answers a path from its query; may raise ApiError
Answer: TypeAlias = Callable[[Mapping[str, str]], Obj]


class NonResourceHandlers:
    def __init__(
        self,
        discovery: DiscoveryHandlers,
        health: Health,
        metrics: Metrics,
        openid: OpenIdDocuments,
        openapi: OpenApiHandlers | None = None,
        others: Mapping[str, Answer] | None = None,
    ) -> None:
        """``others`` answer paths of what else runs in this process; they may come and go."""
        self._others = {} if others is None else others
        self._discovery, self._health, self._metrics = discovery, health, metrics
        self._openid, self._openapi = openid, openapi

    async def handle(self, request: Request) -> Response:
        """Raises NotFound, MethodNotAllowed, NotAcceptable."""
        response = (
            self._health.handle(request) or await self._metrics.handle(request) or self._discovery.handle(request)
        )
        if response is None and self._openapi is not None:
            response = await self._openapi.handle(request)
        if response is None:
            response = self._document(request)
        if response is None:
            raise NotFound("the server could not find the requested resource")
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        return response

    def _document(self, request: Request) -> Response | None:
        other = self._others.get(request.raw_path)
        if other is not None:
            return Response(200, orjson.dumps(document := other(request.query)), "application/json", obj=document)
        match request.raw_path.rstrip("/"):
            case "":
                return _json({"paths": self._paths(request.surface)})
            case "/version":
                return _json(version_info())
            case "/.well-known/openid-configuration":
                return self._openid.configuration()
            case "/openid/v1/jwks":
                return self._openid.jwks()
        return None

    def _paths(self, surface: Surface) -> list[str]:
        paths = {"/api", "/apis", "/apis/", *_FIXED, *self._others}
        for group, versions in surface.kinds.groups().items():
            base = f"/apis/{group}" if group else "/api"
            paths.update({base, *(f"{base}/{version}" for version in versions)})
        for probe in PROBES:
            paths.update({f"/{probe}", *(f"/{probe}/{name}" for name in self._health.checks(probe))})
        return sorted(paths)


def _json(document: Obj) -> Response:
    return Response(200, orjson.dumps(document, option=orjson.OPT_INDENT_2), "application/json", obj=document)
