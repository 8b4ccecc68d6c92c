"""Serves OpenAPI documents made elsewhere (``server.openapi``): negotiation, hashes, redirects and caching headers.

Spec: api-semantics of upstream's kube-openapi ``handler`` and ``handler3``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import orjson

from sampan.api.errors import NotAcceptable
from sampan.server.request import Request, Response

PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
#: what upstream sends back for it: "@" is not legal in a content type
PROTOBUF_V2_SENT = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
PROTOBUF_V3 = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
_ONE_YEAR_SECONDS = 31536000


def document_of(group: str, version: str = "") -> str:
    """The name of a v3 document: ``api/v1``, ``apis/apps``, ``apis/apps/v1``."""
    return "/".join(part for part in ("apis" if group else "api", group, version) if part)


class OpenApi(Protocol):
    """The documents. Methods may read files or wait for a build; they keep nothing large in memory."""

    async def v2(self, accept: str) -> tuple[bytes, str, str]:
        """(body, content type, etag) in the best form for the Accept header: JSON or gnostic protobuf."""
        ...

    async def v3_index(self) -> Mapping[str, str]:
        """Path below /openapi/v3 (``api/v1``, ``apis/apps/v1``) to the hash of its document."""
        ...

    async def v3(self, group_version: str) -> tuple[bytes, str, str] | None:
        """(body, content type, hash) of ``api/v1``, ``apis/apps/v1`` ...; None: no such document."""
        ...


class OpenApiHandlers:
    def __init__(self, documents: OpenApi) -> None:
        self._documents = documents

    async def handle(self, request: Request) -> Response | None:
        """None: not an OpenAPI path."""
        path = request.raw_path.rstrip("/")
        if path == "/openapi/v2":
            return await self._v2(request)
        if path == "/openapi/v3":
            return await self._index(request)
        if path.startswith("/openapi/v3/"):
            return await self._v3(request, path.removeprefix("/openapi/v3/"))
        return None

    async def _v2(self, request: Request) -> Response:
        body, content_type, etag = await self._documents.v2(request.headers.get("accept", ""))
        return _cached(request, body, content_type, etag, {"Vary": "Accept"})

    async def _index(self, request: Request) -> Response:
        index = await self._documents.v3_index()
        paths = {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={hash_}"} for path, hash_ in index.items()}
        answer = {"paths": paths}
        return Response(200, orjson.dumps(answer), "application/json", {"Vary": "Accept"}, obj=answer)

    async def _v3(self, request: Request, name: str) -> Response | None:
        accept = request.headers.get("accept", "")
        if accept and PROTOBUF_V3 in accept and "json" not in accept and "*" not in accept:
            raise NotAcceptable("only the following media types are accepted: application/json")
        found = await self._documents.v3(name)
        if found is None:
            return None
        body, content_type, hash_ = found
        wanted = request.query.get("hash", "")
        headers = {"Vary": "Accept"}
        if wanted and wanted != hash_:
            return Response(301, b"", "text/plain", {"Location": f"/openapi/v3/{name}?hash={hash_}"})
        if wanted:
            headers |= {"Cache-Control": f"public, immutable, max-age={_ONE_YEAR_SECONDS}"}
        return _cached(request, body, content_type, f'"{hash_}"', headers)


def _cached(request: Request, body: bytes, content_type: str, etag: str, headers: dict[str, str]) -> Response:
    headers = {**headers, "ETag": etag}
    if etag and etag in request.headers.get("if-none-match", ""):
        return Response(304, b"", content_type, headers)
    return Response(200, body, content_type, headers)
