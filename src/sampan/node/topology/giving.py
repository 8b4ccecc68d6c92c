"""What the CPU and the memory manager have in common: what pods were given is theirs until they end, and is kept in a
file that outlives the agent.

``Given`` is the base of their policies, which are pure; ``Giver`` of the managers, which are asked by ``aligning`` when
a pod comes, and run beside it. One event loop.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from sampan.api.types import Obj
from sampan.node.host import Host
from sampan.node.topology.aligning import Refused
from sampan.node.topology.hints import Hints, Mask

T = TypeVar("T")


class Given(Generic[T]):
    """By uid of the pod and name of the container."""

    assigned: dict[str, dict[str, T]]

    def release(self, uid: str) -> bool:
        """The pod has nothing any more; True when something changed."""
        return self.assigned.pop(uid, None) is not None

    def keep_only(self, uids: Collection[str]) -> bool:
        """What pods had that are over is free again; True when something changed."""
        gone = self.assigned.keys() - set(uids)
        for uid in gone:
            del self.assigned[uid]
        return bool(gone)


class Policy(Protocol):
    def hints(self, pod: Obj, container: Obj) -> Hints: ...

    def pod_hints(self, pod: Obj) -> Hints: ...

    def release(self, uid: str) -> bool: ...

    def keep_only(self, uids: Collection[str]) -> bool: ...


class Giver(ABC):
    """A provider of ``aligning``. What has been given is written to the file soon after."""

    #: in the names of its metrics
    kind: str

    def __init__(
        self,
        policy: Policy,
        host: Host,
        file: Path,
        active: Callable[[], Collection[str]],
        *,
        period_seconds: float | None = None,
    ) -> None:
        """``active``: uids of pods that have a claim on the node. ``period_seconds``: between two looks at what runs;
        None: only when something has changed."""
        self._given, self._host, self._file, self._active = policy, host, file, active
        self._period_seconds = period_seconds
        self._pinned = self._refused = 0
        self._wake = asyncio.Event()

    def prepare(self, uid: str) -> None:
        if self._given.keep_only({*self._active(), uid}):
            self._wake.set()

    def hints(self, pod: Obj, container: Obj) -> Hints:
        return self._given.hints(pod, container)

    def pod_hints(self, pod: Obj) -> Hints:
        return self._given.pod_hints(pod)

    def allocate(self, pod: Obj, container: Obj, affinity: Mask | None) -> None:
        self._pinned += self._concerns(pod, container)
        try:
            if self._give(pod, container, affinity):
                self._wake.set()
        except Refused:
            self._refused += 1
            raise

    def release(self, uid: str) -> None:
        if self._given.release(uid):
            self._wake.set()

    def metrics(self) -> dict[str, int]:
        return {
            f"kubelet_{self.kind}_manager_pinning_requests_total": self._pinned,
            f"kubelet_{self.kind}_manager_pinning_errors_total": self._refused,
        }

    def freed(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. Raises OSError: the file cannot be written."""
        written = b""
        while True:
            self._wake.clear()
            self._given.keep_only(self._active())
            state = self._encode()
            if state != written:
                await self._host.write(self._file, state, 0o600)
                written = state
            await self._follow()
            try:
                async with asyncio.timeout(self._period_seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass

    @abstractmethod
    def _concerns(self, pod: Obj, container: Obj) -> bool:
        """It is to have something of its own."""

    @abstractmethod
    def _give(self, pod: Obj, container: Obj, affinity: Mask | None) -> bool:
        """True when something changed. Raises Refused."""

    @abstractmethod
    def _encode(self) -> bytes:
        """What the file holds."""

    @abstractmethod
    async def _follow(self) -> None:
        """What runs gets what it is to have."""
