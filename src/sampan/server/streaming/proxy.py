"""pods/proxy, services/proxy and nodes/proxy: HTTP to what runs in the cluster, path and query kept as sent.

Hop-by-hop headers and credentials stay here, redirects are handed to the client and never followed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp

from sampan.api import errors
from sampan.server.request import Request, Response
from sampan.server.streaming import websocket
from sampan.server.streaming.backend import BackendRefused, HttpClient, Target, chunks, connect_upgraded, pipe
from sampan.server.streaming.commands import refusal
from sampan.server.streaming.locate import Locator

_PROXY_PATH = re.compile(r"(/api/v1/(?:namespaces/[^/]+/(?:pods|services)|nodes)/[^/]+/proxy)(/.*)?")
_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "authorization", "host", "content-length", "expect",
    }
)  # fmt: skip


class Proxy:
    def __init__(self, locator: Locator, http: HttpClient) -> None:
        self._locator, self._http = locator, http

    async def handle(self, request: Request) -> Response:
        """Raises NotFound, BadRequest, ServiceUnavailable."""
        found = _PROXY_PATH.fullmatch(request.raw_path)
        if found is None:
            raise errors.NotFound("the server could not find the requested resource")
        prefix, path = found[1], found[2] or ""
        query = f"?{request.raw_query}" if request.raw_query else ""
        upgrade = request.headers.get("upgrade", "")
        if not path and not upgrade and request.method in ("GET", "HEAD"):
            return Response(301, b"", "text/plain", {"Location": f"{prefix}/{query}"})
        target = await self._target(request)
        if upgrade and "upgrade" in request.headers.get("connection", "").lower() and request.hijack is not None:
            return await self._upgrade(request, target, f"{path or '/'}{query}")
        return await self._plain(request, target, prefix, f"{path or '/'}{query}")

    async def _target(self, request: Request) -> Target:
        info = request.info
        match info.resource:
            case "nodes":
                return await self._locator.node_proxy(info.name)
            case "services":
                return await self._locator.service_proxy(info.namespace, info.name)
            case _:
                return await self._locator.pod_proxy(info.namespace, info.name)

    async def _plain(self, request: Request, target: Target, prefix: str, path: str) -> Response:
        body: bytes | AsyncIterator[bytes] = request.body
        headers = forwarded_headers(request)
        if request.stream is not None and not body and _has_body(request):
            body = request.stream()
            if "content-length" in request.headers:
                headers["content-length"] = request.headers["content-length"]
        try:
            answer = await self._http.request(target, request.method, path, headers, body)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            text = str(error) or type(error).__name__
            raise errors.ServiceUnavailable(f"error trying to reach service: {text}") from error
        headers = {
            name: value
            for name, value in answer.headers.items()
            if name.lower() not in _HOP_BY_HOP and name.lower() != "content-type"
        }
        if "Location" in answer.headers:
            headers["Location"] = location(answer.headers["Location"], prefix, target)
        if "Content-Length" in answer.headers and request.method == "HEAD":
            headers["Content-Length"] = answer.headers["Content-Length"]
        content_type = answer.headers.get("Content-Type", "")
        return Response(answer.status, chunks(answer), content_type, headers)

    async def _upgrade(self, request: Request, target: Target, path: str) -> Response:
        assert request.hijack is not None
        if websocket.is_websocket(request):
            websocket.check_origin(request)
        headers = {**forwarded_headers(request), "Connection": "Upgrade", "Upgrade": request.headers["upgrade"]}
        try:
            backend = await connect_upgraded(target, request.method, path, headers)
        except BackendRefused as refused:
            return refusal(refused)
        except errors.InternalError as error:
            raise errors.ServiceUnavailable(f"error trying to reach service: {error.message}") from error
        try:
            client = await request.hijack(101, {name.title(): value for name, value in backend.headers.items()})
        except BaseException:
            backend.close()
            raise
        await pipe(client, backend)
        return Response(101, hijacked=True)


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


def forwarded_headers(request: Request) -> dict[str, str]:
    """The client's headers without those of the connection and of us, plus where they come from."""
    named = {part.strip().lower() for part in request.headers.get("connection", "").split(",")}
    headers = {
        name: value
        for name, value in request.headers.items()
        if name not in _HOP_BY_HOP and name not in named and not name.startswith(("x-remote-", "impersonate-"))
    }
    before = headers.get("x-forwarded-for", "")
    headers["x-forwarded-for"] = f"{before}, {request.remote_address}" if before else request.remote_address
    headers["x-forwarded-uri"] = request.raw_path
    if "host" in request.headers:
        headers["x-forwarded-host"] = request.headers["host"]
    return headers


def location(value: str, prefix: str, target: Target) -> str:
    """A redirect inside the backend keeps going through the proxy; others are the client's business."""
    parts = urlsplit(value)
    if not value.startswith("/") and parts.netloc not in (target.authority, target.address):
        return value
    if value.startswith("//"):
        return value
    rest = parts.path + (f"?{parts.query}" if parts.query else "")
    return f"{prefix}{rest if rest.startswith('/') else '/' + rest}"
