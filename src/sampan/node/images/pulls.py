"""Pulls that are under way, shared by those who may share them, and the pauses after those that failed.

Used by ``manager.ImageManager``, on one event loop; durations run on its clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sampan.client import tasks
from sampan.node import runtime
from sampan.node.images.keyring import Credential
from sampan.records import dataclass

_GRAIN_SECONDS = 1e-3
_BACKOFF_FIRST = 10.0
_BACKOFF_MAX = 300.0
_UNKNOWN = "rpc error: code = Unknown desc = "


class PullFailed(Exception):
    """No credentials led to the image; the message is the runtime's, or several in brackets."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """``used``: None when the image was had without credentials. ``seconds``: what it took, without the queue."""

    image_ref: str
    used: Credential | None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How many pulls there may be at once; and a second, after ``burst`` that came together (0: any number)."""

    at_once: int = 16
    per_second: float = 0.0
    burst: int = 10


@dataclass(slots=True)
class _Shared:
    task: asyncio.Task[Pulled | PullFailed]
    waiters: int = 0


class SharedPulls:
    """Invariant: one pull at most of an image with the same credentials; none without somebody who waits for it."""

    def __init__(self, source: runtime.ImageRuntime, pace: Pace) -> None:
        self._runtime = source
        self._slots = asyncio.Semaphore(pace.at_once)
        self._pace = pace
        #: when the burst will be whole again
        self._whole_at = 0.0
        self._shared: dict[tuple[str, tuple[Credential, ...]], _Shared] = {}

    async def pull(self, reference: str, credentials: Sequence[Credential]) -> Pulled:
        """Whoever has other credentials, or none, does not join: the registry decides about each. Raises PullFailed."""
        key = (reference, tuple(credentials))
        shared = self._shared.get(key)
        if shared is None:
            task = tasks.detach(self._run(reference, credentials), f"pull {reference}")
            shared = self._shared[key] = _Shared(task)
        shared.waiters += 1
        try:
            outcome = await asyncio.shield(shared.task)
        finally:
            shared.waiters -= 1
            if shared.waiters == 0:
                # Nobody can join a pull that is being cancelled.
                if self._shared.get(key) is shared:
                    del self._shared[key]
                shared.task.cancel()
        if isinstance(outcome, PullFailed):
            raise outcome
        return outcome

    async def _run(self, reference: str, credentials: Sequence[Credential]) -> Pulled | PullFailed:
        """A failure is returned: it is for those who wait, and no bug of a task."""
        async with self._slots:
            await self._keep_pace()
            began = _now()
            faults: list[str] = []
            for credential in credentials or (None,):
                auth = credential.auth if credential is not None else None
                try:
                    found = await self._runtime.pull_image(reference, auth)
                    return Pulled(found, credential, _now() - began)
                except runtime.RuntimeCallError as error:
                    text = str(error).removeprefix(_UNKNOWN)
                    if text not in faults:
                        faults.append(text)
            return PullFailed(faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")

    async def _keep_pace(self) -> None:
        """A bucket of ``burst`` pulls that fills again: who comes too early waits, where the kubelet fails him."""
        if self._pace.per_second <= 0:
            return
        each = 1 / self._pace.per_second
        self._whole_at = max(self._whole_at, _now()) + each
        await asyncio.sleep(max(0.0, self._whole_at - _now() - self._pace.burst * each))


@dataclass(slots=True)
class _Pause:
    seconds: float
    since: float
    fault: str


class PullBackoff:
    """How long a pod waits for an image that could not be had. One pod's failures never make another wait."""

    def __init__(self) -> None:
        self._pauses: dict[tuple[str, str], _Pause] = {}

    def left(self, pod_uid: str, image: str) -> tuple[float, str]:
        """Seconds until the next try, and what was wrong; 0 when it may be tried."""
        pause = self._pauses.get((pod_uid, image))
        if pause is None:
            return 0.0, ""
        left = pause.since + pause.seconds - _now()
        # Less than a clock of days can tell would have its waiter ask again and again, without time going by.
        return (left if left > _GRAIN_SECONDS else 0.0), pause.fault

    def failed(self, pod_uid: str, image: str, fault: str) -> float:
        """Returns the pause: 10 seconds, then twice the one before, at most five minutes."""
        self._forget_old()
        before = self._pauses.get((pod_uid, image))
        seconds = _BACKOFF_FIRST if before is None else min(before.seconds * 2, _BACKOFF_MAX)
        self._pauses[pod_uid, image] = _Pause(seconds, _now(), fault)
        return seconds

    def _forget_old(self) -> None:
        oldest = _now() - 2 * _BACKOFF_MAX
        for key in [key for key, pause in self._pauses.items() if pause.since < oldest]:
            del self._pauses[key]


def _now() -> float:
    return asyncio.get_running_loop().time()
