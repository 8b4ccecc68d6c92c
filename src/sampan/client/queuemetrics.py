"""What is told of work queues, under client-go's names (``workqueue`` metrics provider of component-base).

A queue that is made anew under its name counts on; what lay in the one before is forgotten.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Hashable
from typing import Final

from sampan.metrics import Counter, Distribution, Gauge, Registry
from sampan.metrics.counting import exponential

_BOUNDS: Final = exponential(1e-8, 10, 12)
_NAME: Final = ("name",)


class QueueMetrics:
    """Told by one queue, of one event loop, whose time it goes by. Each key that passes costs a few microseconds."""

    def __init__(self, registry: Registry, name: str, depth: Callable[[], int]) -> None:
        self._registry, self._depth_now = registry, depth
        self._name = name = registry.queue_names.get(name, name)
        self._now = self._first_now
        self._added: dict[Hashable, float] = {}
        self._taken: dict[Hashable, float] = {}

        def counter(kind: str, text: str) -> list[float]:
            return registry.of(f"workqueue_{kind}", lambda: Counter(f"workqueue_{kind}", text, _NAME)).cell(name)

        def distribution(kind: str, text: str) -> tuple[list[int], list[float]]:
            full = f"workqueue_{kind}"
            return registry.of(full, lambda: Distribution(full, text, _BOUNDS, _NAME)).series(name)

        def gauge(kind: str, text: str) -> Gauge:
            return registry.of(f"workqueue_{kind}", lambda: Gauge(f"workqueue_{kind}", text, _NAME))

        self._adds = counter("adds", "Total number of adds handled by workqueue")
        self._retries = counter("retries", "Total number of retries handled by workqueue")
        self._waited, self._waited_sum = distribution(
            "queue_duration_seconds", "How long in seconds an item stays in workqueue before being requested"
        )
        self._worked, self._worked_sum = distribution(
            "work_duration_seconds", "How long in seconds processing an item from workqueue takes"
        )
        self._depth = gauge("depth", "Current depth of workqueue")
        self._unfinished = gauge(
            "unfinished_work_seconds",
            "Seconds of work in progress that no work duration has counted yet; large values mean stuck workers",
        )
        self._longest = gauge(
            "longest_running_processor_seconds",
            "How long the worker that has been at its item for longest has been at it",
        )

    def follow(self) -> Callable[[], None]:
        """What is in the queue is shown from now on; returns what ends that."""
        return self._registry.look(self._look)

    def added(self, key: Hashable) -> None:
        self._adds[0] += 1
        self._added[key] = self._now()

    def retried(self) -> None:
        self._retries[0] += 1

    def taken(self, key: Hashable) -> None:
        now = self._taken[key] = self._now()
        waited = now - self._added.pop(key, now)
        self._waited[bisect_left(_BOUNDS, waited)] += 1
        self._waited_sum[0] += waited

    def done(self, key: Hashable) -> None:
        began = self._taken.pop(key, None)
        if began is not None:
            worked = self._now() - began
            self._worked[bisect_left(_BOUNDS, worked)] += 1
            self._worked_sum[0] += worked

    def _look(self) -> None:
        now = self._now()
        running = [now - began for began in self._taken.values()]
        self._depth.set(self._depth_now(), self._name)
        self._unfinished.set(sum(running), self._name)
        self._longest.set(max(running, default=0.0), self._name)

    def _first_now(self) -> float:
        self._now = asyncio.get_running_loop().time  # looked up once
        return self._now()
