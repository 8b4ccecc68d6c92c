"""What is told of autoscalers in metrics, under the names of upstream's controller (``podautoscaler/monitor``)."""

from __future__ import annotations

from typing import Final

from sampan.client.keys import ObjectKey
from sampan.metrics import Counter, Distribution, Gauge, Registry
from sampan.metrics.counting import exponential

_PREFIX: Final = "horizontal_pod_autoscaler_controller"
_BOUNDS: Final = exponential(0.001, 2, 15)
_LOOK: Final = ("action", "error")
_METRIC: Final = ("action", "error", "metric_type")


class Counts:
    def __init__(self, registry: Registry) -> None:
        self._looks = registry.of(
            f"{_PREFIX}_reconciliations",
            lambda: Counter(f"{_PREFIX}_reconciliations", "Looks at autoscalers, by what they did", _LOOK),
        )
        self._look_seconds = registry.of(
            f"{_PREFIX}_reconciliation_duration_seconds",
            lambda: Distribution(
                f"{_PREFIX}_reconciliation_duration_seconds", "How long a look at an autoscaler took", _BOUNDS, _LOOK
            ),
        )
        self._metrics = registry.of(
            f"{_PREFIX}_metric_computation",
            lambda: Counter(f"{_PREFIX}_metric_computation", "Metrics read, by what they propose", _METRIC),
        )
        self._metric_seconds = registry.of(
            f"{_PREFIX}_metric_computation_duration_seconds",
            lambda: Distribution(
                f"{_PREFIX}_metric_computation_duration_seconds", "How long a metric took to read", _BOUNDS, _METRIC
            ),
        )
        self._number = registry.of(
            f"{_PREFIX}_num_horizontal_pod_autoscalers",
            lambda: Gauge(f"{_PREFIX}_num_horizontal_pod_autoscalers", "Autoscalers that are looked after"),
        )
        self._desired = registry.of(
            f"{_PREFIX}_desired_replicas",
            lambda: Gauge(
                f"{_PREFIX}_desired_replicas", "Replicas that an autoscaler wants now", ("namespace", "hpa_name")
            ),
        )

    def looked(self, before: int, after: int | None, error: str, seconds: float) -> None:
        """``error``: "", ``internal`` or ``spec``. ``after`` None: nothing was decided."""
        labels = (_action(before, after), error or "none")
        self._looks.add(*labels)
        self._look_seconds.observe(seconds, *labels)

    def measured(self, kind: str, before: int, proposed: int | None, error: str, seconds: float) -> None:
        labels = (_action(before, proposed), error or "none", kind)
        self._metrics.add(*labels)
        self._metric_seconds.observe(seconds, *labels)

    def wants(self, key: ObjectKey, replicas: int) -> None:
        self._desired.set(replicas, key.namespace, key.name)

    def present(self, number: int) -> None:
        self._number.set(number)

    def gone(self, key: ObjectKey) -> None:
        self._desired.drop(key.namespace, key.name)


def _action(before: int, after: int | None) -> str:
    if after is None or after == before:
        return "none"
    return "scale_up" if after > before else "scale_down"
