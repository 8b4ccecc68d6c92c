"""pods/proxy, services/proxy and nodes/proxy: HTTP to what runs in the cluster, path and query kept as sent.

Hop-by-hop headers and credentials stay here, redirects are handed to the client and never followed; links in HTML and
redirects inside the backend are led back through the proxy.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence

import aiohttp

from sampan.api import errors
from sampan.server.request import Request, Response
from sampan.server.streaming import websocket
from sampan.server.streaming.backend import (
    BackendBroke,
    BackendRefused,
    Body,
    DialError,
    HttpClient,
    Target,
    connect_upgraded,
    pipe,
)
from sampan.server.streaming.commands import refusal
from sampan.server.streaming.locate import Locator
from sampan.server.streaming.rewrite import PIECE_BYTES, Inflater, LinkRewriter, rewrite_link
from sampan.server.streaming.slots import Slots

_PROXY_PATH = re.compile(r"(/api/v1/(?:namespaces/[^/]+/(?:pods|services)|nodes)/[^/]+/proxy)(/.*)?")
_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "authorization", "host", "content-length", "expect",
    }
)  # fmt: skip
#: a backend does not say which pages of other origins may read what the API server answers
_CORS = frozenset(
    f"access-control-{name}"
    for name in ("allow-origin", "allow-credentials", "allow-headers", "allow-methods", "expose-headers", "max-age")
)
_NOT_PASSED_BACK = _HOP_BY_HOP | _CORS | {"content-type"}
_WITHOUT_BODY = frozenset({204, 304})


class Proxy:
    def __init__(self, locator: Locator, http: HttpClient, slots: Slots) -> None:
        self._locator, self._http, self._slots = locator, http, slots

    async def handle(self, request: Request) -> Response:
        """Raises NotFound, BadRequest, TooManyRequests, ServiceUnavailable."""
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
                headers.append(("Content-Length", request.headers["content-length"]))
        release = self._slots.take(request.user.name, target.authority)
        try:
            answer = await self._http.request(target, request.method, path, headers, body)
        except BaseException as error:
            release()
            if not isinstance(error, DialError):
                raise
            raise errors.ServiceUnavailable(f"error trying to reach service: {error.fault}") from error
        return _answered(request, answer, Body(answer, release, whole=True), prefix, _hosts(request, target))

    async def _upgrade(self, request: Request, target: Target, path: str) -> Response:
        if websocket.is_websocket(request):
            websocket.check_origin(request)
        headers = [*forwarded_headers(request), ("Connection", "Upgrade"), ("Upgrade", request.headers["upgrade"])]
        release = self._slots.take(request.user.name, target.authority)
        try:
            return await self._joined(request, target, path, headers)
        finally:
            release()

    async def _joined(
        self, request: Request, target: Target, path: str, headers: Sequence[tuple[str, str]]
    ) -> Response:
        assert request.hijack is not None
        try:
            backend = await connect_upgraded(target, request.method, path, headers)
        except BackendRefused as refused:
            return refusal(refused)
        except DialError as error:
            raise errors.ServiceUnavailable(f"error trying to reach service: {error.fault}") from error
        try:
            shown = {name.title(): value for name, value in backend.headers.items() if name not in _CORS}
            client = await request.hijack(101, shown)
        except BaseException:
            backend.close()
            raise
        await pipe(client, backend)
        return Response(101, hijacked=True)


def _answered(
    request: Request, answer: aiohttp.ClientResponse, body: Body, prefix: str, hosts: frozenset[str]
) -> Response:
    kept = [
        (name, value)
        for name, value in answer.headers.items()
        if name.lower() not in _NOT_PASSED_BACK and name.lower() not in _named(answer.headers.getall("Connection", []))
    ]
    content_type = answer.headers.get("Content-Type", "")
    content: AsyncIterator[bytes] = body
    rewritten = "Location" not in answer.headers and answer.status != 206 and is_html(content_type)
    encoding = answer.headers.get("Content-Encoding", "").strip().lower()
    if rewritten and encoding in ("", "identity", "gzip", "deflate"):
        content = RewrittenBody(body, prefix, hosts, encoding)
        kept = [(name, value) for name, value in kept if name.lower() != "content-encoding"]
    elif "Content-Length" in answer.headers and (request.method == "HEAD" or answer.status not in _WITHOUT_BODY):
        kept.append(("Content-Length", answer.headers["Content-Length"]))
    headers: dict[str, str] = {}
    more: list[tuple[str, str]] = []
    for name, value in kept:
        if name.lower() == "location":
            value = rewrite_link(value, prefix, hosts)
        if name.title() in headers:
            more.append((name, value))
        else:
            headers[name.title()] = value
    return Response(answer.status, content, content_type, headers, more_headers=tuple(more))


class RewrittenBody:
    """An HTML document on its way through, links led back through the proxy. Yields to the event loop in between."""

    def __init__(self, body: Body, prefix: str, hosts: frozenset[str], encoding: str) -> None:
        self._body = body
        self._pieces = self._rewrite(LinkRewriter(prefix, hosts), encoding)

    def __aiter__(self) -> RewrittenBody:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        await self._pieces.aclose()
        await self._body.aclose()

    async def _rewrite(self, rewriter: LinkRewriter, encoding: str) -> AsyncGenerator[bytes, None]:
        inflater = Inflater(encoding) if encoding in ("gzip", "deflate") else None
        async for data in self._body:
            for start in range(0, len(data), PIECE_BYTES):
                piece = data[start : start + PIECE_BYTES]
                try:
                    for plain in inflater.feed(piece) if inflater is not None else (piece,):
                        if out := rewriter.feed(plain):
                            yield out
                        await asyncio.sleep(0)
                except ValueError as error:
                    raise BackendBroke("the backend's answer is not compressed as it says") from error
        if inflater is not None and not inflater.ended:
            raise BackendBroke("the backend broke off its answer")
        if rest := rewriter.finish():
            yield rest


def is_html(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "text/html"


def _hosts(request: Request, target: Target) -> frozenset[str]:
    """What the backend may call itself in its links."""
    return frozenset({target.authority.lower(), target.address.lower(), request.headers.get("host", "").lower()} - {""})


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


def _named(values: Iterable[str]) -> set[str]:
    """The headers that ``Connection`` declares to be about this hop only."""
    return {part.strip().lower() for value in values for part in value.split(",")}


def forwarded_headers(request: Request) -> list[tuple[str, str]]:
    """The client's headers without those of the connection and of us, plus where they come from."""
    named = _named(request.header_values("connection"))
    headers = [
        (name, value)
        for name in request.headers
        if name not in _HOP_BY_HOP and name not in named and not name.startswith(("x-remote-", "impersonate-"))
        for value in request.header_values(name)
        if name != "x-forwarded-for"
    ]
    before = ", ".join(request.header_values("x-forwarded-for"))
    headers.append(("X-Forwarded-For", f"{before}, {request.remote_address}" if before else request.remote_address))
    headers.append(("X-Forwarded-Uri", request.raw_path))
    if "host" in request.headers:
        headers.append(("X-Forwarded-Host", request.headers["host"]))
    return headers
