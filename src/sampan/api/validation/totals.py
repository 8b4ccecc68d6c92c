"""What the containers of a pod ask for together (``AggregateContainerRequests``), exactly, as messages show it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from sampan.api import quantity
from sampan.api.types import Obj


@dataclass(frozen=True, slots=True)
class Total:
    amount: Fraction
    notation: quantity.Format

    def __str__(self) -> str:
        return quantity.format_quantity(self.amount, self.notation)


def of_containers(spec: Obj, kind: str) -> dict[str, Total]:
    """``kind``: requests or limits. Init containers count while they run, sidecars always."""
    together: dict[str, Total] = {}
    for container in spec.get("containers") or ():
        _add(together, _amounts(container, kind))
    sidecars: dict[str, Total] = {}
    peak: dict[str, Total] = {}
    for container in spec.get("initContainers") or ():
        own = _amounts(container, kind)
        # Of what this one does not ask for, the moment before was no lower.
        moment = {name: sidecars[name] for name in own if name in sidecars}
        _add(moment, own)
        if container.get("restartPolicy") == "Always":
            _add(together, own)
            sidecars |= moment
        _raise_to(peak, moment)
    _raise_to(together, peak)
    return together


def _amounts(container: Obj, kind: str) -> dict[str, Total]:
    listed = (container.get("resources") or {}).get(kind) or {}
    return {name: Total(*quantity.parse_with_format(str(amount))) for name, amount in listed.items()}


def _add(total: dict[str, Total], more: dict[str, Total]) -> None:
    for name, each in more.items():
        known = total.get(name)
        # A sum keeps the notation of its first part, unless that was nothing.
        total[name] = Total(known.amount + each.amount, known.notation) if known and known.amount else each


def _raise_to(total: dict[str, Total], floor: dict[str, Total]) -> None:
    for name, each in floor.items():
        if name not in total or total[name].amount < each.amount:
            total[name] = each
