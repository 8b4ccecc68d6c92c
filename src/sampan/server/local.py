"""The transport of components that run in the server's process (docs/architecture.md, section 12).

Every call goes through the whole pipeline after authentication, as the component's own user. Bodies and answers are
dicts: nothing is encoded. What is passed in is copied, what is handed out is the caller's own; only ``cache_view`` and
calls that say so (``Call.shared``) share the server's objects, to be read.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from sampan.api import errors
from sampan.api.objects import deep_copy
from sampan.api.resources import Resource
from sampan.api.transport import CacheView, Call, WatchEvent
from sampan.api.types import Obj
from sampan.server import fencing
from sampan.server.pipeline import Pipeline
from sampan.server.render import decoded
from sampan.server.request import Request, Response, UserInfo
from sampan.server.results import ObjectResult, Page, PageResult, PlainResult, WatchResult
from sampan.server.storage import MAX_OBJECT_BYTES, View
from sampan.server.surface import StoredCacheView, Surfaces
from sampan.server.threads import aside, is_heavy
from sampan.server.watching import Watching

log = logging.getLogger(__name__)

#: of what is not this server's own: an API server behind it, a log
MOST_ANSWER_BYTES: Final = 32 << 20


class LocalTransport:
    """``sampan.api.transport.Transport`` without a network."""

    def __init__(self, pipeline: Pipeline, surfaces: Surfaces, watching: Watching, user: UserInfo) -> None:
        self._pipeline, self._surfaces, self._watching, self.user = pipeline, surfaces, watching, user

    async def call(self, call: Call) -> Any:
        match await self._pipeline.handle_in_process(self._request(call)):
            case ObjectResult(view, item):
                if call.shared:
                    return await view.readable(item)
                return await view.writable(item, heavy=is_heavy(item.value))
            case PageResult(view, page):
                return await _list(view, page)
            case PlainResult(obj):
                return obj
            case WatchResult():
                raise errors.BadRequest(f"{call.method} {call.path} is a watch")
            case Response() as response:
                return await _value(response)

    def watch(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        return self._watch(call)

    @asynccontextmanager
    async def _watch(self, call: Call) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        result = await self._pipeline.handle_in_process(self._request(call))
        if isinstance(result, Response) and isinstance(result.body, AsyncIterator) and result.status < 400:
            yield _events(result.body)  # of another API server
            return
        if isinstance(result, Response) and result.status >= 400:
            await _value(result)
        if not isinstance(result, WatchResult):
            raise errors.BadRequest(f"{call.method} {call.path} is not a watch")
        async with aclosing(self._watching.objects(result)) as events:
            yield events

    def cache_view(self, resource: Resource) -> CacheView | None:
        """None for resources whose stored version is another one: list and watch give the wanted version."""
        view = self._surfaces.current.by_resource(resource)
        if view is None or view.kind is not view.storage.kind or "watch" not in view.kind.verbs:
            return None
        if view.kind.custom:  # its cache ends when its definition changes, and a watch goes on
            return None
        return StoredCacheView(view.storage)

    async def close(self) -> None:
        """Nothing to release: the server owns everything."""

    def _request(self, call: Call) -> Request:
        path, _, inline = call.path.partition("?")
        query = dict(call.query)
        headers = {
            "content-type": call.content_type,
            "user-agent": program_of(self.user.name),
            "accept": call.accept,
        }
        if call.leader:
            headers[fencing.HEADER] = call.leader
        return Request(
            method=call.method,
            raw_path=path,
            query=query,
            headers=headers,
            obj=call.body if call.shared else deep_copy(call.body),
            in_process=True,
            query_lists={key: [value] for key, value in query.items()},
            raw_query=inline or (urlencode(query) if query else ""),
            user=self.user,
        )


def program_of(user: str) -> str:
    """The name of upstream's program that does the work of this user: managed fields tell it as the manager."""
    if user.startswith("system:serviceaccount:kube-system:"):
        return "kube-controller-manager"
    if user.startswith("system:node:"):
        return "kubelet"
    return _PROGRAMS.get(user, user)


_PROGRAMS: Final = {
    "system:apiserver": "kube-apiserver",
    "system:kube-controller-manager": "kube-controller-manager",
    "system:kube-scheduler": "kube-scheduler",
    "system:kube-proxy": "kube-proxy",
}


async def _list(view: View, page: Page) -> Any:
    found = await decoded(view, await page.entries(), lambda text: log.error("%s", text))
    if not view.as_stored:
        found = await view.from_stored(found)
    head = {"kind": view.kind.list_kind, "apiVersion": view.kind.api_version, "metadata": page.metadata()}
    return {**head, "items": found}


async def _value(response: Response) -> Any:
    """What is no result of a stored resource: discovery, a log, health. Raises ApiError for a refusal."""
    if response.status >= 400:
        raise errors.from_status(response.status, response.obj or _told(await _whole(response)))
    if response.obj is not None:
        return response.obj
    body = await _whole(response)
    if "json" not in response.content_type:
        return body.decode(errors="replace")
    try:
        return await aside(orjson.loads, body) if is_heavy(body) else orjson.loads(body)
    except ValueError:
        raise errors.InternalError("the answer is not JSON") from None


def _told(body: bytes) -> Obj:
    """The Status of another API server, or what it says in its place."""
    try:
        found = orjson.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("message"), str):
        return {"message": body.decode(errors="replace")}
    kinds = {"message": str, "reason": str, "details": dict}
    return {key: found[key] for key, kind in kinds.items() if isinstance(found.get(key), kind)}


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[WatchEvent]:
    """A watch as HTTP carries it: an event a line. Raises BadRequest for what is none, or longer than any object."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in filter(None, lines):
            try:
                said = orjson.loads(line)
                event = WatchEvent(said["type"], said["object"])
            except (LookupError, TypeError, ValueError):
                raise errors.BadRequest("an event of the watch cannot be read") from None
            yield event
        if len(rest) > 2 * MAX_OBJECT_BYTES:
            raise errors.BadRequest("an event of the watch is longer than any object")


async def _whole(response: Response) -> bytes:
    """Raises BadRequest, and InternalError for more than this process takes in of somebody else's answer."""
    body = response.body
    if isinstance(body, bytes):
        return body
    if not isinstance(body, AsyncIterator):
        raise errors.BadRequest("this answer has no end")
    found = bytearray()
    async for chunk in body:
        found += chunk
        if len(found) > MOST_ANSWER_BYTES:
            if (close := getattr(body, "aclose", None)) is not None:
                await close()
            raise errors.InternalError(f"the answer is longer than {MOST_ANSWER_BYTES} bytes")
    return bytes(found)
