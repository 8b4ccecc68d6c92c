"""How a connection comes about: to a runtime, or a driver, that is busy it is waited for; nobody there is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from sampan.client import tasks
from sampan.csi.client import DriverClient
from sampan.csi.pb import csi_pb2
from sampan.node import runtime
from sampan.node.cri.client import CriRuntime
from sampan.node.cri.pb import cri_pb2

pytestmark = pytest.mark.timeout(120)

#: Until a busy runtime says its first word: longer than a connection used to be given. More is no harm.
BUSY_SECONDS = 0.3


@pytest.fixture
async def busy(tmp_path: Path) -> AsyncIterator[Path]:
    """The socket of a runtime, and driver, that takes connections at once and says nothing for a while."""

    async def version(request: Any, context: Any) -> Any:
        return cri_pb2.VersionResponse(runtime_name="busy", runtime_version="1")

    method = grpc.unary_unary_rpc_method_handler(
        version, cri_pb2.VersionRequest.FromString, cri_pb2.VersionResponse.SerializeToString
    )

    async def info(request: Any, context: Any) -> Any:
        return csi_pb2.GetPluginInfoResponse(name="busy.example")

    of_driver = grpc.unary_unary_rpc_method_handler(
        info, csi_pb2.GetPluginInfoRequest.FromString, csi_pb2.GetPluginInfoResponse.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("runtime.v1.RuntimeService", {"Version": method}),
            grpc.method_handlers_generic_handler("csi.v1.Identity", {"GetPluginInfo": of_driver}),
        )
    )
    server.add_insecure_port(f"unix://{tmp_path}/runtime")
    await server.start()
    passing: list[asyncio.Task[None]] = []

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):  # who closes with something unread resets the connection
                while data := await source.read(65536):
                    target.write(data)
        finally:
            target.close()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(BUSY_SECONDS)
        answers, asked = await asyncio.open_unix_connection(f"{tmp_path}/runtime")
        passing.extend(tasks.detach(copy(*ends), "copy") for ends in ((reader, asked), (answers, writer)))

    async with await asyncio.start_unix_server(take, f"{tmp_path}/busy"):
        yield tmp_path / "busy"
        await tasks.cancel_and_wait(*passing)
        await server.stop(None)


async def test_a_runtime_that_is_slow_to_say_its_first_word_is_waited_for(busy: Path) -> None:
    client = CriRuntime(str(busy))
    try:
        assert (await client.version()).name == "busy"
    finally:
        await client.close()


async def test_a_driver_that_is_slow_to_say_its_first_word_is_waited_for(busy: Path) -> None:
    client = DriverClient(str(busy))
    try:
        assert (await client.plugin_info()).name == "busy.example"
    finally:
        await client.close()


async def test_a_runtime_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    client = CriRuntime(str(tmp_path / "nobody"))
    try:
        with pytest.raises(runtime.RuntimeUnavailable):
            await client.version()
    finally:
        await client.close()
