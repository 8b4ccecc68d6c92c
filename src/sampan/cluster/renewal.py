"""Certificates of a cluster that runs for long: made anew in time, and taken up by who uses them.

A component of the server process. Its programs read certificates when they start, so each is told to end and the
supervisor starts it again: once in nine months, a second or two without an API server, no container touched.

A mark beside the certificates says that one is under way. It goes when everybody was told, so that what a crash, a full
disk or a missing supervisor cut short is done again at the next look.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

from sampan.api.clock import Clock
from sampan.cluster import kubeconfigs, leftovers, pki, processes, supervisor
from sampan.cluster.instance import Instance

#: Leaves have a year, and three months are left when they are made anew.
CHECK_SECONDS = 12 * 3600.0

log = logging.getLogger(__name__)


async def keep_current(instance: Instance, clock: Clock) -> None:
    """Until cancelled, or until it has this process end for its own new certificate."""
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        if await asyncio.to_thread(renew, instance, clock):
            log.info("certificates were about to run out and are made anew; the programs start again with them")
            if supervisor.is_running(instance):
                await asyncio.to_thread(_start_again, instance)


def renew(instance: Instance, clock: Clock) -> bool:
    """Makes anew what runs out, and writes it wherever it was copied to. False: all is current."""
    mark = _mark(instance)
    half_done = mark.exists()
    mark.touch(mode=0o600)
    before = _leaves(instance)
    pki.ensure(instance, clock)
    if _leaves(instance) == before and not half_done:
        mark.unlink()
        return False
    kubeconfigs.write_all(instance)
    for problem in kubeconfigs.refresh(instance):
        log.warning("%s", problem)
    return True


def _mark(instance: Instance) -> Path:
    return instance.pki / "renewing"


def _leaves(instance: Instance) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in instance.pki.glob("*.crt")}


def _start_again(instance: Instance) -> None:
    """This process comes last: then the others find an API server that has its new certificate, or wait for it."""
    for process in processes.running():
        if processes.is_program(process, instance) and process.executable != "containerd":
            leftovers.kill(process, signal.SIGTERM)
    _mark(instance).unlink(missing_ok=True)
    os.kill(os.getpid(), signal.SIGTERM)
