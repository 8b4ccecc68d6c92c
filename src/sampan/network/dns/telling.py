"""What is wrong with the options, told by an Event of their ConfigMap: one a fault, whichever node says it first."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable

from sampan.api import objects
from sampan.api.clock import Clock, format_time
from sampan.api.errors import AlreadyExists, ApiError
from sampan.api.resources import EVENTS
from sampan.api.types import Obj
from sampan.client.client import Client

log = logging.getLogger(__name__)


async def tell_faults(client: Client, clock: Clock, config_map: Obj, faults: Iterable[str]) -> None:
    """Raises nothing but cancellation."""
    for fault in faults:
        log.warning("ConfigMap kube-system/%s: %s", objects.name(config_map), fault)
        try:
            await client.create(EVENTS, render_fault(config_map, fault, format_time(clock.now())))
        except AlreadyExists:
            pass
        except ApiError as error:
            log.debug("the fault is not told: %s", error.message)


def render_fault(config_map: Obj, fault: str, now: str) -> Obj:
    """Pure."""
    name, namespace, version = (
        objects.name(config_map), objects.namespace(config_map), objects.resource_version(config_map)
    )  # fmt: skip
    return {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": f"{name}.{zlib.crc32(f'{version} {fault}'.encode()):08x}", "namespace": namespace},
        "involvedObject": {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "namespace": namespace,
            "name": name,
            "uid": objects.uid(config_map),
            "resourceVersion": version,
        },
        "type": "Warning",
        "reason": "InvalidConfiguration",
        "message": fault[:1000],
        "source": {"component": "sampan-dns"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
