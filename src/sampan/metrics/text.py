"""Metrics as Prometheus reads them: text format 0.0.4, written by its own library.

Apart from ``metrics``, which counts: the library is loaded when somebody scrapes for the first time. Any thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from sampan.metrics.families import Family, Histogram


def text(families: Iterable[Family]) -> bytes:
    return generate_latest(_Given(list(families)))


class _Given(CollectorRegistry):
    """A registry of numbers that are at hand already."""

    def __init__(self, families: list[Family]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return map(_metric, self._families)


def _metric(family: Family) -> Metric:
    if family.type == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, value in family.values.items():
            assert isinstance(value, Histogram)
            bounds = [*map(floatToGoString, value.bounds), "+Inf"]
            histogram.add_metric(labels, list(zip(bounds, accumulate(value.buckets), strict=True)), value.total)
        return histogram
    made = (CounterMetricFamily if family.type == "counter" else GaugeMetricFamily)(
        family.name, family.help, labels=family.labels
    )
    for labels, value in family.values.items():
        assert not isinstance(value, Histogram)
        made.add_metric(labels, value)
    return made


__all__ = ["text"]
