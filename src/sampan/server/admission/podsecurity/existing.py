"""Which pods of a namespace would break the policy it is about to get: warnings, within bounds of number and time.

A thread decodes and judges, some pods a turn; the first of each owner come first, for the others are most often alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

import orjson

from sampan.api.objects import controller_of
from sampan.api.podsecurity.policies import Standard
from sampan.api.podsecurity.standards import judge
from sampan.api.reading import part, text
from sampan.api.resources import PODS
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.reader import ObjectReader
from sampan.server.threads import aside

#: of a namespace's pods so many are judged, for so long; upstream's bounds
MOST_PODS: Final = 3000
SECONDS: Final = 1.0
#: and so many are looked at to find the first of each owner
_MOST_READ: Final = 10_000
#: a few milliseconds of a thread
_STEP: Final = 50


@dataclass(slots=True)
class _Alike:
    """Pods that break the same rules; ``first`` by name."""

    first: str
    count: int = 0


class ExistingPods:
    def __init__(self, reader: ObjectReader, exempt_runtime_classes: frozenset[str]) -> None:
        self._reader, self._exempt = reader, exempt_runtime_classes

    async def warnings(self, namespace: str, standard: Standard) -> list[str]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SECONDS
        values, total = self._reader.stored(PODS, namespace, _MOST_READ)
        pods: list[Obj] = []
        for at in range(0, len(values), _STEP):
            pods += await aside(_decode, values[at : at + _STEP])
            if loop.time() > deadline:
                break
        pods = list(_unlike_first(pods))[:MOST_PODS]
        found: dict[str, _Alike] = {}
        checked = 0
        for at in range(0, len(pods), _STEP):
            step = pods[at : at + _STEP]
            await aside(self._judge, standard, step, found)
            checked += len(step)
            if loop.time() > deadline:
                break
        return list(_say(namespace, standard, found, checked, total))

    def _judge(self, standard: Standard, pods: Sequence[Obj], found: dict[str, _Alike]) -> None:
        for pod in pods:
            metadata, spec = part(pod, "metadata"), part(pod, "spec")
            if text(spec, "runtimeClassName") in self._exempt:
                continue
            if findings := judge(standard, metadata, spec):
                name = text(metadata, "name")
                alike = found.setdefault(", ".join(finding.reason for finding in findings), _Alike(name))
                alike.first = min(alike.first, name)
                alike.count += 1


def _decode(values: Sequence[bytes]) -> list[Obj]:
    return [orjson.loads(value) for value in values]


def _unlike_first(pods: Sequence[Obj]) -> Iterator[Obj]:
    seen: set[str] = set()
    later: list[Obj] = []
    for pod in pods:
        owner = controller_of(pod)
        if owner is None or owner["uid"] not in seen:
            yield pod
        else:
            later.append(pod)
        if owner is not None:
            seen.add(owner["uid"])
    yield from later


def _say(namespace: str, standard: Standard, found: dict[str, _Alike], checked: int, total: int) -> Iterator[str]:
    if checked < total:
        yield f"new PodSecurity enforce level only checked against the first {checked} of {total} existing pods"
    if found:
        yield f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{standard}"'
    yield from sorted(f"{_names(alike)}: {reasons}" for reasons, alike in found.items())


def _names(alike: _Alike) -> str:
    match alike.count:
        case 1:
            return alike.first
        case 2:
            return f"{alike.first} (and 1 other pod)"
        case more:
            return f"{alike.first} (and {more - 1} other pods)"
