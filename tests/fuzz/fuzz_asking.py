"""Asking a server in the same process, as the tests of this folder do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import orjson

from sampan.server.app import Server
from sampan.server.request import Request


@dataclass
class Answer:
    status: int
    content_type: str
    body: bytes

    @property
    def obj(self) -> Any:
        return orjson.loads(self.body)


class Ask:
    """``await ask("POST", url, body)``; no answer may be the server's own fault."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __call__(
        self, method: str, url: str, body: Any = None, content_type: str = "application/json", accept: str = ""
    ) -> Answer:
        path, _, raw_query = url.partition("?")
        lists = parse_qs(raw_query, keep_blank_values=True)
        headers = {"content-type": content_type} | ({"accept": accept} if accept else {})
        content = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        request = Request(
            method, path, {key: values[0] for key, values in lists.items()}, headers, content,
            query_lists=lists, raw_query=raw_query,
        )  # fmt: skip
        response = await self._server.handler(request)
        assert isinstance(response.body, bytes)
        answer = Answer(response.status, response.content_type, response.body)
        assert answer.status < 500, f"{method} {url} {content_type}: {content[:2000]!r}\n{answer.body[:2000]!r}"
        return answer
