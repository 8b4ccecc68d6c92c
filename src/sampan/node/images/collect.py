"""Removes what nobody needs from the node's disk: images, containers that have ended, logs of pods that are gone.

Run by the agent. Images go when their file system is nearly full (the longest unused first, down to the low mark), or
when they were unused for longer than allowed, or at once when the node is short of disk (``reclaim``). Never removed:
an image that a container or a volume uses, a pinned one, the pause image, one that came within the minimum age.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from sampan.api.faults import cause
from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.host import Host
from sampan.node.images.local import PAUSE_IMAGE
from sampan.node.images.manager import ImageManager
from sampan.records import dataclass

log = logging.getLogger(__name__)

_FOR_EVER = 1 << 62
_LOGS_A_SWEEP = 1000

Tell = Callable[[Any, str, str], None]


@dataclass(frozen=True, slots=True)
class Seen:
    """Since when an image is known, and when it was used last: moments of one clock. ``first`` is minus infinity for
    what was there before anybody looked."""

    first: float
    used: float


def plan_images(
    images: Iterable[runtime.Image], used: Collection[str], seen: Mapping[str, Seen], now: float, minimum_age: float
) -> list[runtime.Image]:
    """What may be removed, in the order in which it should be. Pure."""
    candidates = [
        image
        for image in images
        if image.id not in used
        and not image.pinned
        and PAUSE_IMAGE not in image.tags
        and now - seen[image.id].first >= minimum_age
    ]
    return sorted(candidates, key=lambda image: (seen[image.id].used, seen[image.id].first, image.id))


def enough(images: Iterable[runtime.Image], bytes_to_free: int) -> list[runtime.Image]:
    """The first of them, until so much is freed. Pure."""
    chosen = []
    for image in images:
        if bytes_to_free <= 0:
            break
        chosen.append(image)
        bytes_to_free -= image.size_bytes
    return chosen


class Collector:
    def __init__(
        self,
        config: NodeConfig,
        source: runtime.Runtime,
        images: ImageManager,
        host: Host,
        tell: Tell,
        *,
        ended: Callable[[], Collection[str]] = tuple,
        known: Callable[[], Collection[str]] | None = None,
        removed: Callable[[Collection[str]], None] = lambda uids: None,
    ) -> None:
        """``ended``: uids of pods of which nothing will run again; ``known``: of all whose logs are wanted (None: logs
        are not swept). ``removed`` is told the pods whose containers went."""
        self._config, self._runtime, self._images, self._host, self._tell = config, source, images, host, tell
        self._ended, self._known, self._removed = ended, known, removed
        self._seen: dict[str, Seen] | None = None
        self._failed_before = False

    async def run(self) -> None:
        """Images every five minutes, as upstream; logs with them."""
        while True:
            await asyncio.sleep(self._config.image_gc_period_seconds)
            await self.collect()
            await self._sweep_logs()

    async def collect(self) -> None:
        fault = await self._collect()
        if fault and self._failed_before:
            self._tell("Warning", "ImageGCFailed", fault)
        self._failed_before = bool(fault)

    async def reclaim(self) -> None:
        """Everything that nobody needs, for a node that is short of disk."""
        try:
            await self._remove_ended()
            await self._remove(await self._candidates())
        except runtime.RuntimeCallError as error:
            log.warning("image collection: %s", error)

    async def _collect(self) -> str:
        """What went wrong; "" when nothing did."""
        try:
            candidates = await self._candidates()
            oldest = self._config.image_maximum_age_seconds
            if oldest > 0:
                since = asyncio.get_running_loop().time() - oldest
                assert self._seen is not None
                aged = [image for image in candidates if self._seen[image.id].used <= since]
                await self._remove(aged)
                candidates = [image for image in candidates if image not in aged]
            mount_point, _ = await self._runtime.image_filesystem()
            disk = self._host.disk(mount_point)
            if disk.total_bytes <= 0:
                fault = f"invalid capacity {disk.total_bytes} on image filesystem"
                self._tell("Warning", "InvalidDiskCapacity", fault)
                return fault
            wanted = excess_bytes(disk.total_bytes, disk.free_bytes, self._config)
            if wanted <= 0:
                return ""
            freed = await self._remove(enough(candidates, wanted))
            if freed >= wanted:
                return ""
            fault = (
                "Failed to garbage collect required amount of images. "
                f"Attempted to free {wanted} bytes, but only found {freed} bytes eligible to free."
            )
            self._tell("Warning", "FreeDiskSpaceFailed", fault)
            return fault
        except runtime.RuntimeCallError as error:
            log.warning("image collection: %s", error)
            return str(error)

    async def _candidates(self) -> list[runtime.Image]:
        """Looks at what there is and what is used. Raises RuntimeCallError."""
        now = asyncio.get_running_loop().time()
        used = {container.image_ref for container in await self._runtime.list_containers()} | self._images.held()
        present = await self._images.present()
        before, new = self._seen or {}, float("-inf") if self._seen is None else now
        self._seen = {
            image.id: Seen(known.first, now if image.id in used else known.used)
            for image in present
            for known in (before.get(image.id) or Seen(new, now if image.id in used else new),)
        }
        return plan_images(present, used, self._seen, now, self._config.image_minimum_age_seconds)

    async def _remove(self, images: Iterable[runtime.Image]) -> int:
        """How many bytes that freed."""
        freed = 0
        for image in images:
            try:
                await self._runtime.remove_image(image.id)
                freed += image.size_bytes
                log.info("removed unused image %s", image.tags[:1] or image.id)
            except runtime.RuntimeCallError as error:  # the others are tried all the same
                log.warning("image %s cannot be removed: %s", image.tags[:1] or image.id, error)
        return freed

    async def _remove_ended(self) -> None:
        """Containers of pods that have ended, with their logs. Raises RuntimeCallError when nothing can be listed."""
        ended, gone = set(self._ended()), set()
        for container in await self._runtime.list_containers():
            uid = container.labels.get(runtime.POD_UID_LABEL, "")
            if container.state != "exited" or uid not in ended:
                continue
            try:
                await self._runtime.remove_container(container.id)
            except runtime.RuntimeCallError as error:
                log.warning("container %s cannot be removed: %s", container.name, error)
                continue
            gone.add(uid)
            labels = container.labels
            folder = self._config.pod_log_dir(
                labels.get(runtime.POD_NAMESPACE_LABEL, ""), labels.get(runtime.POD_NAME_LABEL, ""), uid
            )
            await self._host.remove_tree(folder / container.name)
        if gone:
            self._removed(gone)

    async def _sweep_logs(self) -> None:
        """Logs of pods that were deleted while no agent was running."""
        if self._known is None:
            return
        folders = await asyncio.to_thread(_folders, self._config.log_dir)
        known = set(self._known())
        try:
            known |= {each.labels.get(runtime.POD_UID_LABEL, each.uid) for each in await self._runtime.list_sandboxes()}
        except runtime.RuntimeCallError as error:
            log.warning("runtime: %s", error)
            return
        for folder in folders:
            if folder.name.rpartition("_")[2] not in known:
                log.info("removing the logs of a pod that is gone: %s", folder.name)
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def excess_bytes(total: int, free: int, config: NodeConfig) -> int:
    """How much is to be freed; 0 while the high mark is not reached. Pure."""
    if 100 - free * 100 // total < config.image_gc_high_percent:
        return 0
    return total * (100 - config.image_gc_low_percent) // 100 - free


def _folders(root: Path) -> list[Path]:
    """``<namespace>_<name>_<uid>``, of which neither namespace nor name has an underscore."""
    try:
        return [path for path in sorted(root.iterdir()) if path.name.count("_") == 2][:_LOGS_A_SWEEP]
    except OSError as error:
        log.debug("logs of pods: %s", cause(error))
        return []
