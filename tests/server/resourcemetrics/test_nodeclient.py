"""The one request that the server makes to a node agent again and again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.server.resourcemetrics.conftest import Agent, answer

from sampan.server.resourcemetrics import nodeclient
from sampan.server.resourcemetrics.nodeclient import NoAnswer, NodeClient


@pytest.fixture
def client() -> Iterator[NodeClient]:
    made = NodeClient(None)
    yield made
    made.close()


async def test_a_connection_serves_many_requests(agent: Agent, client: NodeClient) -> None:
    agent.answers = [answer(b"one"), answer(b"two")]
    assert await client.get(agent.address, "/a") == "one"
    assert await client.get(agent.address, "/b") == "two"
    assert (agent.asked, agent.connections) == (["/a", "/b"], 1)


@pytest.mark.parametrize("hangs_up", [True, False], ids=["silently", "and says so"])
async def test_a_connection_that_was_closed_is_made_anew(agent: Agent, client: NodeClient, hangs_up: bool) -> None:
    agent.hangs_up = hangs_up
    agent.answers = [answer(b"x", *([] if hangs_up else ["Connection: close"]))]
    assert await client.get(agent.address, "/") == "x"
    assert await client.get(agent.address, "/") == "x"
    assert agent.connections == 2


async def test_chunks_are_put_together(agent: Agent, client: NodeClient) -> None:
    chunks = b"".join(b"1;x=y\r\n%c\r\n" % letter for letter in b"many chunks" * 20)
    agent.answers = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nA: b\r\n\r\n"]
    assert await client.get(agent.address, "/") == "many chunks" * 20
    assert await client.get(agent.address, "/") == "many chunks" * 20
    assert agent.connections == 1


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (answer(b"no", status="401 Unauthorized"), "it answers / with 401"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "its answer is no HTTP, or too long"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "its answer is no HTTP, or too long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "its answer is no HTTP, or too long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "its answer is no HTTP, or too long"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000 + b"\r\n", "its answer is no HTTP, or too long"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 50,
            "its answer is no HTTP, or too long",
        ),
        (answer(b"short", "Connection: close").replace(b"short", b"s"), "the connection was closed"),
    ],
)
async def test_what_is_no_answer_is_said_in_words(agent: Agent, client: NodeClient, said: bytes, fault: str) -> None:
    agent.answers = [said]
    with pytest.raises(NoAnswer, match=fault):
        await client.get(agent.address, "/")
    agent.answers = [answer(b"well again")]
    assert await client.get(agent.address, "/") == "well again"


async def test_chunks_are_bounded_too(agent: Agent, client: NodeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodeclient, "BODY_BYTES", 10)
    agent.answers = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n"]
    with pytest.raises(NoAnswer, match="too long"):
        await client.get(agent.address, "/")


async def test_nobody_there_is_said_in_words(agent: Agent, client: NodeClient) -> None:
    await agent.stop()
    with pytest.raises(NoAnswer):
        await client.get(agent.address, "/")
