"""The supervisor keeps the programs, and the programs keep the supervisor: one that died is started again.

Run by the server and the node process. They wait for the supervisor's end without asking again and again, give systemd
or ``sampan up`` a moment to start another one, and else start it themselves, as it was started before: the same words,
the same environment. Two that do so at once are no harm, since only one gets the supervisor's lock. Nothing is done
while ``up`` or ``down`` works on the instance, nor after a ``down``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson

from sampan.api.faults import fault
from sampan.cluster import processes
from sampan.cluster.instance import Instance
from sampan.cluster.logfiles import open_log
from sampan.cluster.processes import Process
from sampan.cluster.running import Adopted
from sampan.records import dataclass

log = logging.getLogger(__name__)

#: For others to start it …
GRACE_SECONDS = 1.0
#: … and for systemd, which would go on trying if it were not the first.
SYSTEMD_GRACE_SECONDS = 5.0
#: Between two looks while there is none.
LOOK_SECONDS = 0.5
SHELL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Beginning:
    """How a supervisor was started."""

    argv: tuple[str, ...]
    environment: dict[bytes, bytes]


async def hold(instance: Instance) -> None:
    """Until cancelled."""
    beginning: _Beginning | None = None
    while True:
        supervisor = find_supervisor(instance)
        if supervisor is not None:
            beginning = _beginning(supervisor) or beginning
            await Adopted(supervisor).wait()
            by_systemd = beginning is not None and b"INVOCATION_ID" in beginning.environment
            await asyncio.sleep(SYSTEMD_GRACE_SECONDS if by_systemd else GRACE_SECONDS)
            continue
        if beginning is not None and not is_stopping(instance):
            await asyncio.to_thread(_start, instance, beginning)
        await asyncio.sleep(LOOK_SECONDS)


def find_supervisor(instance: Instance) -> Process | None:
    """The one that wrote the status, or another one that runs."""
    written = _read_status(instance).get("supervisor")
    known = processes.look(written) if isinstance(written, int) else None
    if known is not None and processes.is_supervisor(known, instance):
        return known
    return next((found for found in processes.running() if processes.is_supervisor(found, instance)), None)


def _beginning(supervisor: Process) -> _Beginning | None:
    try:
        words = Path(f"/proc/{supervisor.pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it is gone already
        return None
    pairs = (word.partition(b"=") for word in words if b"=" in word)
    return _Beginning(supervisor.arguments, {name: value for name, _, value in pairs})


def _start(instance: Instance, beginning: _Beginning) -> None:
    with _unchanged(instance) as mine:
        if not mine:
            return
        log.warning("the supervisor is gone; it is started again")
        try:
            descriptor = open_log(instance.logs / "supervisor.log")
            try:
                subprocess.run(
                    # By a shell that ends at once: the supervisor is nobody's child, as it was.
                    ("/bin/sh", "-c", '"$@" &', "sh", *beginning.argv),
                    stdin=subprocess.DEVNULL,
                    stdout=descriptor,
                    stderr=descriptor,
                    cwd="/",
                    env=beginning.environment,
                    start_new_session=True,
                    timeout=SHELL_SECONDS,
                    check=True,
                )
            finally:
                os.close(descriptor)
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("the supervisor cannot be started: %s", fault(error, "exec"))


@contextlib.contextmanager
def _unchanged(instance: Instance) -> Iterator[bool]:
    """True, and so for the time being: neither ``up`` nor ``down`` works on the instance."""
    try:
        descriptor = os.open(instance.change_lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def is_stopping(instance: Instance) -> bool:
    """Told to by ``down``: what is left of the programs will end, too."""
    return bool(_read_status(instance).get("stopping"))


def _read_status(instance: Instance) -> dict[str, object]:
    try:
        status = orjson.loads(instance.status_file.read_bytes())
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}
