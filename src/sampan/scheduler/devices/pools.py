"""The devices that drivers offer, from their ResourceSlices: by pool and generation, and by the nodes that reach them.

Fed by the shell from an informer. One event loop, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from itertools import chain
from typing import Any, Final

from sampan.api import objects
from sampan.api.nodes import affinity
from sampan.api.reading import flag, part, parts, text, whole
from sampan.api.types import Obj
from sampan.records import dataclass

#: Of a device: what cannot be honoured yet. Such a device is not given to anybody.
_BEYOND: Final = ("consumesCounters", "bindingConditions")

Id = tuple[str, str, str]

#: expressions whose verdicts one device remembers: whoever may make claims can make up any number
_VERDICTS: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """``node`` and ``selector`` say who reaches it: the one node, those that the selector takes, or (neither) all."""

    driver: str
    pool: str
    name: str
    content: Obj
    node: str = ""
    selector: Obj | None = None
    #: by expression, whether it selects the device
    _verdicts: dict[str, bool] = field(default_factory=dict)

    @property
    def id(self) -> Id:
        return self.driver, self.pool, self.name

    def attribute(self, qualified: str) -> Any:
        """A fully qualified attribute's value; None: it has none."""
        attributes = part(self.content, "attributes")
        domain, _, name = qualified.partition("/")
        found = attributes.get(qualified)
        if found is None and domain == self.driver:
            found = attributes.get(name)
        return next(iter(found.items())) if isinstance(found, dict) and found else None

    def selected(self, expression: str) -> bool:
        """Raises expressions.Unclear."""
        known = self._verdicts.get(expression)
        if known is None:
            if len(self._verdicts) >= _VERDICTS:
                self._verdicts.clear()
            from sampan.api.expressions import devices as expressions  # late: few clusters have devices

            bound = expressions.bound(self.driver, self.content)
            known = self._verdicts[expression] = expressions.selects(expression, bound)
        return known


@dataclass(slots=True)
class _Pool:
    """Slices by name, and their devices; ``devices`` and ``complete`` are of those of the newest generation."""

    slices: dict[str, Obj] = field(default_factory=dict)
    _offered: dict[str, tuple[Device, ...]] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    complete: bool = False

    def put(self, name: str, resource_slice: Obj) -> None:
        """The devices of the pool's other slices stay the same, with what is known of them."""
        self.slices[name], self._offered[name] = resource_slice, tuple(_devices(resource_slice))

    def drop(self, name: str) -> None:
        self.slices.pop(name, None)
        self._offered.pop(name, None)

    def gather(self) -> None:
        newest = max((_generation(each) for each in self.slices.values()), default=0)
        current = [name for name, each in sorted(self.slices.items()) if _generation(each) == newest]
        first = self.slices[current[0]] if current else {}
        self.complete = len(current) == (whole(part(part(first, "spec"), "pool"), "resourceSliceCount") or 0)
        self.devices = tuple(chain.from_iterable(self._offered[name] for name in current))


class Pools:
    def __init__(self) -> None:
        self._pools: dict[tuple[str, str], _Pool] = {}
        #: pool of a slice, by its name
        self._pool_of: dict[str, tuple[str, str]] = {}
        #: pools with devices of one node alone, by node; and those that several nodes may reach
        self._local: dict[str, set[tuple[str, str]]] = {}
        self._shared: set[tuple[str, str]] = set()

    def changed(self, resource_slice: Obj, *, gone: bool = False) -> None:
        name, spec = objects.name(resource_slice), part(resource_slice, "spec")
        key = text(spec, "driver"), text(part(spec, "pool"), "name")
        before = self._pool_of.pop(name, None)
        if before is not None and (gone or before != key):
            self._drop(before, name)
        if not gone:
            self._pool_of[name] = key
            pool = self._pools.setdefault(key, _Pool())
            pool.put(name, resource_slice)
            self._gather(key, pool)

    def _drop(self, key: tuple[str, str], name: str) -> None:
        pool = self._pools[key]
        pool.drop(name)
        self._gather(key, pool)
        if not pool.slices:
            del self._pools[key]

    def _gather(self, key: tuple[str, str], pool: _Pool) -> None:
        for node in {device.node for device in pool.devices if device.node}:
            self._local[node].discard(key)
            if not self._local[node]:
                del self._local[node]
        self._shared.discard(key)
        pool.gather()
        for device in pool.devices:
            if device.node:
                self._local.setdefault(device.node, set()).add(key)
            else:
                self._shared.add(key)

    @property
    def is_shared(self) -> bool:
        """Whether a node without devices of its own may reach some."""
        return bool(self._shared)

    def nodes(self) -> set[str]:
        """Those with devices of their own."""
        return set(self._local)

    def reachable(self, node: Obj) -> Iterator[tuple[Device, bool]]:
        """Devices for a node, in a fixed order, and whether their pool is complete."""
        name = objects.name(node)
        for key in sorted(self._local.get(name, set()) | self._shared):
            pool = self._pools[key]
            for device in pool.devices:
                if device.node:
                    reached = device.node == name
                else:
                    reached = device.selector is None or affinity.selector_takes(device.selector, node)
                if reached:
                    yield device, pool.complete


def _generation(resource_slice: Obj) -> int:
    return whole(part(part(resource_slice, "spec"), "pool"), "generation") or 0


def _devices(resource_slice: Obj) -> Iterator[Device]:
    spec = part(resource_slice, "spec")
    driver, pool = text(spec, "driver"), text(part(spec, "pool"), "name")
    apart = flag(spec, "perDeviceNodeSelection")
    for content in parts(spec, "devices"):
        if any(content.get(name) for name in _BEYOND):
            continue
        where = content if apart else spec
        selector = where.get("nodeSelector")
        yield Device(
            driver,
            pool,
            text(content, "name"),
            content,
            text(where, "nodeName"),
            selector if isinstance(selector, dict) else None,
        )


def node_selector(chosen: Mapping[Id, Device]) -> Obj | None:
    """The nodes that reach all of these devices; None: any."""
    terms: list[Obj] = []
    node = next((device.node for device in chosen.values() if device.node), "")
    if node:
        terms.append({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]})
    for device in chosen.values():
        for term in parts(device.selector or {}, "nodeSelectorTerms"):
            if node:
                break
            terms.append(term)
    if not terms:
        return None
    if len(terms) > 1:
        # Of several pools: a node has to satisfy all of them, and one term's requirements are joined by "and".
        joined: Obj = {}
        for term in terms:
            for field_name in ("matchExpressions", "matchFields"):
                wanted = [each for each in parts(term, field_name) if each not in joined.get(field_name, [])]
                if wanted:
                    joined.setdefault(field_name, []).extend(wanted)
        terms = [joined]
    return {"nodeSelectorTerms": terms}
