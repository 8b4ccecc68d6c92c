"""``sampan scheduler``: the scheduler over HTTP, for any API server."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from sampan.client.leaderelection import Term, fenced
from sampan.cluster.apart.options import Program
from sampan.cluster.apart.program import Tools, run
from sampan.cluster.errors import ClusterError
from sampan.scheduler import loading
from sampan.scheduler.config import SchedulerConfig
from sampan.scheduler.configuration import reading
from sampan.scheduler.configuration.fields import BadConfiguration
from sampan.scheduler.pluginsets import WrongPlugins
from sampan.scheduler.records import PATH, Attempts
from sampan.scheduler.scheduler import run_scheduler

log = logging.getLogger(__name__)


def load(path: str) -> reading.Loaded:
    """Raises ClusterError."""
    try:
        return reading.load(Path(path))
    except BadConfiguration as error:
        raise ClusterError(f"--config: {path}: {error}", fix="mend the file; docs/scheduler.md shows one") from error


def with_gates(config: SchedulerConfig, gates: str) -> SchedulerConfig:
    """Raises ClusterError."""
    try:
        return config.with_gates(gates)
    except ValueError as error:
        raise ClusterError(
            f"--feature-gates: {error}", fix="write it like A=true,B=false, with names of Kubernetes v1.37"
        ) from error


def check_plugins(files: Sequence[Path], config: SchedulerConfig) -> None:
    """Loads them once, so that a mistake is told at once. Raises ClusterError."""
    try:
        loading.with_files(loading.with_entry_points(config), loading.load_files(files))
    except loading.BadPlugin as error:
        raise ClusterError(str(error), fix="mend the plug-in; docs/scheduler.md shows what one looks like") from error


async def serve(program: Program, config: SchedulerConfig, plugin_files: Sequence[Path] = ()) -> None:
    """Raises ClusterError."""
    attempts = Attempts()

    async def work(tools: Tools, term: Term) -> None:
        client = fenced(tools.client, term)
        try:
            await run_scheduler(
                client,
                clock=tools.clock,
                random=tools.random,
                config=config,
                attempts=attempts,
                plugin_files=plugin_files,
            )
        except (loading.BadPlugin, WrongPlugins) as error:
            raise ClusterError(str(error), fix="mend the configuration or the plug-in; docs/scheduler.md") from error

    await run(program, work, documents={PATH: attempts.answer})
