"""Which pods of a target count, and what they ask for (upstream ``replica_calculator.go``: ``groupPods``). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from sampan.api import quantity
from sampan.api.pods import containers, requests, status
from sampan.api.reading import moment, part, text
from sampan.api.types import Obj
from sampan.records import dataclass

#: the longest time that is reckoned with: what a server says of its windows may be anything
_LONGEST_SECONDS: Final = 10.0 * 366 * 24 * 3600


class Unable(Exception):
    """A metric gives no number of replicas; its text says why, in upstream's words."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured of one pod, in thousandths, over a window that ended then."""

    value: int
    timestamp: datetime | None = None
    window_seconds: float = 0.0


Samples = Mapping[str, Sample]


@dataclass(frozen=True, slots=True)
class Readiness:
    """How long a pod that has just started is not trusted (``--horizontal-pod-autoscaler-cpu-initialization-period``,
    ``-initial-readiness-delay``)."""

    cpu_initialization_seconds: float = 300.0
    initial_delay_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Grouped:
    """``ready``: how many count with what was measured. The others, by name: ``unready`` count as idle when more is
    needed; of the ``missing`` nothing was measured; the ``ignored`` are ending."""

    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


def group(pods: Iterable[Obj], samples: Samples, resource: str, now: datetime, readiness: Readiness) -> Grouped:
    """``resource`` is "" for what is no resource. Only of cpu it matters whether a pod is ready."""
    ready, unready, missing, ignored = 0, set(), set(), set()
    for pod in pods:
        name = pod["metadata"]["name"]
        if status.is_terminating(pod) or status.phase(pod) == "Failed":
            ignored.add(name)
        elif status.phase(pod) == "Pending":
            unready.add(name)
        elif name not in samples:
            missing.add(name)
        elif resource == "cpu" and _is_unready(pod, samples[name], now, readiness):
            unready.add(name)
        else:
            ready += 1
    return Grouped(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def merged(groups: Iterable[Grouped]) -> Grouped:
    """Of the parts of a list."""
    all_of = list(groups)
    unready, missing, ignored = (
        frozenset[str]().union(*(getattr(each, name) for each in all_of)) for name in ("unready", "missing", "ignored")
    )
    return Grouped(sum(each.ready for each in all_of), unready, missing, ignored)


def _is_unready(pod: Obj, sample: Sample, now: datetime, readiness: Readiness) -> bool:
    condition, started = status.condition(pod, "Ready"), status.started(pod)
    if condition is None or started is None:
        return True
    not_ready, since = condition.get("status") == "False", moment(condition, "lastTransitionTime")
    if (now - started).total_seconds() < readiness.cpu_initialization_seconds:
        return not_ready or _measured_before(sample, since)
    # Later it counts, whatever it is now, if it has been ready once: it may not be ready because it has too much to do.
    never = since is None or (since - started).total_seconds() < readiness.initial_delay_seconds
    return not_ready and never


def _measured_before(sample: Sample, since: datetime | None) -> bool:
    """Whether part of the sample is of the time before the pod's readiness changed."""
    if since is None:
        return False
    if sample.timestamp is None:
        return True
    window = timedelta(seconds=max(0.0, min(sample.window_seconds, _LONGEST_SECONDS)))
    return sample.timestamp - window < since


def ready_pods(pods: Sequence[Obj]) -> int:
    """Raises Unable."""
    if not pods:
        raise Unable("no pods returned by selector while calculating replica count")
    return sum(1 for pod in pods if status.phase(pod) == "Running" and status.is_ready(pod))


def pod_requests(pods: Iterable[Obj], container: str, resource: str) -> dict[str, int]:
    """By the pod's name, in thousandths: of one container, or ("") of the pod. Raises Unable."""
    return {pod["metadata"]["name"]: _request(pod, container, resource) for pod in pods}


def _request(pod: Obj, container: str, resource: str) -> int:
    if not container and any(
        requests.is_pod_level(name) for name in part(part(part(pod, "spec"), "resources"), "requests")
    ):
        return _pod_level_request(pod, resource)
    name = pod["metadata"]["name"]
    total = 0
    for each in containers.long_running(pod):
        if not container or text(each, "name") == container:
            written = part(part(each, "resources"), "requests").get(resource)
            if written is None:
                raise Unable(f"missing request for {resource} in container {text(each, 'name')} of Pod {name}")
            total += _millis(written)
            if container:
                return total
    if container:
        raise Unable(f"container {container} not found in Pod {name}")
    return total


def _pod_level_request(pod: Obj, resource: str) -> int:
    found = requests.pod_requests(pod, use_status=False, overhead=False).get(resource)
    if found is None:
        raise Unable(f"missing pod-level request for {resource} in Pod {pod['metadata']['name']}")
    return found if resource == "cpu" else found * 1000


def _millis(written: object) -> int:
    return _known_millis(written) if isinstance(written, str | int | float) else 0


@lru_cache(maxsize=1024)
def _known_millis(written: str | int | float) -> int:
    try:
        return quantity.millis(written)
    except ValueError:
        return 0
