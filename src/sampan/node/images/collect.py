"""Removes images nobody uses when the image filesystem is nearly full: oldest use first, down to the low mark.

Run by the agent. Never removes an image that a container uses, nor a pinned one, nor the pause image.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.host import Host
from sampan.node.images.local import PAUSE_IMAGE
from sampan.node.images.manager import ImageManager

log = logging.getLogger(__name__)


def plan_collection(
    images: Iterable[runtime.Image], used: frozenset[str], last_used: Mapping[str, float], bytes_to_free: int
) -> list[runtime.Image]:
    """What to remove, in order, until enough is freed. Pure."""
    candidates = [
        image for image in images if image.id not in used and not image.pinned and PAUSE_IMAGE not in image.tags
    ]
    chosen = []
    for image in sorted(candidates, key=lambda item: (last_used.get(item.id, 0.0), item.id)):
        if bytes_to_free <= 0:
            break
        chosen.append(image)
        bytes_to_free -= image.size_bytes
    return chosen


async def collect_forever(config: NodeConfig, source: runtime.Runtime, images: ImageManager, host: Host) -> None:
    last_used: dict[str, float] = {}
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(config.image_gc_period_seconds)
        try:
            containers = await source.list_containers()
            used = frozenset(container.image_ref for container in containers)
            present = await images.present()
            for image in present:
                if image.id in used or image.id not in last_used:
                    last_used[image.id] = loop.time()
            last_used = {image.id: last_used[image.id] for image in present}
            excess = await _excess_bytes(config, source, host)
            for image in plan_collection(present, used, last_used, excess):
                try:
                    await source.remove_image(image.id)
                    log.info("removed unused image %s", image.tags[:1] or image.id)
                except runtime.RuntimeCallError as error:  # the others are tried all the same
                    log.warning("image %s cannot be removed: %s", image.tags[:1] or image.id, error)
        except runtime.RuntimeCallError as error:
            log.warning("image collection: %s", error)


async def _excess_bytes(config: NodeConfig, source: runtime.Runtime, host: Host) -> int:
    mount_point, _ = await source.image_filesystem()
    disk = host.disk(mount_point)
    used = disk.total_bytes - disk.free_bytes
    if used * 100 < disk.total_bytes * config.image_gc_high_percent:
        return 0
    return used - disk.total_bytes * config.image_gc_low_percent // 100
