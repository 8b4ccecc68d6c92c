"""Measures the volumes of claims that pods of this node use, once a minute and soon after more of them came: for
``/stats/summary``, for ``kubelet_volume_stats_*``, and for the health that drivers report (upstream's
``volumeStatCalculator``).

Each driver, and each type of volume, is asked apart: one that hangs keeps its own numbers old and nobody else's; of
those that are file systems, one that hangs is passed over (``usage.FileSystems``). A node without claims does nothing
here.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Iterable
from typing import Final, Literal, Protocol

from sampan.api import objects
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.signal import Signal
from sampan.node.volumes.manager import ClaimedVolume
from sampan.node.volumes.usage import Measurement, Measurements, Unmeasured, VolumeUsage

log = logging.getLogger(__name__)

_PERIOD_SECONDS: Final = 60.0


class Claimed(Protocol):
    """``VolumeManager``. ``claims_news``: set when there are more of them than before."""

    claims_news: Signal

    def claimed(self) -> list[ClaimedVolume]: ...

    async def measure(self, volume: ClaimedVolume) -> VolumeUsage | None:
        """None: nobody can say. Raises Unmeasured."""
        ...


class Recorder(Protocol):
    def event(self, about: Obj, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


class VolumeMeasuring:
    def __init__(self, volumes: Claimed, recorder: Recorder, *, health: bool) -> None:
        """``health``: what drivers say of it is told (upstream's gate CSIVolumeHealth)."""
        self._volumes, self._recorder, self._health = volumes, recorder, health
        self._found: dict[tuple[str, str], Measurement] = {}
        #: what is being asked, by who is asked
        self._asking: dict[str, asyncio.Task[None]] = {}
        #: of these, those of whose volumes there were more meanwhile
        self._more: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        news = self._volumes.claims_news
        try:
            while True:
                news.clear()
                some = bool(self.look())
                try:
                    async with asyncio.timeout(_PERIOD_SECONDS if some else None):
                        await news.wait()
                except TimeoutError:
                    pass
        finally:
            await tasks.cancel_and_wait(*self._asking.values())

    def look(self) -> list[asyncio.Task[None]]:
        """What asks for all that there is now, of whoever has answered for the time before."""
        present: dict[str, list[ClaimedVolume]] = {}
        for each in self._volumes.claimed():
            present.setdefault(each.asked, []).append(each)
        keys = {each.key for group in present.values() for each in group}
        self._found = {key: found for key, found in self._found.items() if key in keys}
        for name, group in present.items():
            if name in self._asking:
                self._more.add(name)
            else:
                task = self._asking[name] = tasks.detach(self._ask(group), f"measuring of volumes of {name}")
                task.add_done_callback(functools.partial(self._asked, name))
        return list(self._asking.values())

    def latest(self) -> Measurements:
        found: dict[str, dict[str, Measurement]] = {}
        for (uid, name), each in self._found.items():
            found.setdefault(uid, {})[name] = each
        return found

    def _asked(self, name: str, task: asyncio.Task[None]) -> None:
        self._asking.pop(name, None)
        if name in self._more:
            self._more.discard(name)
            self._volumes.claims_news.set()

    async def _ask(self, group: Iterable[ClaimedVolume]) -> None:
        for each in group:
            try:
                usage = await self._volumes.measure(each)
            except Unmeasured as error:
                log.info("volume %s of pod %s/%s: %s", each.name, each.namespace, objects.name(each.pod), error)
                continue
            if usage is None:
                continue
            self._found[each.key] = Measurement(each.namespace, each.claim, self._known(usage))
            if usage.abnormal and self._health:
                words = f"Volume {each.name}: {usage.message}"
                self._recorder.event(each.pod, "Warning", "VolumeConditionAbnormal", words)

    def _known(self, usage: VolumeUsage) -> VolumeUsage:
        return usage if self._health else usage.without_health()
