"""What webhooks did, under upstream's metric names. Counted on the event loop, copied when somebody scrapes."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Literal

from sampan.metrics.families import Family, Histogram
from sampan.server.admission.webhooks.hooks import Hook

ErrorType = Literal["calling_webhook_error", "apiserver_internal_error", "no_error"]
_BUCKETS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0)
#: of all series of one metric: names are whatever somebody writes into a configuration
_SERIES: Final = 5000
_OTHER: Final = "other"
_LABELS: Final = ("name", "type", "operation")


class WebhookMetrics:
    """Invariant: each dict has ``_SERIES`` entries at most, and a few for the webhooks that came later."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, ...]] = Counter()
        self._rejections: Counter[tuple[str, ...]] = Counter()
        self._failed_open: Counter[tuple[str, ...]] = Counter()
        self._excluded: Counter[tuple[str, ...]] = Counter()
        self._condition_errors: Counter[tuple[str, ...]] = Counter()
        self._seconds: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}

    def called(self, hook: Hook, operation: str, seconds: float, code: int, *, rejected: bool) -> None:
        labels = (hook.name, hook.type, operation)
        ended = "true" if rejected else "false"
        _count(self._calls, (*labels, str(code), ended))
        key = (*labels, ended)
        if key not in self._seconds and len(self._seconds) >= _SERIES:
            key = (_OTHER, *key[1:])
        buckets, total = self._seconds.setdefault(key, ([0] * (len(_BUCKETS) + 1), [0.0]))
        buckets[bisect_left(_BUCKETS, seconds)] += 1
        total[0] += seconds

    def rejected(self, hook: Hook, operation: str, error: ErrorType, code: int) -> None:
        _count(self._rejections, (hook.name, hook.type, operation, error, str(min(code, 600))))

    def failed_open(self, hook: Hook) -> None:
        _count(self._failed_open, (hook.name, hook.type))

    def excluded(self, hook: Hook, operation: str) -> None:
        """Match conditions left it out."""
        _count(self._excluded, (hook.name, "webhook", hook.type, operation))

    def condition_failed(self, hook: Hook, operation: str) -> None:
        _count(self._condition_errors, (hook.name, "webhook", hook.type, operation))

    def copy(self) -> Callable[[], Iterable[Family]]:
        calls, rejections, opened = dict(self._calls), dict(self._rejections), dict(self._failed_open)
        excluded, condition_errors = dict(self._excluded), dict(self._condition_errors)
        seconds = {key: (tuple(buckets), total[0]) for key, (buckets, total) in self._seconds.items()}

        def build() -> Iterable[Family]:
            prefix = "apiserver_admission_webhook_"
            spent = {key: Histogram(_BUCKETS, buckets, total) for key, (buckets, total) in seconds.items()}
            name, text = f"{prefix}admission_duration_seconds", "Time spent asking webhooks"
            yield Family("histogram", name, text, (*_LABELS, "rejected"), spent)
            labels = (*_LABELS, "code", "rejected")
            yield Family("counter", f"{prefix}request", "Questions to webhooks", labels, calls)
            labels = (*_LABELS, "error_type", "rejection_code")
            yield Family("gauge", f"{prefix}rejection_count", "Writes refused by webhooks", labels, rejections)
            text = "Writes that passed because a webhook failed"
            yield Family("gauge", f"{prefix}fail_open_count", text, ("name", "type"), opened)
            name, text = "apiserver_admission_match_condition_exclusions", "Writes left out by match conditions"
            of_conditions = ("name", "kind", "type", "operation")
            yield Family("counter", name, text, of_conditions, excluded)
            name, text = "apiserver_admission_match_condition_evaluation_errors", "Match conditions that failed"
            yield Family("counter", name, text, of_conditions, condition_errors)

        return build


def _count(counter: Counter[tuple[str, ...]], key: tuple[str, ...]) -> None:
    if key not in counter and len(counter) >= _SERIES:
        key = (_OTHER, *key[1:])
    counter[key] += 1
