"""What ``/metrics`` says of API servers behind this one: the reference's series, which its alerts ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sampan.metrics.families import Family
from sampan.server.aggregation.remotes import Remotes


def copy_of(remotes: Remotes) -> Callable[[], Iterable[Family]]:
    """The numbers of this moment, for a thread to make text of."""
    unavailable = {(remote.name,): int(not remote.available) for remote in remotes}
    losses = dict(remotes.losses)

    def build() -> Iterable[Family]:
        text = "APIServices with a Service that are marked as unavailable"
        yield Family("gauge", "aggregator_unavailable_apiservice", text, ("name",), unavailable)
        text = "APIServices with a Service that became unavailable, by reason"
        yield Family("counter", "aggregator_unavailable_apiservice", text, ("name", "reason"), losses)

    return build
