"""Reads ``/metrics/resource`` of a node (Prometheus text format, KEP-727). Pure; what it does not know it skips.

The text is a stranger's: lines, containers and lengths are bounded, and one line that makes no sense costs itself only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from sampan.api.nodes.usage import NodeUsage, PodName, Point

#: of one node; the kubelet's own limit of pods is 110
MOST_CONTAINERS: Final = 10_000
#: of one pod; of one with more nothing is known, for a part of its sum would be no answer
MOST_OF_POD: Final = 300
_MOST_LINES: Final = 100_000
_LONGEST_NAME: Final = 253
#: a line of three such names has less than a thousand characters
_LONGEST_LINE: Final = 4096

_LINE: Final = re.compile(r"([a-z_]+)(?:\{([^{}]*)\})? ([-+.0-9eE]+)(?: ([0-9]{1,16}))?")
#: begins where a word does, and gives none of it back: who sends one long word costs no more than its length
_LABEL: Final = re.compile(r'(?<![a-z_])([a-z_]++)="([^"\\]*+)",?')
_CPU, _MEMORY, _STARTED = 0, 1, 2
_OF_CONTAINERS: Final = {
    "container_cpu_usage_seconds_total": _CPU,
    "container_memory_working_set_bytes": _MEMORY,
    "container_start_time_seconds": _STARTED,
}
_OF_NODE: Final = {"node_cpu_usage_seconds_total": _CPU, "node_memory_working_set_bytes": _MEMORY}


class _Value(NamedTuple):
    number: float
    #: seconds of the epoch; 0: the line does not say
    time: float


_Found = dict[int, _Value]


def parse(text: str, now: float) -> NodeUsage:
    """``now``: the time of what does not say its own."""
    node: _Found = {}
    containers: dict[tuple[PodName, str], _Found] = {}
    for line in _lines(text):
        read = _LINE.fullmatch(line)
        if read is None:
            continue
        name, labels, number, stamp = read.groups()
        value = _value(number, stamp)
        if value is None:
            continue
        if (what := _OF_NODE.get(name)) is not None:
            node[what] = value
        elif (what := _OF_CONTAINERS.get(name)) is not None and (key := _key(labels)) is not None:
            found = containers.get(key)
            if found is None:
                if len(containers) >= MOST_CONTAINERS:
                    continue
                found = containers[key] = {}
            found[what] = value
    pods: dict[PodName, dict[str, Point]] = {}
    for (pod, container), found in containers.items():
        if (point := _point(found, now)) is not None:
            pods.setdefault(pod, {})[container] = point
    known = {pod: of_pod for pod, of_pod in pods.items() if len(of_pod) <= MOST_OF_POD}
    return NodeUsage(_point(node, now), known)


def _lines(text: str) -> Iterator[str]:
    """Those that may be meant, one at a time: a text of line ends only would make millions at once."""
    start = 0
    for _ in range(_MOST_LINES):
        end = text.find("\n", start)
        stop = len(text) if end < 0 else end
        if stop - start <= _LONGEST_LINE and text.startswith(("container_", "node_"), start, stop):
            yield text[start:stop]
        if end < 0:
            return
        start = end + 1


def _value(number: str, stamp: str | None) -> _Value | None:
    try:
        value = float(number)
    except ValueError:
        return None
    return _Value(value, int(stamp) / 1000 if stamp else 0.0) if 0 <= value < 1e18 else None


def _key(labels: str | None) -> tuple[PodName, str] | None:
    said = dict(_LABEL.findall(labels or ""))
    namespace, pod, container = said.get("namespace", ""), said.get("pod", ""), said.get("container", "")
    if not (namespace and pod and container) or max(len(namespace), len(pod), len(container)) > _LONGEST_NAME:
        return None
    return (namespace, pod), container


def _point(found: Mapping[int, _Value], now: float) -> Point | None:
    """None: CPU or memory is missing. Their time is that of the CPU's count."""
    cpu, memory = found.get(_CPU), found.get(_MEMORY)
    if cpu is None or memory is None:
        return None
    started = found[_STARTED].number if _STARTED in found else 0.0
    # A clock that is ahead would make every later look one of the past.
    return Point(min(cpu.time, now) or now, round(cpu.number * 1e9), int(memory.number), started)
