"""The OpenAPI documents of this server and of those behind it: ``discovery.openapi.OpenApi`` around another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from sampan.server.aggregation.aggregator import Aggregator
from sampan.server.discovery.openapi import OpenApi
from sampan.server.openapi.files import V2_JSON, choose_v2
from sampan.server.openapi.splicing import merge_json_v2
from sampan.server.threads import aside


class AggregatedOpenApi:
    """``own``: the documents of what this server has."""

    def __init__(self, own: OpenApi, aggregator: Aggregator) -> None:
        self._own, self._aggregator = own, aggregator

    async def v2(self, accept: str) -> tuple[bytes, str, str]:
        body, content_type, etag = await self._own.v2(accept)
        fragments = self._aggregator.described.fragments() if self._aggregator.described is not None else []
        if not fragments:
            return body, content_type, etag
        digests = "".join(fragment.digest for fragment in fragments)
        etag = f'"{hashlib.sha256((etag + digests).encode()).hexdigest().upper()}"'
        if choose_v2(accept)[0] != V2_JSON:
            # A message behind a message is both in one.
            return b"".join((body, *(fragment.message for fragment in fragments))), content_type, etag
        halves = [(fragment.paths, fragment.definitions) for fragment in fragments]
        return await aside(merge_json_v2, body, halves), content_type, etag

    async def v3_index(self) -> Mapping[str, str]:
        index = await self._own.v3_index()
        described = self._aggregator.described
        return dict(sorted({**index, **described.v3_index()}.items())) if described is not None else index

    async def v3(self, group_version: str) -> tuple[bytes, str, str] | None:
        described = self._aggregator.described
        if described is not None and group_version.startswith("apis/"):
            group, _, version = group_version[5:].partition("/")
            remote = self._aggregator.remotes.get(group, version)
            if remote is not None:
                return await described.v3(remote)
        return await self._own.v3(group_version)
