"""Reads in the kernel's log that the machine as a whole ran out of memory, and tells it: the Event ``SystemOOM``.

What a pod's own limit costs is the runtime's to tell; here only what the kernel ended for want of memory at all counts.
Without the right to read the log it is said once, and nothing is told.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sampan.api.faults import cause
from sampan.client import tasks

log = logging.getLogger(__name__)

KERNEL_LOG = Path("/dev/kmsg")
#: the longest record that the kernel gives
_RECORD_BYTES = 8192
#: told of in one turn of the event loop: others have work, too
_RECORDS_A_TURN = 100
_VICTIM = re.compile(r"^oom-kill:constraint=CONSTRAINT_NONE\b.*\btask=(?P<task>[^,]*),pid=(?P<pid>\d+)\b")

Tell = Callable[[Any, str, str], None]


def victim(record: str) -> tuple[str, int] | None:
    """Name and id of the process that the kernel ended for want of memory of the machine. Pure.

    ``record``: a line of /dev/kmsg, ``priority,sequence,microseconds,flags;text``."""
    found = _VICTIM.match(record.partition(";")[2])
    return (found["task"], int(found["pid"])) if found else None


async def follow(tell: Tell, path: Path = KERNEL_LOG) -> None:
    """From now on, until cancelled."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        log.info("the kernel's log cannot be read, so SystemOOM is not told: %s", cause(error))
        await tasks.forever()
        return
    loop = asyncio.get_running_loop()
    try:
        os.lseek(descriptor, 0, os.SEEK_END)
        loop.add_reader(descriptor, _tell_of, descriptor, tell)
        await tasks.forever()
    except OSError as error:
        log.info("the kernel's log cannot be followed, so SystemOOM is not told: %s", cause(error))
        await tasks.forever()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _tell_of(descriptor: int, tell: Tell) -> None:
    for record in _records(descriptor):
        if (ended := victim(record)) is not None:
            task, pid = ended
            tell("Warning", "SystemOOM", f"System OOM encountered, victim process: {task}, pid: {pid}")


def _records(descriptor: int) -> Iterator[str]:
    """What is there by now. One read gives one record; the kernel overwrites what nobody read in time (EPIPE)."""
    for _ in range(_RECORDS_A_TURN):
        try:
            data = os.read(descriptor, _RECORD_BYTES)
        except BrokenPipeError:
            continue
        except OSError:  # nothing more for now
            return
        if not data:
            return
        yield data.decode(errors="replace")
