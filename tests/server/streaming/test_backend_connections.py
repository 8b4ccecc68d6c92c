"""Connections to who answers for a pod: how they end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest
import uvloop

from sampan.server.streaming.backend import Upgraded


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_one_that_was_ended_may_be_ended_again_on_either_event_loop(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def run() -> None:
        async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as listener:
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            backend = Upgraded(reader, writer, {})
            backend.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            await asyncio.sleep(0)  # the loop lets go of it
            backend.abort()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())
