"""exec, attach and port-forward for clients of each protocol: streams joined, outcomes told, refusals upstream's."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop

from sampan.api.streams import spdy, websocket
from sampan.node.api.remote import peer, ports
from sampan.node.api.remote.channelpeer import ChannelPeer
from sampan.node.api.remote.spdypeer import SpdyPeer
from sampan.node.api.streams import ClientConnection, reset
from sampan.node.runtime import RuntimeCallError

Fixture = Any  # the fixtures of conftest.py

POD = {
    "metadata": {"name": "web", "namespace": "ns", "uid": "u1"},
    "spec": {"containers": [{"name": "c", "tty": True}]},
}
SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}
EXEC = "/exec/ns/web/c?command=ls&command=-l&output=1&error=1&input=1"
ALL = ("error", "stdin", "stdout", "stderr")
BOTH = pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "spdy"])


@pytest.fixture
def running(node: Fixture) -> Fixture:
    node.pods["ns/web"] = POD
    node.runtime.add("id1", "running")
    return node


async def cat(command: Any) -> int:
    while data := await command.stdin.read():
        command.outputs["stdout"].add(data)
        await command.outputs["stdout"].room()
    command.outputs["stderr"].add(b"done")
    return 0


async def sleep(command: Any) -> int:
    await asyncio.Event().wait()
    return 0


@BOTH
async def test_a_command_gets_its_input_and_its_end_and_gives_its_outputs(
    running: Fixture, remote: Fixture, fake_command: Fixture, protocol: str
) -> None:
    command = running.runtime.given.command = fake_command(cat)
    client = await remote(EXEC, ALL, protocol)
    data = random.Random(1).randbytes(700_000)
    sending = asyncio.create_task(client.send(data))
    sending.add_done_callback(lambda _: client.close_stdin())
    assert await client.finish() == {"metadata": {}, "status": "Success"}
    assert client.got["stdout"] == data
    assert client.got["stderr"] == b"done"
    options = {"tty": False, "stdin": True, "stdout": True, "stderr": True}
    assert running.runtime.asked == [("id1", ["ls", "-l"], options)]
    assert command.closed.is_set()


async def test_a_command_may_be_as_long_as_a_script(running: Fixture, remote: Fixture, fake_command: Fixture) -> None:
    running.runtime.given.command = fake_command(cat)
    script = "x" * 100_000
    client = await remote(
        f"/exec/ns/web/c?command=sh&command=-c&command={script}&output=1&error=1&input=1", ALL, "spdy"
    )
    client.close_stdin()
    assert (await client.finish())["status"] == "Success"
    assert running.runtime.asked[0][1] == ["sh", "-c", script]


@BOTH
async def test_a_command_that_reads_nothing_ends_with_its_own_exit_code(
    running: Fixture, remote: Fixture, fake_command: Fixture, protocol: str
) -> None:
    may_end = asyncio.Event()

    async def program(command: Any) -> int:
        await may_end.wait()
        return 3

    running.runtime.given.command = fake_command(program)
    client = await remote(EXEC, ALL, protocol)
    sending = asyncio.create_task(client.send(b"x" * 3_000_000))
    await asyncio.wait([sending], timeout=0.2)
    may_end.set()
    status = await client.finish()
    sending.cancel()
    assert status == {
        "metadata": {},
        "status": "Failure",
        "message": "command terminated with non-zero exit code: error executing command [ls -l], exit code 3",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
    }


@BOTH
async def test_a_client_that_leaves_lets_go_of_the_command_although_its_upload_is_stuck(
    running: Fixture, remote: Fixture, fake_command: Fixture, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "STALL_SECONDS", 0.02)
    command = running.runtime.given.command = fake_command(sleep)
    client = await remote(EXEC, ALL, protocol)
    sending = asyncio.create_task(client.send(b"x" * 20_000_000))
    await asyncio.wait([sending], timeout=0.2)
    sending.cancel()
    client.writer.transport.close()  # what it has queued is stuck: no end of stream will come
    client.writer.transport.abort()
    await command.closed.wait()


@BOTH
async def test_a_connection_on_which_nothing_happens_ends(
    running: Fixture, remote: Fixture, fake_command: Fixture, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "IDLE_SECONDS", 0.1)
    command = running.runtime.given.command = fake_command(sleep)
    client = await remote(EXEC, ALL, protocol)
    assert await client.finish() == {}
    await command.closed.wait()


@BOTH
async def test_a_command_that_cannot_be_started_is_told_on_the_error_stream(
    running: Fixture, remote: Fixture, protocol: str
) -> None:
    running.runtime.given.command = RuntimeCallError("no such program")
    client = await remote(EXEC, ALL, protocol)
    assert await client.finish() == {
        "metadata": {},
        "status": "Failure",
        "message": "Internal error occurred: error executing command in container: no such program",
        "reason": "InternalError",
        "details": {"causes": [{"message": "error executing command in container: no such program"}]},
        "code": 500,
    }


@BOTH
async def test_a_terminal_gets_its_sizes(
    running: Fixture, remote: Fixture, fake_command: Fixture, protocol: str
) -> None:
    async def program(command: Any) -> int:
        await command.stdin.read()
        return 0

    command = running.runtime.given.command = fake_command(program)
    client = await remote("/attach/ns/web/c?output=1&input=1", ("error", "stdin", "stdout", "resize"), protocol)
    await client.send(b'{"Width":80,"He', "resize")
    await client.send(b'ight":24}{"Width":-1,"Height":1}[1]', "resize")
    await client.send(b'{"Width":100,"Height":50}\n', "resize")
    sizes = [await command.sizes.get()]
    while sizes[-1] != (100, 50):
        sizes.append(await command.sizes.get())
    await client.send(b"exit\n")
    await client.finish()
    assert running.runtime.asked == [("id1", {"tty": True, "stdin": True, "stdout": True, "stderr": False})]


@pytest.mark.parametrize(
    "protocol", ["v4.base64.channel.k8s.io", "base64.channel.k8s.io", "channel.k8s.io", "v4.channel.k8s.io"]
)
async def test_older_web_socket_protocols_are_spoken(
    running: Fixture, remote: Fixture, fake_command: Fixture, protocol: str
) -> None:
    async def program(command: Any) -> int:
        command.outputs["stdout"].add((await command.stdin.read()).upper())
        return 4

    running.runtime.given.command = fake_command(program)
    client = await remote("/exec/ns/web/c?command=x&output=1&input=1", ALL[:3], protocol)
    if "base64" in protocol:
        client.writer.write(client.message(b"0" + base64.b64encode(b"hello"), websocket.TEXT))
    else:
        await client.send(b"hello")
    await client.finish()
    texts = [payload for _, payload in client.messages]
    plain = [base64.b64decode(each[1:]) if "base64" in protocol else each[1:] for each in texts]
    assert b"HELLO" in plain
    assert ("NonZeroExitCode" in plain[-1].decode()) == protocol.startswith("v4")
    assert b"exit code 4" in plain[-1]


async def test_a_message_of_any_size_may_come_in_pieces(
    running: Fixture, remote: Fixture, fake_command: Fixture
) -> None:
    running.runtime.given.command = fake_command(cat)
    client = await remote(EXEC, ALL, "v5.channel.k8s.io")
    data = random.Random(2).randbytes(1_000_000)
    whole = client.message(b"\0" + data)
    for start in range(0, len(whole), 77_777):
        client.writer.write(whole[start : start + 77_777])
    client.close_stdin()
    await client.finish()
    assert client.got["stdout"] == data


def hostile(rng: random.Random) -> bytes:
    """Frames that are nearly right, of both protocols, and plain noise."""
    pieces = []
    for _ in range(rng.randrange(1, 8)):
        length = rng.randrange(40)
        kind = rng.choice([1, 1, 2, 3, 4, 6, 7, 8, 9, 99])
        spdy_head = rng.choice([b"\x80\x03", b"\x80\x03", b"\x00\x00", rng.randbytes(2)])
        socket_head = bytes([rng.choice([0x80, 0, 0xF0]) | rng.randrange(16), 0x80 | rng.choice([3, 125, 126, 127])])
        pieces.append(
            rng.choice(
                [
                    spdy_head
                    + kind.to_bytes(2)
                    + bytes([rng.randrange(4)])
                    + length.to_bytes(3)
                    + rng.randbytes(length),
                    spdy.Codec().syn_stream(rng.randrange(12), {"streamtype": rng.choice(["stdin", "error", "x"])}),
                    spdy.data_frame(rng.randrange(12), rng.randbytes(length), fin=rng.random() < 0.3),
                    socket_head + rng.randbytes(length),
                    rng.randbytes(length),
                ]
            )
        )
    return b"".join(pieces)


class ScriptedConnection:
    """Gives what it was made with in pieces, then the end."""

    def __init__(self, data: bytes, rng: random.Random) -> None:
        self.data, self.rng, self.sent = data, rng, 0

    async def read(self) -> bytes:
        size = self.rng.randrange(1, 64)
        piece, self.data = self.data[:size], self.data[size:]
        return piece

    async def write(self, data: bytes) -> None:
        self.sent += len(data)

    def write_if_idle(self, data: bytes) -> None:
        self.sent += len(data)


@pytest.mark.parametrize("speaks", ["spdy", "socket", "base64 socket"])
async def test_thousands_of_hostile_clients_end_without_an_error(speaks: str) -> None:
    for seed in range(1500):
        rng = random.Random(seed)
        connection: Any = ScriptedConnection(hostile(rng), rng)
        made: Any
        if speaks == "spdy":
            made = SpdyPeer(connection, max_streams=5, inbox_bytes=1 << 20)
        else:
            made = ChannelPeer(connection, is_base64=speaks != "socket", has_close=True)
            made.open(0, reads=True, inbox_bytes=1 << 20)
        await made.run()
        assert connection.sent < 4096


@BOTH
async def test_a_hostile_client_ends_alone(
    running: Fixture, remote: Fixture, fake_command: Fixture, protocol: str, caplog: Any
) -> None:
    for wire in (b"\x80\x02" * 8, b"\xf0" * 100):
        running.runtime.given.command = fake_command(cat)
        client = await remote(EXEC, ALL, protocol)
        client.writer.write(wire)
        while await client.reader.read(65536):
            pass
        client.writer.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    running.runtime.given.command = fake_command(cat)
    good = await remote(EXEC, ALL, protocol)
    good.close_stdin()
    assert (await good.finish())["status"] == "Success"


async def test_streams_beyond_what_a_command_has_are_refused(
    running: Fixture, remote: Fixture, fake_command: Fixture
) -> None:
    running.runtime.given.command = fake_command(sleep)
    client = await remote(EXEC, ALL, "spdy")
    for stream_id in range(9, 209, 2):
        client.writer.write(client.codec.syn_stream(stream_id, {"streamtype": "stdin"}))
    refused = 0
    while refused < 99:
        for frame in client.codec.feed(await client.reader.read(65536)):
            refused += frame.kind == spdy.RST_STREAM
    client.writer.close()


@pytest.fixture
async def pod_port() -> AsyncIterator[int]:
    """A server in the pod: shouts back what it is sent, until the end of it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data.upper())
                await writer.drain()
        except ConnectionError:
            pass  # the client was gone: part of a test
        writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


async def forwarded(client: Any, request_id: str, port: int, first_id: int) -> None:
    client.ids |= {f"error {request_id}": first_id, f"data {request_id}": first_id + 2}
    for kind, stream_id in (("error", first_id), ("data", first_id + 2)):
        client.pieces[f"{kind} {request_id}"] = []
        headers = {"streamtype": kind, "port": str(port), "requestid": request_id}
        client.writer.write(client.codec.syn_stream(stream_id, headers))


async def test_each_pair_of_streams_is_a_connection_to_the_pod(
    running: Fixture, remote: Fixture, pod_port: int
) -> None:
    client = await remote("/portForward/ns/web", (), "spdy")
    for number in range(3):
        await forwarded(client, str(number), pod_port, 4 * number + 1)
    for number in range(3):
        await client.send(b"hello %d" % number, f"data {number}")
        client.writer.write(spdy.data_frame(client.ids[f"data {number}"], b"", fin=True))
    for number in range(3):
        await client.read_until(b"HELLO %d" % number, f"data {number}")
    assert running.runtime.asked == [("box", pod_port)] * 3
    client.writer.close()


async def test_connections_come_and_go_on_one_forwarding(running: Fixture, remote: Fixture, pod_port: int) -> None:
    client = await remote("/portForward/ns/web", (), "spdy")
    for number in range(5):
        await forwarded(client, str(number), pod_port, 4 * number + 1)
        await client.send(b"hello %d" % number, f"data {number}")
        await client.read_until(b"HELLO %d" % number, f"data {number}")
        client.writer.write(spdy.data_frame(client.ids[f"data {number}"], b"", fin=True))
        await client.until_finished(f"data {number}")
    client.writer.close()


async def test_a_port_nobody_listens_on_is_told_on_the_error_stream(running: Fixture, remote: Fixture) -> None:
    client = await remote("/portForward/ns/web", (), "spdy")
    await forwarded(client, "0", 1, 1)
    text = b"error forwarding port 1 to pod box, uid : failed to connect: connection refused"
    await client.read_until(text, "error 0")
    client.writer.close()


async def test_old_web_sockets_name_ports_in_the_query(running: Fixture, remote: Fixture, pod_port: int) -> None:
    client = await remote(f"/portForward/ns/web?port={pod_port}", (), "v4.channel.k8s.io")
    await client.send(b"hello")
    await client.read_until(b"HELLO", "stdin")
    assert client.pieces["stdin"][0] == client.pieces["stdout"][0] == pod_port.to_bytes(2, "little")
    client.writer.close()


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "spdy"])
async def test_a_client_that_leaves_frees_the_pods_socket(running: Fixture, remote: Fixture, protocol: str) -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        try:
            await reader.read()
        except ConnectionError:
            pass  # cut off is gone, too
        writer.close()
        gone.set()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        client = await remote(f"/portForward/ns/web?port={port}", (), protocol)
        if protocol == "spdy":
            await forwarded(client, "0", port, 1)
        await arrived.wait()
        client.writer.close()
        await gone.wait()


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "spdy"])
async def test_a_stuck_upload_to_a_pod_is_forgotten_with_its_client(
    running: Fixture, remote: Fixture, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "STALL_SECONDS", 0.02)
    cut = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined] # of a socket
        try:
            while True:  # reads nothing; the reset is seen by writing
                await asyncio.sleep(0.02)
                writer.write(b"x")
                await writer.drain()
        except ConnectionError:
            cut.set()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        client = await remote(f"/portForward/ns/web?port={port}", (), protocol)
        if protocol == "spdy":
            await forwarded(client, "0", port, 1)
        sending = asyncio.create_task(client.send(b"x" * 20_000_000, "data 0" if protocol == "spdy" else "stdin"))
        await asyncio.wait([sending], timeout=0.2)
        sending.cancel()
        client.writer.transport.abort()
        await cut.wait()


class Gone:
    """A transport of asyncio's TLS: once it has gone, it cannot be resumed."""

    def __init__(self) -> None:
        self.paused = self.closing = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        if self.closing:
            raise AttributeError("_resume_reading")
        self.paused = False

    def is_closing(self) -> bool:
        return self.closing


async def test_what_a_client_sent_before_it_went_is_read_to_its_end() -> None:
    transport = Gone()
    request = SimpleNamespace(transport=transport, protocol=SimpleNamespace(set_parser=lambda parser: None))
    connection = ClientConnection(cast(Any, request))
    connection.feed_data(b"x" * 200_000)
    assert transport.paused
    transport.closing = True
    connection.feed_eof()
    read = 0
    while data := await connection.read():
        read += len(data)
    assert read == 200_000


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_reset_leaves_nothing_to_be_sent_on_either_event_loop(factory: Any) -> None:
    async def run() -> None:
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reset(writer.transport)
            reset(writer.transport)
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            try:
                reset(writer.transport)
            except Exception as error:  # for who waits
                again.set_exception(error)
            else:
                again.set_result(None)

        again: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with await asyncio.start_server(handle, "127.0.0.1", 0) as listener:
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            try:
                ended.set_result(repr(await reader.read()))
            except ConnectionResetError:
                ended.set_result("reset")
            await again
            writer.close()
        assert await ended == "reset"

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/exec/ns/none/c?command=ls&output=1", 404, "pod does not exist"),
        ("/exec/ns/web/other-uid/c?command=ls&output=1", 404, "pod does not exist"),
        ("/exec/ns/web/none?command=ls&output=1", 404, 'container not found ("none")'),
        ("/exec/ns/web/c?command=ls", 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("/portForward/ns/web?port=99999", 400, 'invalid port "99999"'),
    ],
)
async def test_refusals_are_upstreams(running: Fixture, path: str, status: int, text: str) -> None:
    assert await running.request(path, "POST", **{**SPDY, "Connection": "Upgrade, close"}) == (status, text)


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({"Connection": "close"}, 400, "Upgrade request required"),
        ({"Upgrade": "h2c"}, 400, 'unable to upgrade: the protocol "h2c" is not spoken here'),
        (
            {"X-Stream-Protocol-Version": "v9.channel.k8s.io"},
            403,
            "unable to upgrade: unable to negotiate protocol: client supports [v9.channel.k8s.io], server accepts "
            "[v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io channel.k8s.io]",
        ),
        ({"Upgrade": "websocket"}, 400, "not a valid WebSocket handshake: version 13 and a 16 byte key are needed"),
    ],
)
async def test_upgrades_that_cannot_be_are_refused(
    running: Fixture, headers: dict[str, str], status: int, text: str
) -> None:
    asked = {**SPDY, "Connection": "Upgrade, close", **headers}
    assert await running.request("/exec/ns/web/c?command=ls&output=1", "POST", **asked) == (status, text)


async def test_a_timer_that_ends_takes_no_newer_one_of_its_request_with_it() -> None:
    old, new = (asyncio.ensure_future(asyncio.sleep(0)) for _ in range(2))
    timers: dict[str, asyncio.Task[None]] = {"7": new}
    ports._forget(timers, "7", old)
    assert timers == {"7": new}
    ports._forget(timers, "7", new)
    assert timers == {}
    await asyncio.gather(old, new)
