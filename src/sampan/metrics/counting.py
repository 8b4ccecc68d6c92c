"""What counts: a counter, a gauge, a distribution. Event loop only; ``family`` copies, and a thread may read the copy.

The library's own take a lock for each number that changes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from sampan.metrics.families import Family, Histogram

#: by all labels; what comes later is counted together
MOST_SERIES: Final = 2000

Labels = tuple[str, ...]


class _Series:
    """Invariant: ``_admit`` gives labels that are there, or as many as ``MOST_SERIES`` allows."""

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name, self.text, self.labels = name, text, tuple(labels)

    def _admit(self, known: int, labels: Labels) -> Labels:
        return labels if known < MOST_SERIES else ("other",) * len(self.labels)


class Counter(_Series):
    """``name`` without the ``_total`` that it is shown with."""

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, text, labels)
        self._cells: dict[Labels, list[float]] = {}

    def add(self, *labels: str, by: float = 1) -> None:
        self.cell(*labels)[0] += by

    def cell(self, *labels: str) -> list[float]:
        """Its one number is this series': for who counts often."""
        found = self._cells.get(labels)
        if found is None:
            found = self._cells.setdefault(self._admit(len(self._cells), labels), [0])
        return found

    def value(self, *labels: str) -> float:
        return self._cells[labels][0] if labels in self._cells else 0

    def family(self) -> Family:
        values = {labels: cell[0] for labels, cell in self._cells.items()}
        return Family("counter", self.name, self.text, self.labels, values)


class Gauge(_Series):
    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, text, labels)
        self._values: dict[Labels, float] = {}

    def set(self, value: float, *labels: str) -> None:
        if labels not in self._values:
            labels = self._admit(len(self._values), labels)
        self._values[labels] = value

    def drop(self, *labels: str) -> None:
        self._values.pop(labels, None)

    def value(self, *labels: str) -> float:
        return self._values.get(labels, 0)

    def family(self) -> Family:
        return Family("gauge", self.name, self.text, self.labels, dict(self._values))


class Distribution(_Series):
    """Observations by size: a histogram."""

    def __init__(self, name: str, text: str, bounds: Sequence[float], labels: Sequence[str] = ()) -> None:
        super().__init__(name, text, labels)
        self.bounds = tuple(bounds)
        self._values: dict[Labels, tuple[list[int], list[float]]] = {}

    def observe(self, value: float, *labels: str) -> None:
        buckets, total = self.series(*labels)
        buckets[bisect_left(self.bounds, value)] += 1
        total[0] += value

    def series(self, *labels: str) -> tuple[list[int], list[float]]:
        """Its numbers, by bucket, and the sum of all: for who counts often."""
        found = self._values.get(labels)
        if found is None:
            labels = self._admit(len(self._values), labels)
            found = self._values.setdefault(labels, ([0] * (len(self.bounds) + 1), [0.0]))
        return found

    def count(self, *labels: str) -> int:
        return sum(self._values[labels][0]) if labels in self._values else 0

    def family(self) -> Family:
        values = {
            labels: Histogram(self.bounds, tuple(buckets), total[0])
            for labels, (buckets, total) in self._values.items()
        }
        return Family("histogram", self.name, self.text, self.labels, values)


def exponential(first: float, factor: float, number: int) -> tuple[float, ...]:
    """Bounds of a distribution, each ``factor`` times the one before (Prometheus' ``ExponentialBuckets``)."""
    return tuple(first * factor**step for step in range(number))
