"""Runs a scheduler whose plug-ins come from files, and takes a changed file in while it runs.

A file that cannot be read or makes no plug-in leaves all as it was, and the log says why; it is tried again when it
changes once more. QueueSort stays what it was at the start: the queue is in its order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, Protocol

from sampan.client import tasks
from sampan.client.timeline import Timeline
from sampan.scheduler import loading
from sampan.scheduler.config import SchedulerConfig

log = logging.getLogger(__name__)

#: between two looks at the files
LOOK_SECONDS: Final = 2.0


class Reloadable(Protocol):
    """The scheduler, as its plug-ins' files see it."""

    async def run(self, started: asyncio.Event | None = None) -> None: ...
    def replace_plugins(self, config: SchedulerConfig, changed: Collection[str]) -> None: ...


async def prepare(config: SchedulerConfig, files: Sequence[Path]) -> SchedulerConfig:
    """The configuration with all plug-ins that it names and that the files bring. Raises BadPlugin."""
    if all(profile.plugins is None for profile in config.profiles) and not files:
        return config
    installed = await asyncio.to_thread(loading.with_entry_points, config)
    return loading.with_files(installed, await asyncio.to_thread(loading.load_files, files))


async def follow(scheduler: Reloadable, config: SchedulerConfig, files: Sequence[Path], timeline: Timeline) -> None:
    """Until cancelled. ``config`` is that without plug-ins of files."""
    seen = await asyncio.to_thread(loading.versions, files)
    while True:
        await timeline.sleep(LOOK_SECONDS)
        now = await asyncio.to_thread(loading.versions, files)
        if now == seen:
            continue
        seen = now
        await take_in(scheduler, config, files)


async def take_in(scheduler: Reloadable, config: SchedulerConfig, files: Sequence[Path]) -> bool:
    """Whether the files' plug-ins are in force now."""
    try:
        found = await asyncio.to_thread(loading.load_files, files)
        scheduler.replace_plugins(loading.with_files(config, found), found.keys())
    except (Exception, SystemExit) as error:  # a plug-in may raise anything while it is made
        log.warning("plug-ins stay as they were: %s", error)
        return False
    log.info("plug-ins are in force: %s", ", ".join(sorted(found)))
    return True


async def run_following(
    scheduler: Reloadable,
    config: SchedulerConfig,
    files: Sequence[Path],
    timeline: Timeline,
    started: asyncio.Event | None = None,
) -> None:
    async with asyncio.TaskGroup() as group:
        tasks.spawn_eternal(group, scheduler.run(started), "scheduler")
        tasks.spawn_eternal(group, follow(scheduler, config, files, timeline), "plug-ins")
