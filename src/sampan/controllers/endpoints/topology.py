"""Endpoints for zones, by how much CPU the zones have (annotation ``service.kubernetes.io/topology-mode: Auto``;
upstream ``topologycache``). Pure bookkeeping and planning.

Each zone gets so many endpoints as it has nodes' CPU, so that none is overloaded by more than a fifth; where that
cannot be, there are no hints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from sampan.api import objects, quantity
from sampan.api.nodes import status as nodestatus
from sampan.api.reading import part, text_map
from sampan.api.types import Obj
from sampan.controllers.endpoints.slices import SlicePlan
from sampan.records import dataclass

_MODES = ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode")
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_OVERLOAD: Final = 0.2

ENABLED = "Topology Aware Hints has been enabled"
DISABLED = "Topology Aware Hints has been disabled"
_NO_NODES = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
_FEW = "Insufficient number of endpoints"
_UNEVEN = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
_NO_ZONE = "One or more endpoints do not have a zone specified"
_NOTHING = "No hints allocated for zones"


def wants_hints(service: Obj) -> bool:
    """The former annotation wins where both are."""
    annotations = objects.annotations(service)
    mode = next((annotations[name] for name in _MODES if name in annotations), "")
    return mode in ("Auto", "auto")


class ZoneCpu:
    """What the ready nodes of each zone have of CPU. A node's news costs the same in a cluster of any size."""

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[str, int]] = {}
        self._zones: dict[str, int] = {}
        #: nodes without a zone, or without CPU: as long as there is one, nothing can be said
        self._unknown = 0

    def note(self, node: Obj) -> bool:
        """Whether the zones' CPU is another now."""
        name, labels = node["metadata"]["name"], text_map(node["metadata"], "labels")
        if not nodestatus.is_ready(node) or any(label in labels for label in _CONTROL_PLANE):
            return self.forget(name)
        new = (labels.get(nodestatus.ZONE, ""), _millis(node))
        if self._nodes.get(name) == new:
            return False
        self.forget(name)
        self._nodes[name] = new
        self._add(new, +1)
        return True

    def forget(self, name: str) -> bool:
        old = self._nodes.pop(name, None)
        if old is not None:
            self._add(old, -1)
        return old is not None

    def ratios(self) -> dict[str, float] | None:
        """Each zone's part of all; None: too little is known, or there is one zone only."""
        if self._unknown or len(self._zones) < 2:
            return None
        total = sum(self._zones.values())
        return {zone: millis / total for zone, millis in sorted(self._zones.items())}

    def _add(self, of_node: tuple[str, int], by: int) -> None:
        zone, millis = of_node
        if not zone or not millis:
            self._unknown += by
            return
        left = self._zones.get(zone, 0) + by * millis
        if left:
            self._zones[zone] = left
        else:
            del self._zones[zone]


def _millis(node: Obj) -> int:
    try:
        return quantity.millis(part(part(node, "status"), "allocatable").get("cpu", 0))
    except (ArithmeticError, TypeError, ValueError):
        return 0


@dataclass(frozen=True, slots=True)
class _Share:
    least: int
    most: int
    wanted: float


@dataclass(frozen=True, slots=True)
class Hints:
    """How many endpoints each zone got, or why there are no hints."""

    by_zone: Mapping[str, int]
    fault: str = ""


def is_overloaded(by_zone: Mapping[str, int], ratios: Mapping[str, float] | None) -> bool:
    """Whether a zone has fewer endpoints than it needs by now."""
    if not by_zone:
        return False
    total = sum(by_zone.values())
    return not ratios or any(by_zone.get(zone, -1) < _least(total * ratio) for zone, ratio in ratios.items())


def _least(wanted: float) -> int:
    return math.ceil(wanted * (1 / (1 + _OVERLOAD)))  # rounded as upstream rounds it


def add_hints(plan: SlicePlan, ratios: Mapping[str, float] | None) -> Hints:
    """Gives the ready endpoints of the slices hints, with as few slices written as may be; or takes them all away."""
    count = sum(is_ready(endpoint) for each in _all(plan) for endpoint in each.get("endpoints") or ())
    shares = _shares(count, ratios)
    if isinstance(shares, str):
        remove_hints(plan)
        return Hints({}, shares)
    by_zone = _present_hints(plan, shares)
    for each in plan.rendered():
        for endpoint in each["endpoints"]:
            endpoint.pop("hints", None)
            if not is_ready(endpoint):
                continue
            zone = endpoint.get("zone")
            if not zone:
                remove_hints(plan)
                return Hints({}, _NO_ZONE)
            by_zone[zone] = by_zone.get(zone, 0) + 1
            endpoint["hints"] = {"forZones": [{"name": zone}]}
    _redistribute(plan, by_zone, shares)
    if not by_zone:
        remove_hints(plan)
        return Hints({}, _NOTHING)
    return Hints(by_zone)


def remove_hints(plan: SlicePlan) -> None:
    for present in list(plan.unchanged):
        if any(endpoint.get("hints") for endpoint in present.get("endpoints") or ()):
            _touch(plan, present)
    for each in plan.rendered():
        for endpoint in each["endpoints"]:
            endpoint.pop("hints", None)


def is_ready(endpoint: Obj) -> bool:
    return bool((endpoint.get("conditions") or {}).get("ready"))


def _all(plan: SlicePlan) -> list[Obj]:
    return [*plan.create, *plan.update, *plan.unchanged]


def _touch(plan: SlicePlan, present: Obj) -> None:
    plan.unchanged.remove(present)
    plan.update.append(objects.deep_copy(present))


def _shares(count: int, ratios: Mapping[str, float] | None) -> dict[str, _Share] | str:
    """How many endpoints each zone should have; a text: why that cannot be said."""
    if ratios is None:
        return _NO_NODES
    said = f"({count} endpoints, {len(ratios)} zones)"
    if len(ratios) > count:
        return f"{_FEW} {said}"
    least = {zone: _least(ratio * count) for zone, ratio in ratios.items()}
    spare = count - sum(least.values())
    if spare < 0:
        return f"{_UNEVEN} {said}"
    return {
        zone: _Share(least[zone], least[zone] + spare, max(ratio * count, least[zone]))
        for zone, ratio in ratios.items()
    }


def _present_hints(plan: SlicePlan, shares: Mapping[str, _Share]) -> dict[str, int]:
    """Counts the hints of slices that may stay as they are; the others will be written."""
    by_zone: dict[str, int] = {}
    for present in list(plan.unchanged):
        found = _hints_of(present, by_zone, shares)
        if found is None:
            _touch(plan, present)
            continue
        for zone, number in found.items():
            by_zone[zone] = by_zone.get(zone, 0) + number
    return by_zone


def _hints_of(present: Obj, by_zone: Mapping[str, int], shares: Mapping[str, _Share]) -> dict[str, int] | None:
    found: dict[str, int] = {}
    for endpoint in present.get("endpoints") or ():
        if not is_ready(endpoint):
            continue
        zones = [each["name"] for each in (endpoint.get("hints") or {}).get("forZones") or ()]
        if not zones or any(zone not in shares for zone in zones):
            return None
        for zone in zones:
            found[zone] = found.get(zone, 0) + 1
    too_many = any(number + by_zone.get(zone, 0) > shares[zone].most for zone, number in found.items())
    return None if too_many else found


def _redistribute(plan: SlicePlan, by_zone: dict[str, int], shares: Mapping[str, _Share]) -> None:
    """Zones that have more endpoints than they need lend some to those that have fewer."""
    giving, receiving = _to_give(by_zone, shares)
    for each in plan.rendered():
        for endpoint in each["endpoints"]:
            if not giving or not receiving:
                return
            zone = endpoint.get("zone", "")
            if not is_ready(endpoint) or zone not in giving:
                continue
            other = next(iter(receiving))
            endpoint["hints"] = {"forZones": [{"name": other}]}
            _less(giving, zone)
            _less(receiving, other)
            by_zone[zone] -= 1
            by_zone[other] = by_zone.get(other, 0) + 1


def _less(numbers: dict[str, int], zone: str) -> None:
    numbers[zone] -= 1
    if not numbers[zone]:
        del numbers[zone]


def _to_give(by_zone: Mapping[str, int], shares: Mapping[str, _Share]) -> tuple[dict[str, int], dict[str, int]]:
    over = {zone: by_zone.get(zone, 0) - share.wanted for zone, share in shares.items()}
    more = {zone: number for zone, number in over.items() if number > 0}
    fewer = {zone: -number for zone, number in over.items() if number < 0}
    giving: dict[str, int] = {}
    receiving: dict[str, int] = {}
    while more and fewer:
        giver, taker = max(more, key=more.__getitem__), max(fewer, key=fewer.__getitem__)
        give, take = more[giver], fewer[taker]
        if (give < 1 and take < 1) or give < 0.5 or take < 0.5:
            break
        giving[giver] = giving.get(giver, 0) + 1
        receiving[taker] = receiving.get(taker, 0) + 1
        more[giver] -= 1
        fewer[taker] -= 1
    return giving, receiving
