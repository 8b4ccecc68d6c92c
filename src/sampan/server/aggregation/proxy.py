"""Requests for a group version that somebody else serves: sent on with the client's name, its answer sent back.

After authentication and authorization by this server; its own credentials never leave it. Redirects are not followed
and not passed on (CVE-2022-3172). Upgrades and watches go through as they are.
Spec: kube-aggregator ``handler_proxy``; its refusals are plain text.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import orjson

from sampan.api.errors import ApiError, InternalError, ServiceUnavailable
from sampan.server.aggregation.backends import Backends
from sampan.server.aggregation.identity import BadIdentity, headers_of
from sampan.server.aggregation.remotes import Remote
from sampan.server.aggregation.services import Unresolved
from sampan.server.aggregation.trust import NotUsable
from sampan.server.request import Request, Response
from sampan.server.requestinfo import is_long_running
from sampan.server.streaming.backend import BackendBroke, Body, DialError
from sampan.server.streaming.forwarding import Forwarder, as_headers, forwarded_headers, passed_back, wants_upgrade

_UNAVAILABLE = "service unavailable"
_REDIRECT = "the backend attempted to redirect this request, which is not permitted"
_WITHOUT_BODY = frozenset({204, 304})


class _BadGateway(ApiError):
    code, reason = 502, "InternalError"


class ApiProxy:
    """``answer_seconds``: how long an answer that is no stream may take to come, after its head."""

    def __init__(self, backends: Backends, forwarder: Forwarder, answer_seconds: float) -> None:
        self._backends, self._forwarder, self._answer_seconds = backends, forwarder, answer_seconds

    async def handle(self, request: Request, remote: Remote) -> Response:
        """Raises TooManyRequests, Forbidden. Returns after the end of an upgraded connection."""
        if not remote.available:
            return _refusal(ServiceUnavailable(_UNAVAILABLE))
        try:
            target = await self._backends.target(remote)
            headers = [*forwarded_headers(request), *headers_of(request.user)]
            path = f"{request.raw_path}?{request.raw_query}" if request.raw_query else request.raw_path
            if wants_upgrade(request):
                return await self._forwarder.upgrade(request, target, path, headers)
            if request.in_process and request.obj is not None:
                request.body = orjson.dumps(request.obj)
            answer, body = await self._forwarder.plain(request, target, path, headers)
        except Unresolved:
            return _refusal(ServiceUnavailable(_UNAVAILABLE))
        except NotUsable as error:
            return _refusal(InternalError(str(error)))
        except BadIdentity as error:
            return _refusal(ServiceUnavailable(f"error trying to reach service: {error}"))
        except DialError as error:
            return _refusal(ServiceUnavailable(f"error trying to reach service: {error.fault}"))
        if 300 <= answer.status < 400 and "Location" in answer.headers:
            await body.aclose()
            return _refusal(_BadGateway(_REDIRECT))
        endless = is_long_running(request.info)
        return _answered(request, answer, body if endless else _Timed(body, self._answer_seconds))


def _answered(request: Request, answer: aiohttp.ClientResponse, body: AsyncIterator[bytes]) -> Response:
    kept = passed_back(answer)
    if "Content-Length" in answer.headers and (request.method == "HEAD" or answer.status not in _WITHOUT_BODY):
        kept.append(("Content-Length", answer.headers["Content-Length"]))
    headers, more = as_headers(kept)
    return Response(answer.status, body, answer.headers.get("Content-Type", ""), headers, more_headers=more)


def _refusal(error: ApiError) -> Response:
    """In plain text, as the reference's; callers in this process get a Status."""
    text = f"{error.message}\n".encode()
    return Response(error.code, text, "text/plain; charset=utf-8", obj=error.status())


class _Timed:
    """A body that has to come to its end in time: a backend that trickles holds nobody's connection for ever."""

    def __init__(self, body: Body, seconds: float) -> None:
        self._body = body
        self._until = asyncio.get_running_loop().time() + seconds

    def __aiter__(self) -> _Timed:
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._until):
                return await anext(self._body)
        except TimeoutError as error:
            with contextlib.suppress(Exception):
                await self.aclose()
            raise BackendBroke("the backend did not finish its answer in time") from error

    async def aclose(self) -> None:
        await self._body.aclose()
