"""What a process of an instance leaves in ``/run`` about itself, and how the supervisor and ``status`` read it.

Written by ``reporting``; standard library and orjson only, as the supervisor needs it.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from sampan.cluster.instance import Instance
from sampan.records import dataclass

#: Between two signs of life.
BEAT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ComponentSeen:
    """A component that has failed since its process started. ``running``: and runs again."""

    name: str
    running: bool
    failures: int
    last_fault: str


@dataclass(frozen=True, slots=True)
class Health:
    """``beat_ns`` changes as long as the process's event loop turns."""

    pid: int
    beat_ns: int
    components: int
    failed: tuple[ComponentSeen, ...]


def health_file(instance: Instance, program: str) -> Path:
    return instance.run / "health" / f"{program}.json"


def read_health(instance: Instance, program: str) -> Health | None:
    """None: it has not said anything (yet)."""
    path = health_file(instance, program)
    try:
        beat_ns = path.stat().st_mtime_ns
        content = orjson.loads(path.read_bytes())
        failed = tuple(
            ComponentSeen(str(each["name"]), bool(each["running"]), int(each["failures"]), str(each["lastFault"]))
            for each in content["failed"]
        )
        return Health(int(content["pid"]), beat_ns, int(content["components"]), failed)
    except (OSError, ValueError, KeyError, TypeError):
        return None
