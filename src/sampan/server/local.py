"""The transport of components that run in the server's process (docs/architecture.md, section 12).

Every call goes through the whole pipeline after authentication, as the component's own user. Bodies and answers are
dicts: nothing is encoded. What is passed in is copied, what is handed out is the caller's own; only ``cache_view``
shares the server's objects, to be read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import orjson

from sampan.api import errors
from sampan.api.objects import deep_copy
from sampan.api.resources import Resource
from sampan.api.transport import CacheView, Call, WatchEvent
from sampan.server.pipeline import Pipeline
from sampan.server.registry import Storages, StoredCacheView
from sampan.server.request import Request, Response, UserInfo


class LocalTransport:
    """``sampan.api.transport.Transport`` without a network."""

    def __init__(self, pipeline: Pipeline, storages: Storages, user: UserInfo) -> None:
        self._pipeline, self._storages, self.user = pipeline, storages, user

    async def call(self, call: Call) -> Any:
        response = await self._pipeline.handle_in_process(self._request(call))
        if response.status >= 400:
            raise errors.from_status(response.status, response.obj or {"message": await _text(response)})
        if response.obj is not None:
            return response.obj
        text = await _text(response)
        return orjson.loads(text) if "json" in response.content_type else text

    def watch(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        return self._watch(call)

    @asynccontextmanager
    async def _watch(self, call: Call) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        response = await self._pipeline.handle_in_process(self._request(call))
        if response.events is None:
            raise errors.BadRequest(f"{call.method} {call.path} is not a watch")
        try:
            yield response.events
        finally:
            close = getattr(response.events, "aclose", None)
            if close is not None:
                await close()

    def cache_view(self, resource: Resource) -> CacheView | None:
        """None for resources whose stored version is another one: list and watch give the wanted version."""
        kind = self._storages.kinds.by_resource(resource.group, resource.version, resource.plural)
        if kind is None or kind.stored_as is not None or "watch" not in kind.verbs:
            return None
        return StoredCacheView(self._storages.of(kind))

    async def close(self) -> None:
        """Nothing to release: the server owns everything."""

    def _request(self, call: Call) -> Request:
        path, _, inline = call.path.partition("?")
        query = dict(call.query)
        return Request(
            method=call.method,
            raw_path=path,
            query=query,
            headers={"content-type": call.content_type, "user-agent": self.user.name},
            obj=deep_copy(call.body),
            in_process=True,
            query_lists={key: [value] for key, value in query.items()},
            raw_query=inline or urlencode(query),
            user=self.user,
        )


async def _text(response: Response) -> str:
    if isinstance(response.body, bytes):
        return response.body.decode(errors="replace")
    assert isinstance(response.body, AsyncIterator)  # nobody pushes to a caller in the same process
    return b"".join([chunk async for chunk in response.body]).decode(errors="replace")
