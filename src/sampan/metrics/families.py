"""Metrics as numbers, before anybody makes text of them. Declarations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple


class Histogram(NamedTuple):
    """Observations in each bucket alone, the last for what exceeds all ``bounds``; and the sum of them all."""

    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    total: float


class Family(NamedTuple):
    """One metric: its values by the values of its labels."""

    type: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: tuple[str, ...]
    values: Mapping[Any, float | Histogram]
