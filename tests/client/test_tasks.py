"""Background tasks leave nothing behind, whenever they are cancelled."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from sampan.client import tasks


@pytest.mark.parametrize("spawn", [tasks.spawn_apart, tasks.spawn_eternal])
async def test_work_whose_task_is_cancelled_before_its_first_step_is_closed(spawn: Callable[..., Any]) -> None:
    work = tasks.forever()
    async with asyncio.TaskGroup() as group:
        spawn(group, work, "early").cancel()
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED
