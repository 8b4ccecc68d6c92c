"""A port of another program disturbs nobody at the ports that are served, and is served once it is given up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from edge_lab import ADDRESS, HTTP, HTTPS, OWNER, ask, connected, lab

from sampan.api.clock import SystemClock
from sampan.client import tasks
from sampan.edge import edge
from sampan.edge.config import EdgeConfig
from sampan.edge.edge import Edge
from sampan.edge.haproxy import ports
from sampan.edge.model import Backend, Listener, Plane, Route, VirtualHost, Weighted
from sampan.edge.source import Board, Served


def _listener(port: int, *backends: Backend) -> Listener:
    route = Route(f"r{port}", OWNER, backends=tuple(map(Weighted, backends)), fault_status=418)
    return Listener(f"l{port}", port, address=ADDRESS, hosts=(VirtualHost("", (route,)),))


@pytest.fixture
def other() -> Iterator[socket.socket]:
    with socket.create_server((ADDRESS, HTTPS)) as listening:
        yield listening


async def test_a_port_of_another_program_is_told_and_ours_is_not_started_for_it(other: socket.socket) -> None:
    async with lab() as made:
        one = Backend("web", (await made.backend("one"),))
        started: list[bool] = []
        start = made.program.start

        async def counted(rendered: object) -> object:
            refusal = await start(rendered)  # type: ignore[arg-type]
            started.append(refusal is None)
            return refusal

        made.program.start = counted  # type: ignore[assignment,method-assign]
        plane = Plane((_listener(HTTP, one), _listener(HTTPS, one)))
        for _ in range(2):
            told = await made.plane.apply(plane)
            assert [each.text for each in told] == [f"port {HTTPS} of the node is taken by another program"]
            assert made.plane.lacks_ports
        assert started == [True]  # a start that fails would have stopped the other port for seconds
        assert (await ask("any", "/", port=HTTP)).got["backend"] == "one"
        assert not ports.taken([_listener(HTTP)], ipv6=False, own={HTTP})  # our own program's
        other.close()
        assert (await made.plane.apply(plane), made.plane.lacks_ports) == ([], False)
        assert (await ask("any", "/", port=HTTPS)).got["backend"] == "one"


class _Static:
    """A source that never has any news."""

    name = "static"

    def __init__(self) -> None:
        self.told = asyncio.Event()

    async def run(self, board: Board) -> None:
        board.changed(self.name)
        await tasks.forever()

    async def listeners(self) -> Sequence[Listener]:
        return [_listener(HTTPS)]

    async def served(self, served: Served) -> None:
        if served.problems:
            self.told.set()


async def test_a_port_that_is_given_up_is_served_without_any_change(
    other: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "TAKEN_SECONDS", 0.01)
    source = _Static()
    config = EdgeConfig(tmp_path / "edge", tmp_path / "run", tmp_path / "log", "test", "node", ADDRESS)
    running = tasks.detach(Edge(config, [source], SystemClock(), lambda: True).run(), "edge")
    try:
        await source.told.wait()
        other.close()
        while (status := await _status()) == 0:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.01)
        assert status == 418
    finally:
        await tasks.cancel_and_wait(running)


async def _status() -> int:
    try:
        async with connected(HTTPS):
            return (await ask("any", "/", port=HTTPS)).status
    except (OSError, asyncio.IncompleteReadError):
        return 0
