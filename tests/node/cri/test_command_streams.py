"""A runtime's streaming server as seen from the agent, and the pipes to a shim: what arrives, ends and breaks."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sampan.api.streams import spdy
from sampan.node.cri import netns, streaming
from sampan.node.cri.fifo import FifoReader, FifoWriter, LateFifoWriter
from sampan.node.cri.tasks import TaskCommand
from sampan.node.inbox import Inbox
from sampan.node.runtime import RuntimeCallError

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\n"


class Server:
    behaviour: Behaviour
    url: str
    heads: list[str]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    made.heads = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        try:
            await made.behaviour(reader, writer)
        except ConnectionError:
            pass  # the agent hung up: part of a test
        writer.close()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with listener:
        made.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/attach/token?x=1"
        yield made


async def cat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers streams late, drops what comes before (as moby/spdystream does), copies stdin to stdout, fails with 5."""
    writer.write(SWITCH)
    codec, names, late = spdy.Codec(), dict[int, str](), list[int]()
    replied = False
    while data := await reader.read(65536):
        for frame in codec.feed(data):
            if frame.kind == spdy.SYN_STREAM:
                names[frame.stream_id] = frame.headers["streamtype"]
                late.append(frame.stream_id)
            elif frame.kind == spdy.DATA and replied and names[frame.stream_id] == "stdin":
                ids = {name: stream_id for stream_id, name in names.items()}
                writer.write(spdy.data_frame(ids["stdout"], frame.data) if frame.data else b"")
                if frame.fin:
                    status = b'{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"5"}]}}'
                    writer.write(spdy.ping_frame(2) + spdy.data_frame(ids["error"], status[:20]))
                    writer.write(spdy.data_frame(ids["error"], status[20:], fin=True))
                    writer.write(spdy.data_frame(ids["stdout"], b"", fin=True))
        if len(names) == 3 and not replied:
            await asyncio.sleep(0.05)
            replied = True
            for stream_id in late:
                writer.write(codec.syn_reply(stream_id, {}))
        await writer.drain()


async def test_nothing_is_lost_on_the_way_through_a_runtimes_streaming_server(server: Server) -> None:
    server.behaviour = cat
    command = await streaming.connect(server.url, tty=False, stdin=True, stdout=True, stderr=False)
    data = random.Random(1).randbytes(1_000_000)

    async def send() -> None:
        await command.write(data)
        await command.close_stdin()

    sending = asyncio.create_task(send())
    got = b""
    while piece := await command.read("stdout"):
        got += piece
    await sending
    assert got == data
    assert await command.read("stderr") == b""
    assert await command.wait() == 5
    await command.close()
    assert server.heads[0].startswith("POST /attach/token?x=1 HTTP/1.1\r\n")


async def test_input_that_has_a_pipe_of_its_own_does_not_go_through_the_server(server: Server, tmp_path: Path) -> None:
    server.behaviour = cat
    os.mkfifo(tmp_path / "in")
    shim = FifoReader(tmp_path / "in")
    pipe = FifoWriter(tmp_path / "in")
    command = await streaming.connect(server.url, tty=False, stdin=True, stdout=True, stderr=False, pipe=pipe)
    await command.write(b"hello")
    assert await shim.read() == b"hello"
    await command.close_stdin()
    assert await shim.read() == b""
    assert await command.read("stdout") == b""
    await command.close()
    shim.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 Not Found\r\n\r\n", b"", b"SSH-2.0\r\n\r\n", SWITCH])
async def test_a_server_that_refuses_or_breaks_off_is_an_error_in_words(server: Server, answer: bytes) -> None:
    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    server.behaviour = behaviour
    with pytest.raises(RuntimeCallError, match="the runtime's streaming server"):
        await streaming.connect(server.url, tty=False, stdin=False, stdout=True, stderr=False)


async def test_a_server_that_breaks_off_later_ends_the_outputs_and_has_no_exit_code(server: Server) -> None:
    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SWITCH)
        codec = spdy.Codec()
        opened = 0
        while opened < 2:
            opened += sum(1 for _ in codec.feed(await reader.read(65536)))
        writer.write(codec.syn_reply(1, {}) + codec.syn_reply(3, {}) + spdy.data_frame(3, b"last words"))

    server.behaviour = behaviour
    command = await streaming.connect(server.url, tty=False, stdin=False, stdout=True, stderr=False)
    assert await command.read("stdout") == b"last words"
    assert await command.read("stdout") == b""
    with pytest.raises(RuntimeCallError, match="broke off"):
        await command.wait()
    await command.close()


async def test_a_full_pipe_waits_for_its_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = FifoReader(tmp_path / "pipe")
    writer = FifoWriter(tmp_path / "pipe")
    data = random.Random(1).randbytes(500_000)

    async def send() -> None:
        await writer.write(data)
        writer.close()

    sending = asyncio.create_task(send())
    got = b""
    while piece := await reader.read():
        got += piece
    await sending
    assert got == data
    reader.close()


async def test_a_pipe_whose_reader_goes_ends_the_writer_that_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = FifoReader(tmp_path / "pipe")
    writer = FifoWriter(tmp_path / "pipe")
    sending = asyncio.create_task(writer.write(b"x" * 500_000))
    await asyncio.sleep(0)
    reader.close()
    with pytest.raises(BrokenPipeError):
        await sending
    writer.close()
    with pytest.raises(BrokenPipeError):
        await writer.write(b"more")


async def test_closing_a_pipe_ends_whoever_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = FifoReader(tmp_path / "pipe")
    writer = FifoWriter(tmp_path / "pipe")
    reading = asyncio.create_task(reader.read())
    await asyncio.sleep(0)
    reader.close()
    assert await reading == b""
    writer.close()
    writer.close()


class FakeTasks:
    """What a command asks of the task service when its input ends."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def close_stdin(self, container_id: str, exec_id: str) -> None:
        self.calls.append(f"CloseIO {container_id} {exec_id}")

    def finish_later(self, container_id: str, exec_id: str, *, end_input: bool) -> None:
        self.calls.append(f"finish {exec_id}")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between two looks for a reader, which take no time here."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        pauses.extend([seconds] if seconds else [])
        await sleep(0)

    monkeypatch.setattr("sampan.node.cri.fifo.asyncio.sleep", pause)
    return pauses


async def test_input_waits_for_a_shim_that_opens_it_late(tmp_path: Path, looks: list[float]) -> None:
    os.mkfifo(tmp_path / "stdin")
    late = os.open(tmp_path / "stdin", os.O_PATH)
    tasks = FakeTasks()
    command = TaskCommand(tasks, "c", "e", {}, LateFifoWriter(tmp_path / "stdin"), tty=False)  # type: ignore[arg-type]
    (tmp_path / "stdin").unlink()
    writing = asyncio.create_task(command.write(b"data"))
    while sum(looks) < 60:
        assert not writing.done()
        await asyncio.sleep(0)
    assert max(looks) <= 0.1
    shim = FifoReader(Path(f"/proc/self/fd/{late}"))
    os.close(late)
    await writing
    assert await shim.read() == b"data"
    await command.close_stdin()
    assert await shim.read() == b""
    assert tasks.calls == ["CloseIO c e"]
    shim.close()
    with pytest.raises(BrokenPipeError):
        await command.write(b"more")
    await command.close()


@pytest.mark.parametrize("ended_by", ["cancel", "close"])
async def test_the_inputs_end_is_told_even_if_no_shim_ever_opens_it(
    tmp_path: Path, looks: list[float], ended_by: str
) -> None:
    os.mkfifo(tmp_path / "stdin")
    tasks = FakeTasks()
    command = TaskCommand(tasks, "c", "e", {}, LateFifoWriter(tmp_path / "stdin"), tty=False)  # type: ignore[arg-type]
    ending = asyncio.create_task(command.close_stdin())
    for _ in range(5):
        await asyncio.sleep(0)
    assert looks
    assert not ending.done()
    if ended_by == "cancel":
        ending.cancel()
    else:
        await command.close()
    with pytest.raises((BrokenPipeError, asyncio.CancelledError)):
        await ending
    assert "CloseIO c e" in tasks.calls


async def test_an_inbox_is_full_at_its_bound_and_drops_what_nobody_wants() -> None:
    inbox = Inbox(10)
    inbox.add(b"123456")
    assert not inbox.is_full
    inbox.add(b"789012")
    assert inbox.is_full
    assert await inbox.read() == b"123456"
    assert inbox.is_full  # until it is half empty
    assert await inbox.read() == b"789012"
    assert not inbox.is_full
    inbox.add(b"x" * 20)
    inbox.discard()
    inbox.add(b"y" * 20)
    assert (inbox.is_full, inbox.size, await inbox.read()) == (False, 0, b"")


@pytest.mark.parametrize(
    ("info", "path"),
    [
        (
            {"info": '{"runtimeSpec":{"linux":{"namespaces":[{"type":"network","path":"/run/netns/a"}]}}}'},
            "/run/netns/a",
        ),
        ({"info": '{"pid":7,"runtimeSpec":{"linux":{"namespaces":[{"type":"network"}]}}}'}, "/proc/7/ns/net"),
        ({"info": '{"pid":7,"runtimeSpec":{"linux":{"namespaces":[{"type":"ipc"}]}}}'}, ""),
    ],
)
def test_a_pods_network_is_named_by_its_sandbox(info: dict[str, str], path: str) -> None:
    assert netns.path_of(info) == path


@pytest.mark.parametrize(
    "info",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        '{"pid":0,"config":{}}',
        '{"pid":7,"runtimeSpec":null}',
        '{"pid":7,"runtimeSpec":{"linux":{}}}',
        '{"pid":7,"runtimeSpec":{"linux":{"namespaces":[]}}}',
        '{"pid":7,"runtimeSpec":{"linux":{"namespaces":["network"]}}}',
        '{"pid":0,"runtimeSpec":{"linux":{"namespaces":[{"type":"network"}]}}}',
    ],
)
def test_a_sandbox_whose_network_is_not_known_is_not_taken_for_the_machines_own(info: str | None) -> None:
    with pytest.raises(RuntimeCallError, match="network namespace is not known"):
        netns.path_of({} if info is None else {"info": info})


async def test_a_port_nobody_listens_on_is_told_in_containerds_words(unused_port: int) -> None:
    with pytest.raises(RuntimeCallError) as caught:
        await netns.connect_local("box", "", unused_port)
    text = str(caught.value)
    assert f'failed to connect to localhost:{unused_port} inside namespace "box", IPv4: dial tcp4 127.0.0.1' in text
    assert "connect: connection refused" in text


@pytest.fixture
def unused_port() -> Any:
    import socket

    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it
        yield made.getsockname()[1]
