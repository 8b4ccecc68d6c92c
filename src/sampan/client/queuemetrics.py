"""What is told of work queues, under client-go's names (``workqueue`` metrics provider of component-base).

A queue that is made anew under its name counts on; what lay in the one before is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from sampan.metrics import Counter, Distribution, Gauge, Registry
from sampan.metrics.counting import exponential

_BOUNDS: Final = exponential(1e-8, 10, 12)
_NAME: Final = ("name",)


class QueueMetrics:
    """Told by one queue; times are its loop's."""

    def __init__(self, registry: Registry, name: str, depth: Callable[[], int], now: Callable[[], float]) -> None:
        self._registry, self._depth_now, self._now = registry, depth, now
        self._name = registry.queue_names.get(name, name)
        self._added: dict[Hashable, float] = {}
        self._taken: dict[Hashable, float] = {}
        self._adds = registry.of(
            "workqueue_adds", lambda: Counter("workqueue_adds", "Total number of adds handled by workqueue", _NAME)
        )
        self._retries = registry.of(
            "workqueue_retries",
            lambda: Counter("workqueue_retries", "Total number of retries handled by workqueue", _NAME),
        )
        self._waited = registry.of(
            "workqueue_queue_duration_seconds",
            lambda: Distribution(
                "workqueue_queue_duration_seconds",
                "How long in seconds an item stays in workqueue before being requested",
                _BOUNDS,
                _NAME,
            ),
        )
        self._worked = registry.of(
            "workqueue_work_duration_seconds",
            lambda: Distribution(
                "workqueue_work_duration_seconds",
                "How long in seconds processing an item from workqueue takes",
                _BOUNDS,
                _NAME,
            ),
        )
        self._depth = registry.of(
            "workqueue_depth", lambda: Gauge("workqueue_depth", "Current depth of workqueue", _NAME)
        )
        self._unfinished = registry.of(
            "workqueue_unfinished_work_seconds",
            lambda: Gauge(
                "workqueue_unfinished_work_seconds",
                "Seconds of work in progress that no work duration has counted yet; large values mean stuck workers",
                _NAME,
            ),
        )
        self._longest = registry.of(
            "workqueue_longest_running_processor_seconds",
            lambda: Gauge(
                "workqueue_longest_running_processor_seconds",
                "How long the worker that has been at its item for longest has been at it",
                _NAME,
            ),
        )

    def follow(self) -> Callable[[], None]:
        """What is in the queue is shown from now on; returns what ends that."""
        return self._registry.look(self._look)

    def added(self, key: Hashable) -> None:
        self._adds.add(self._name)
        self._added.setdefault(key, self._now())

    def retried(self) -> None:
        self._retries.add(self._name)

    def taken(self, key: Hashable) -> None:
        now = self._now()
        self._taken[key] = now
        self._waited.observe(now - self._added.pop(key, now), self._name)

    def done(self, key: Hashable) -> None:
        began = self._taken.pop(key, None)
        if began is not None:
            self._worked.observe(self._now() - began, self._name)

    def _look(self) -> None:
        now = self._now()
        running = [now - began for began in self._taken.values()]
        self._depth.set(self._depth_now(), self._name)
        self._unfinished.set(sum(running), self._name)
        self._longest.set(max(running, default=0.0), self._name)
