"""Binding cycles: Permit, PreBind, Bind of pods that have been decided on. They run beside the decisions.

At most so many bindings run at one time. A pod that waits for its permit takes none of these places: of a gang, as many
may wait as the nodes have room for, and others are bound meanwhile. Waiting ends when the plug-in answers, when its
time is over, when the pod is gone, or when somebody rejects it. What an outcome means for cache and queue is the
shell's (``scheduler.py``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from sampan.api.errors import ApiError
from sampan.keeping import fault_words
from sampan.scheduler.framework import (
    BindPlugin,
    Code,
    PermitPlugin,
    PostBindPlugin,
    PreBindPlugin,
    ReservePlugin,
    Status,
)
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.profile import Profile

log = logging.getLogger(__name__)


class PluginRefused(Exception):
    """A Permit, PreBind or Bind plug-in said no. ``waited``: it is a permit that was not given."""

    def __init__(self, message: str, *, waited: bool = False) -> None:
        super().__init__(message)
        self.waited = waited


class PluginRaised(Exception):
    """A plug-in's bug, in words for the pod's owner."""


class _Place:
    """One of the places; knows whether it is held."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._held = True

    async def take(self) -> None:
        await self._places.acquire()
        self._held = True

    def leave(self) -> None:
        if self._held:
            self._held = False
            self._places.release()


class Bindings:
    """``limit`` places; ``permit_seconds`` is the longest that a pod waits for its permits together."""

    def __init__(self, limit: int, permit_seconds: float) -> None:
        self._places = asyncio.Semaphore(limit)
        self._permit_seconds = permit_seconds
        self._waiting: dict[str, asyncio.Timeout] = {}
        self._rejected: dict[str, str] = {}

    async def room(self) -> None:
        """Takes a place, for ``run`` or ``give_back``."""
        await self._places.acquire()

    @property
    def has_room(self) -> bool:
        return not self._places.locked()

    def give_back(self) -> None:
        self._places.release()

    def is_waiting(self, uid: str) -> bool:
        return uid in self._waiting

    def reject(self, uid: str, why: str) -> bool:
        """Ends the waiting of a pod for its permit; False: it does not wait."""
        waiting = self._waiting.get(uid)
        if waiting is None or waiting.expired():
            return False
        self._rejected[uid] = why
        waiting.reschedule(asyncio.get_running_loop().time())
        return True

    async def run(
        self,
        profile: Profile,
        pod: PodInfo,
        node: str,
        bound: Callable[[], None],
        failed: Callable[[ApiError | PluginRefused | PluginRaised], None],
    ) -> None:
        """One binding cycle, in a place that was taken before. Raises nothing but cancellation."""
        place = _Place(self._places)
        try:
            permits = profile.having(PermitPlugin)
            if permits:
                place.leave()
                await self._permit(permits, pod, node)
                await place.take()
            await self._pre_bind(profile, pod, node, place)
            await _bind(profile, pod, node)
        except (ApiError, PluginRefused) as error:
            failed(error)
        except Exception as error:
            log.exception("binding %s failed", pod.key)
            failed(PluginRaised(fault_words(error)))
        else:
            bound()
        finally:
            place.leave()

    async def _pre_bind(self, profile: Profile, pod: PodInfo, node: str, place: _Place) -> None:
        """Raises ApiError, PluginRefused."""
        for plugin in profile.having(PreBindPlugin):
            waits = getattr(plugin, "waits", None)
            if waits is None or not waits(pod):
                _check(plugin, await plugin.pre_bind(pod, node))
                continue
            # It waits for others, as long as it thinks right, and ends when the pod does.
            place.leave()
            ending = asyncio.timeout(None)
            try:
                async with ending:
                    self._waiting[pod.uid] = ending
                    _check(plugin, await plugin.pre_bind(pod, node))
            except TimeoutError:
                if not ending.expired():
                    raise
                raise PluginRefused(f"{_name(plugin)}: {self._rejected.get(pod.uid, 'rejected')}") from None
            finally:
                self._waiting.pop(pod.uid, None)
                self._rejected.pop(pod.uid, None)
            await place.take()

    async def _permit(self, permits: Sequence[PermitPlugin], pod: PodInfo, node: str) -> None:
        deadline = asyncio.timeout(self._permit_seconds)
        asked: object = None
        try:
            async with deadline:
                self._waiting[pod.uid] = deadline
                for asked in permits:
                    _check(asked, await asked.permit(pod, node), waited=True)
        except TimeoutError:
            if not deadline.expired():
                raise  # the plug-in's own
            late = f"rejected due to timeout after waiting {self._permit_seconds:g}s at plugin {_name(asked)}"
            raise PluginRefused(self._rejected.get(pod.uid, late), waited=True) from None
        finally:
            self._waiting.pop(pod.uid, None)
            self._rejected.pop(pod.uid, None)


async def _bind(profile: Profile, pod: PodInfo, node: str) -> None:
    """Raises ApiError, PluginRefused."""
    for plugin in profile.having(BindPlugin):
        outcome = await plugin.bind(pod, node)
        if outcome.code is not Code.SKIP:
            _check(plugin, outcome)
            return
    raise PluginRefused("no Bind plugin took the pod")


def reserve(profile: Profile, pod: PodInfo, node: str) -> Status:
    """All Reserve plug-ins, or none. Raises what a plug-in raises, after the others gave back what they held."""
    done: list[ReservePlugin] = []
    for plugin in profile.having(ReservePlugin):
        done.append(plugin)
        try:
            outcome = plugin.reserve(pod, node)
        except BaseException:
            unreserve(done, pod, node)
            raise
        if outcome.code is not Code.SUCCESS:
            unreserve(done, pod, node)
            return Status(outcome.code, outcome.reasons, _name(plugin))
    return Status()


def unreserve(plugins: Sequence[ReservePlugin], pod: PodInfo, node: str) -> None:
    """In reverse order; one that raises does not keep the others from it."""
    for plugin in reversed(plugins):
        try:
            plugin.unreserve(pod, node)
        except Exception:  # the others give theirs back all the same
            log.exception("plugin %s failed to give back what it reserved for %s", _name(plugin), pod.key)


def post_bind(profile: Profile, pod: PodInfo, node: str) -> None:
    for plugin in profile.having(PostBindPlugin):
        try:
            plugin.post_bind(pod, node)
        except Exception:  # it is bound, whatever a plug-in makes of that
            log.exception("plugin %s failed after %s was bound", _name(plugin), pod.key)


def _name(plugin: object) -> str:
    return str(getattr(plugin, "name", type(plugin).__name__))


def _check(plugin: object, outcome: Status, *, waited: bool = False) -> None:
    if outcome.code is not Code.SUCCESS:
        raise PluginRefused(f"{_name(plugin)}: {outcome.message}", waited=waited)
