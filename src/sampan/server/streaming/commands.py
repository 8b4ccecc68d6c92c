"""pods/exec, attach and portforward: upgraded connections to the node that has the pod.

SPDY and WebSocket are piped untouched: the node speaks both. Only a port-forward tunnel, which is SPDY inside
WebSocket messages, is unwrapped here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sampan.api import errors
from sampan.api.types import Obj
from sampan.server.request import Connection, Request, Response
from sampan.server.streaming import options, websocket
from sampan.server.streaming.backend import BackendRefused, Target, Upgraded, connect_upgraded, first_to_end, pipe
from sampan.server.streaming.locate import Locator
from sampan.server.streaming.slots import Slots
from sampan.server.streaming.websocket import WebSocket

TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
_PORT_FORWARD = "portforward.k8s.io"
_SPDY = "SPDY/3.1"
#: headers of the client's upgrade that the node needs when a connection is piped
_PIPED = ("sec-websocket-key", "sec-websocket-version", "user-agent")
#: a browser's bearer token travels as a subprotocol; it was for us
_TOKEN_PROTOCOL = "base64url.bearer.authorization."
_PIPED_LISTS = ("x-stream-protocol-version",)
_NODE_SUBRESOURCES = {"exec": "exec", "attach": "attach", "portforward": "portForward"}


class Commands:
    def __init__(self, locator: Locator, slots: Slots) -> None:
        self._locator, self._slots = locator, slots

    async def handle(self, request: Request) -> Response:
        """Serves the connection until its end.

        Raises BadRequest, NotFound, Forbidden, TooManyRequests, InternalError.
        """
        pod = await self._locator.pod(request.info.namespace, request.info.name)
        upgrade = request.headers.get("upgrade", "")
        if not upgrade or "upgrade" not in request.headers.get("connection", "").lower() or request.hijack is None:
            raise errors.BadRequest("Upgrade request required")
        release = self._slots.take(request.user.name, f"node {pod['spec'].get('nodeName', '')}")
        try:
            return await self._serve(request, pod)
        finally:
            release()

    async def _serve(self, request: Request, pod: Obj) -> Response:
        assert request.hijack is not None
        info = request.info
        segments = [_NODE_SUBRESOURCES[info.subresource], info.namespace, info.name]
        if info.subresource == "portforward":
            path = options.node_path(*segments)
            query = "&".join(f"port={port}" for port in _ports(request))
            target = await self._locator.node_of(pod)
            return await self._port_forward(request, target, f"{path}?{query}" if query else path)
        query = options.exec_query(request, info.subresource, options.exec_streams(request, info.subresource))
        segments.append(options.choose_container(pod, request.query.get("container", "")))
        target = await self._locator.node_of(pod)
        return await self._piped(request, target, f"{options.node_path(*segments)}?{query}")

    async def _port_forward(self, request: Request, target: Target, path: str) -> Response:
        if not websocket.is_websocket(request) or TUNNEL_PROTOCOL not in websocket.offered_protocols(request):
            return await self._piped(request, target, path)
        assert request.hijack is not None
        head = websocket.accept_headers(request, TUNNEL_PROTOCOL)
        backend = await _dial(target, "POST", path, _spdy_headers(_PORT_FORWARD))
        if isinstance(backend, Response):
            return backend
        try:
            await tunnel(WebSocket(await request.hijack(101, head)), backend)
        finally:
            backend.close()
        return Response(101, hijacked=True)

    async def _piped(self, request: Request, target: Target, path: str) -> Response:
        assert request.hijack is not None
        if websocket.is_websocket(request):
            websocket.check_origin(request)
        headers = [("Upgrade", request.headers["upgrade"]), ("Connection", "Upgrade")]
        headers += [(name, request.headers[name]) for name in _PIPED if name in request.headers]
        protocols = [each for each in websocket.offered_protocols(request) if not each.startswith(_TOKEN_PROTOCOL)]
        headers += [("sec-websocket-protocol", ", ".join(protocols))] if protocols else []
        headers += [(name, ", ".join(values)) for name in _PIPED_LISTS if (values := request.header_values(name))]
        backend = await _dial(target, request.method, path, headers)
        if isinstance(backend, Response):
            return backend
        try:
            client: Connection = await request.hijack(101, answer_headers(backend.headers))
        except BaseException:
            backend.close()
            raise
        await pipe(client, backend)
        return Response(101, hijacked=True)


async def tunnel(client: WebSocket, backend: Upgraded) -> None:
    """Unwraps and wraps the bytes of a SPDY connection until either side ends, and closes both."""

    async def upload() -> None:
        while (piece := await client.receive()) is not None:
            if piece.data:
                await backend.write(piece.data)

    async def download() -> None:
        while data := await backend.read():
            await client.send(data)

    whole = False
    try:
        whole = await first_to_end(upload(), download())
    finally:
        backend.close() if whole else backend.abort()
        await client.close()


async def _dial(target: Target, method: str, path: str, headers: Sequence[tuple[str, str]]) -> Upgraded | Response:
    """The upgraded connection, or the node's refusal as the answer to the client."""
    try:
        return await connect_upgraded(target, method, path, headers)
    except BackendRefused as refused:
        return refusal(refused)


def refusal(refused: BackendRefused) -> Response:
    """A backend's own error answer. A redirect would lead the client past us and is an error (CVE-2022-3172)."""
    if refused.status < 400:
        raise errors.InternalError(f"invalid upgrade response: status code {refused.status}")
    content_type = refused.headers.get("content-type", "text/plain; charset=utf-8")
    return Response(refused.status, refused.body, content_type)


def answer_headers(backend: Mapping[str, str]) -> dict[str, str]:
    """What of the backend's 101 the client gets to see."""
    wanted = ("upgrade", "connection", "x-stream-protocol-version", "sec-websocket-accept", "sec-websocket-protocol")
    return {name.title(): backend[name] for name in wanted if name in backend}


def _spdy_headers(protocol: str) -> list[tuple[str, str]]:
    return [("Upgrade", _SPDY), ("Connection", "Upgrade"), ("X-Stream-Protocol-Version", protocol)]


def _ports(request: Request) -> list[str]:
    """The ports of the oldest WebSocket port-forward, which names them in the query. Raises BadRequest."""
    listed = request.query_lists.get("ports") or ([request.query["ports"]] if "ports" in request.query else [])
    ports = [port for entry in listed for port in entry.split(",") if port]
    for port in ports:
        options.integer(port, bits=32)
    return ports
