"""How the components of a process are: told to ``sampan status`` and the supervisor by a file, to users by Events.

Used by every Python process of an instance. The file is also its heartbeat: as long as the event loop turns, its time
of change is brought forward, and the supervisor replaces a process whose file stands still. It lives in memory
(``/run``) and holds only what has failed, so it is small and written at once.
"""

from __future__ import annotations

import asyncio
import logging
import os

import orjson

from sampan.api.clock import Clock, format_time
from sampan.api.faults import fault
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.events import EventRecorder
from sampan.cluster.heartbeat import BEAT_SECONDS, health_file
from sampan.cluster.instance import Instance
from sampan.keeping import Keeper, Kept

log = logging.getLogger(__name__)


class Reporter:
    """Of one process, ``program`` as the supervisor names it."""

    def __init__(self, instance: Instance, program: str, keeper: Keeper, clock: Clock) -> None:
        self._path = health_file(instance, program)
        self._program = program
        self._node_name = instance.node.name
        self._keeper = keeper
        self._clock = clock
        self._recorder: EventRecorder | None = None
        keeper.listen(self._changed)

    def report_with(self, client: Client) -> None:
        """Events from now on, about the node that the components run on."""
        self._recorder = EventRecorder(client, f"sampan-{self._program}", self._node_name, self._clock)
        self._keeper.keep("events of components", self._recorder.run)

    async def beat(self) -> None:
        """Says that the event loop turns, until cancelled."""
        self._write()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                os.utime(self._path)
            except OSError:  # somebody emptied the directory
                self._write()

    def _changed(self, kept: Kept) -> None:
        self._write()
        if self._recorder is not None and kept.state == "waiting":
            node: Obj = {"kind": "Node", "name": self._node_name, "uid": self._node_name}
            self._recorder.event(
                node, "Warning", "ComponentFailed", f"{kept.name} failed and is started again: {kept.last_fault}"
            )

    def _write(self) -> None:
        components = list(self._keeper)
        content = {
            "pid": os.getpid(),
            "components": len(components),
            "failed": [
                {
                    "name": kept.name,
                    "running": kept.state != "waiting",
                    "failures": kept.failures,
                    "lastFault": kept.last_fault,
                    "failedAt": format_time(kept.failed_at) if kept.failed_at else None,
                }
                for kept in components
                if kept.failures
            ],
        }
        temporary = self._path.with_suffix(".tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_bytes(orjson.dumps(content))
            temporary.rename(self._path)
        except OSError as error:
            log.warning("%s", fault(error, "write"))
            self._path.unlink(missing_ok=True)  # one that stands still would be taken for a process that does
