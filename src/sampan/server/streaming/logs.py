"""pods/log: a container's log from the node that has it, streamed as it comes; also as a WebSocket for old clients."""

from __future__ import annotations

import base64

import aiohttp

from sampan.api import errors
from sampan.api.streams.websocket import BINARY, TEXT
from sampan.api.types import Obj
from sampan.server.request import Request, Response
from sampan.server.streaming import options, websocket
from sampan.server.streaming.backend import Body, DialError, HttpClient, first_to_end
from sampan.server.streaming.locate import Locator
from sampan.server.streaming.slots import Slots
from sampan.server.streaming.websocket import WebSocket

_ERROR_LIMIT_BYTES = 64 << 10
_BASE64 = "base64.binary.k8s.io"
_PROTOCOLS = ("binary.k8s.io", _BASE64)


class Logs:
    def __init__(self, locator: Locator, http: HttpClient, slots: Slots) -> None:
        self._locator, self._http, self._slots = locator, http, slots

    async def handle(self, request: Request) -> Response:
        """Raises NotFound, BadRequest, Invalid, TooManyRequests, InternalError."""
        info = request.info
        query = options.log_query(request, info.name)
        pod = await self._locator.pod(info.namespace, info.name)
        container = options.choose_container(pod, request.query.get("container", ""))
        if not pod["spec"].get("nodeName"):
            return Response(200, b"", "text/plain")  # nothing has run yet, so nothing was logged
        body = await self._open(request, pod, container, query)
        if websocket.is_websocket(request) and request.hijack is not None:
            try:
                return await _serve_websocket(request, body)
            finally:
                await body.aclose()
        return Response(200, body, "text/plain", {"X-Content-Type-Options": "nosniff"})

    async def _open(self, request: Request, pod: Obj, container: str, query: str) -> Body:
        info = request.info
        target = await self._locator.node_of(pod)
        path = options.node_path("containerLogs", info.namespace, info.name, container)
        release = self._slots.take(request.user.name, target.authority)
        try:
            answer = await self._http.request(target, "GET", f"{path}?{query}" if query else path, (), b"")
        except BaseException as error:
            release()
            if not isinstance(error, DialError):
                raise
            url = f"{target.scheme}://{target.authority}{path}" + (f"?{query}" if query else "")
            raise errors.InternalError(f'Get "{url}": {error.fault}') from error
        body = Body(answer, release, whole=False)
        if answer.status == 200:
            return body
        try:
            text = (await answer.content.read(_ERROR_LIMIT_BYTES)).decode("utf-8", "replace").strip()
        except (aiohttp.ClientError, OSError):
            text = ""
        finally:
            await body.aclose()
        raise _node_error(answer.status, text, request)


def _node_error(status: int, text: str, request: Request) -> errors.ApiError:
    if status == 400:
        return errors.BadRequest(text or "the server rejected our request for an unknown reason")
    if status == 404:
        detail = f"the server could not find the requested resource ( pods/log {request.info.name})"
        return errors.NotFound(text or detail, details={"name": request.info.name, "kind": "pods/log"})
    return errors.InternalError(text or f"the node answered {status}")


async def _serve_websocket(request: Request, body: Body) -> Response:
    offered = websocket.offered_protocols(request)
    protocol = next((known for known in _PROTOCOLS if known in offered), "")
    if offered and not protocol:
        raise errors.BadRequest("none of the offered WebSocket protocols is known")
    assert request.hijack is not None
    client = WebSocket(await request.hijack(101, websocket.accept_headers(request, protocol)))

    async def download() -> None:
        async for data in body:
            if protocol == _BASE64:
                await client.send(base64.b64encode(data), TEXT)
            else:
                await client.send(data, BINARY)

    async def until_gone() -> None:
        while await client.receive() is not None:
            pass

    try:
        await first_to_end(download(), until_gone())
    finally:
        await client.close()
    return Response(101, hijacked=True)
