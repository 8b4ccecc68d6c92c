"""pods/proxy, services/proxy and nodes/proxy: HTTP to what runs in the cluster, path and query kept as sent.

Hop-by-hop headers and credentials stay here, redirects are handed to the client and never followed; links in HTML and
redirects inside the backend are led back through the proxy.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp

from sampan.api import errors
from sampan.server.request import Request, Response
from sampan.server.streaming.backend import BackendBroke, Body, DialError, HttpClient, Target
from sampan.server.streaming.forwarding import Forwarder, as_headers, forwarded_headers, passed_back, wants_upgrade
from sampan.server.streaming.locate import Locator
from sampan.server.streaming.rewrite import PIECE_BYTES, Inflater, LinkRewriter, rewrite_link
from sampan.server.streaming.slots import Slots

_PROXY_PATH = re.compile(r"(/api/v1/(?:namespaces/[^/]+/(?:pods|services)|nodes)/[^/]+/proxy)(/.*)?")
_WITHOUT_BODY = frozenset({204, 304})


class Proxy:
    def __init__(self, locator: Locator, http: HttpClient, slots: Slots) -> None:
        self._locator, self._forwarder = locator, Forwarder(http, slots)

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
        if wants_upgrade(request):
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
        try:
            answer, body = await self._forwarder.plain(request, target, path, forwarded_headers(request))
        except DialError as error:
            raise errors.ServiceUnavailable(f"error trying to reach service: {error.fault}") from error
        return _answered(request, answer, body, prefix, _hosts(request, target))

    async def _upgrade(self, request: Request, target: Target, path: str) -> Response:
        try:
            return await self._forwarder.upgrade(request, target, path, forwarded_headers(request))
        except DialError as error:
            raise errors.ServiceUnavailable(f"error trying to reach service: {error.fault}") from error


def _answered(
    request: Request, answer: aiohttp.ClientResponse, body: Body, prefix: str, hosts: frozenset[str]
) -> Response:
    kept = passed_back(answer)
    content_type = answer.headers.get("Content-Type", "")
    content: AsyncIterator[bytes] = body
    rewritten = "Location" not in answer.headers and answer.status != 206 and is_html(content_type)
    encoding = answer.headers.get("Content-Encoding", "").strip().lower()
    if rewritten and encoding in ("", "identity", "gzip", "deflate"):
        content = RewrittenBody(body, prefix, hosts, encoding)
        kept = [(name, value) for name, value in kept if name.lower() != "content-encoding"]
    elif "Content-Length" in answer.headers and (request.method == "HEAD" or answer.status not in _WITHOUT_BODY):
        kept.append(("Content-Length", answer.headers["Content-Length"]))
    kept = [(name, rewrite_link(value, prefix, hosts) if name.lower() == "location" else value) for name, value in kept]
    headers, more = as_headers(kept)
    return Response(answer.status, content, content_type, headers, more_headers=more)


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
