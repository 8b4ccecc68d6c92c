"""What was allocated, on disk: an agent that begins anew gives nobody a device that a running container has.

One JSON file, replaced by a rename. Synchronous. A damaged one is moved aside and told: then nothing is known of the
devices of running pods, and their containers keep them until they end.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from pathlib import Path

import orjson

from sampan.node import wholefile
from sampan.records import dataclass

log = logging.getLogger(__name__)

_VERSION = 1
_LIMIT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Allocation:
    """The devices of one container of one resource, and the plug-in's answer (a ContainerAllocateResponse); None: it
    is being asked."""

    devices: tuple[str, ...]
    answer: bytes | None


#: By pod uid, then by container and resource.
Allocations = dict[str, dict[tuple[str, str], Allocation]]


def write(path: Path, allocations: Mapping[str, Mapping[tuple[str, str], Allocation]]) -> None:
    """Without what has no answer yet: whoever reads it asks the plug-in again. Raises OSError; ValueError when it is
    longer than 16 MiB."""
    rows = [
        [uid, container, resource, list(given.devices), base64.b64encode(given.answer).decode()]
        for uid, of_pod in allocations.items()
        for (container, resource), given in of_pod.items()
        if given.answer is not None
    ]
    encoded = orjson.dumps({"version": _VERSION, "allocations": rows})
    if len(encoded) > _LIMIT_BYTES:
        raise ValueError(f"the record of devices is longer than {_LIMIT_BYTES} bytes")
    wholefile.replace(path, encoded, flush=True)


def read(path: Path) -> Allocations:
    """Raises OSError."""
    try:
        with path.open("rb") as file:
            encoded = file.read(_LIMIT_BYTES + 1)
    except FileNotFoundError:
        return {}
    try:
        return _decoded(encoded)
    except (ValueError, TypeError, KeyError):
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        log.error("%s cannot be read and was moved to %s: devices of running pods may be given away", path, aside)
        return {}


def _decoded(encoded: bytes) -> Allocations:
    found = orjson.loads(encoded)
    if found["version"] != _VERSION:
        raise ValueError("of another version")
    allocations: Allocations = {}
    for uid, container, resource, devices, answer in found["allocations"]:
        if not all(isinstance(word, str) for word in (uid, container, resource, *devices)):
            raise TypeError("not an allocation")
        given = Allocation(tuple(devices), base64.b64decode(answer, validate=True))
        allocations.setdefault(uid, {})[container, resource] = given
    return allocations
