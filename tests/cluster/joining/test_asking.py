"""How long a cluster is looked for where nobody answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from sampan.cluster.errors import ClusterError
from sampan.cluster.joining import asking, discovery
from sampan.cluster.joining.wanted import Wanted

TOKEN = discovery.parse_token("abcdef.0123456789abcdef")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def looked(url: str, seconds: float) -> str:
    """What is said in the end. The limit is for a search that never ends."""
    async with asyncio.timeout(60):
        with pytest.raises(ClusterError) as caught:
            await asking.discover(url, TOKEN, Wanted(discovery_seconds=seconds), lambda said: None)
    assert "firewall" in caught.value.fix
    return caught.value.message


async def test_a_port_that_nobody_listens_on_is_tried_for_as_long_as_was_said() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listening(never) as url:
        pass
    assert f"the API server at {url} cannot be used" in await looked(url, 0.1)


async def test_a_port_that_never_answers_takes_no_longer_than_that() -> None:
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with listening(silent) as url:
        assert "no answer within 0.1 s" in await looked(url, 0.1)
        ended.set()
