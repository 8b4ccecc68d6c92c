"""The one place that starts background tasks: named, owned, and never lost silently.

Every component runs its tasks in a ``TaskGroup``; these helpers give them names and turn an "eternal" task that ends
into an error. Nothing here knows what the tasks do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class EternalTaskEnded(RuntimeError):
    """A task that should run until cancelled returned: a bug of the component."""


async def eternal(work: Awaitable[Any], name: str) -> None:
    """Awaits work that only ever ends by cancellation; raises EternalTaskEnded when it returns."""
    await work
    raise EternalTaskEnded(f"{name} ended although nobody cancelled it")


def spawn(group: asyncio.TaskGroup, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """A task that may end. It belongs to the group: its error cancels the group's other tasks."""
    return group.create_task(work, name=name)


def spawn_apart(group: asyncio.TaskGroup, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """A request, a question, one object's work: it ends with the group, and its error is logged and costs the group
    nothing."""
    return _begun(group, _apart(work, name), work, name)


async def _apart(work: Awaitable[Any], name: str) -> None:
    try:
        await work
    except Exception:  # the boundary of a task that nobody waits for: its fault is told, and is its own
        log.exception("%s failed", name)


def spawn_eternal(group: asyncio.TaskGroup, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """A task that must not end: its return is an error of the group."""
    return _begun(group, eternal(work, name), work, name)


def _begun(
    group: asyncio.TaskGroup, around: Coroutine[Any, Any, None], work: Coroutine[Any, Any, Any], name: str
) -> asyncio.Task[Any]:
    """A task that is cancelled before its first step never comes to ``work``, which Python would complain of."""
    task = group.create_task(around, name=name)
    task.add_done_callback(lambda _: work.close())
    return task


async def run_all(**work: Coroutine[Any, Any, Any]) -> None:
    """Runs eternal coroutines together, named by keyword; returns only by cancellation or with their error."""
    async with asyncio.TaskGroup() as group:
        for name, coroutine in work.items():
            spawn_eternal(group, coroutine, name)


def detach(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """A task without a group, for owners whose life is not a ``with`` block. Its error is logged, never lost.

    The owner keeps the task and ends it with ``cancel_and_wait``.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task %s failed", task.get_name(), exc_info=error)


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks and waits until each has ended; their errors were reported where they belong."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def forever() -> None:
    """Waits until cancelled."""
    await asyncio.get_running_loop().create_future()
