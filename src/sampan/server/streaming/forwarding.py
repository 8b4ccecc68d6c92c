"""Requests that are passed on to a backend as they came, and its answers on their way back.

What every proxy of the server shares (pods, nodes, Services, aggregated APIs): hop-by-hop headers and credentials stay
here, bodies are piped with what the sockets buffer and no more, an upgrade joins both connections after the backend's
101. What an answer becomes is the proxy's business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

import aiohttp

from sampan.server.request import Request, Response
from sampan.server.streaming import websocket
from sampan.server.streaming.backend import BackendRefused, Body, HttpClient, Target, connect_upgraded, pipe
from sampan.server.streaming.commands import refusal
from sampan.server.streaming.slots import Slots

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

Headers = Sequence[tuple[str, str]]


class Forwarder:
    """``slots`` bounds what is open at a time."""

    def __init__(self, http: HttpClient, slots: Slots) -> None:
        self._http, self._slots = http, slots

    async def plain(
        self, request: Request, target: Target, path: str, headers: Headers
    ) -> tuple[aiohttp.ClientResponse, Body]:
        """``path`` with its query; ``headers`` in full. Close the body. Raises DialError, TooManyRequests."""
        body: bytes | AsyncIterator[bytes] = request.body
        if request.stream is not None and not body and _has_body(request):
            body = request.stream()
            if "content-length" in request.headers:
                headers = [*headers, ("Content-Length", request.headers["content-length"])]
        release = self._slots.take(request.user.name, target.authority)
        try:
            answer = await self._http.request(target, request.method, path, headers, body)
        except BaseException:
            release()
            raise
        return answer, Body(answer, release, whole=True)

    async def upgrade(self, request: Request, target: Target, path: str, headers: Headers) -> Response:
        """Returns after the end of the joined connections. Raises DialError, TooManyRequests, Forbidden."""
        if websocket.is_websocket(request):
            websocket.check_origin(request)
        headers = [*headers, ("Connection", "Upgrade"), ("Upgrade", request.headers["upgrade"])]
        release = self._slots.take(request.user.name, target.authority)
        try:
            return await _joined(request, target, path, headers)
        finally:
            release()


async def _joined(request: Request, target: Target, path: str, headers: Headers) -> Response:
    assert request.hijack is not None
    try:
        backend = await connect_upgraded(target, request.method, path, headers)
    except BackendRefused as refused:
        return refusal(refused)
    try:
        shown = {name.title(): value for name, value in backend.headers.items() if name not in _CORS}
        client = await request.hijack(101, shown)
    except BaseException:
        backend.close()
        raise
    await pipe(client, backend)
    return Response(101, hijacked=True)


def wants_upgrade(request: Request) -> bool:
    """It asks for another protocol, and its connection can be taken over."""
    asked = bool(request.headers.get("upgrade")) and "upgrade" in request.headers.get("connection", "").lower()
    return asked and request.hijack is not None


def passed_back(answer: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    """The backend's headers that are for the client, but for the type and length of the body."""
    named = _named(answer.headers.getall("Connection", []))
    return [
        (name, value)
        for name, value in answer.headers.items()
        if name.lower() not in _NOT_PASSED_BACK and name.lower() not in named
    ]


def as_headers(listed: Iterable[tuple[str, str]]) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """As a ``Response`` holds them: each name once, and what repeats."""
    headers: dict[str, str] = {}
    more: list[tuple[str, str]] = []
    for name, value in listed:
        if name.title() in headers:
            more.append((name, value))
        else:
            headers[name.title()] = value
    return headers, tuple(more)


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
