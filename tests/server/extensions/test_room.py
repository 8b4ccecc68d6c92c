"""A flood of definitions waits for those before it to be served."""

from __future__ import annotations

import asyncio

import pytest

from sampan.server.extensions.room import Room


class Backlog:
    def __init__(self) -> None:
        self.length = 0
        self.room = Room(lambda: self.length, limit=2, seconds=3600)

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    def store(self) -> None:
        """Who entered has stored a definition, which nobody serves yet."""
        self.length += 1
        self.room.leave()

    def serve(self, number: int) -> None:
        self.length -= number
        self.room.let_in()


@pytest.fixture
def backlog() -> Backlog:
    return Backlog()


async def enter(backlog: Backlog, number: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(backlog.room.enter()) for _ in range(number)]
    await backlog.settle()
    return tasks


def entered(tasks: list[asyncio.Task[None]]) -> int:
    return sum(task.done() for task in tasks)


async def test_no_more_come_in_than_there_is_room_for_and_the_first_come_first(backlog: Backlog) -> None:
    tasks = await enter(backlog, 5)
    assert [task.done() for task in tasks] == [True, True, False, False, False]
    backlog.store()
    backlog.store()
    await backlog.settle()
    assert entered(tasks) == 2
    backlog.serve(1)
    await backlog.settle()
    assert [task.done() for task in tasks] == [True, True, True, False, False]
    backlog.serve(1)
    backlog.room.leave()  # its creation was refused
    await asyncio.gather(*tasks)


async def test_who_gives_up_waiting_takes_no_place(backlog: Backlog) -> None:
    tasks = await enter(backlog, 4)
    tasks[2].cancel()
    await backlog.settle()
    backlog.room.leave()
    await backlog.settle()
    assert tasks[3].done() and not tasks[3].cancelled()
    assert tasks[2].cancelled()


async def test_who_gives_up_when_his_turn_has_come_passes_it_on(backlog: Backlog) -> None:
    tasks = await enter(backlog, 4)
    backlog.room.leave()
    tasks[2].cancel()
    await backlog.settle()
    assert tasks[3].done() and not tasks[3].cancelled()


async def test_nobody_waits_forever_for_what_does_not_serve() -> None:
    room = Room(lambda: 100, limit=2, seconds=0)
    await room.enter()
    room.leave()
