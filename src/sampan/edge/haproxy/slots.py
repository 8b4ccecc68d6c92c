"""Places for endpoints: each section has some more servers than it needs, so that endpoints come and go without a new
process. Pure.

A change of endpoints is a few commands at the socket of the running program; only when there are no places left, the
program is started anew, with twice as many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sampan.edge.model import Endpoint
from sampan.records import dataclass

NOWHERE = ("127.0.0.1", 9)


@dataclass(frozen=True, slots=True)
class Slot:
    """A server of a section; ``endpoint`` None: free. One that drains has no weight: cookies still lead to it."""

    endpoint: Endpoint | None = None


Slots = tuple[Slot, ...]


def room(endpoints: int) -> int:
    """How many places there are for so many endpoints: some to spare for an update, a power of two."""
    wanted = max(2, endpoints + endpoints // 4 + 2 * (endpoints > 0))
    return 1 << (wanted - 1).bit_length()


def usable(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """All of them drain: they are better than nothing."""
    if endpoints and all(endpoint.draining for endpoint in endpoints):
        return tuple(Endpoint(endpoint.address, endpoint.port) for endpoint in endpoints)
    return endpoints


def fill(endpoints: tuple[Endpoint, ...], before: Slots = ()) -> Slots:
    """Who has a place keeps it; free places are taken from the first on. As many places as before as long as they
    suffice, unless an eighth of them would do."""
    endpoints = usable(endpoints)
    wanted = {(endpoint.address, endpoint.port): endpoint for endpoint in endpoints}
    enough = len(wanted) <= len(before) <= 8 * room(len(wanted))
    count = len(before) if enough else room(len(wanted))
    slots: list[Slot] = []
    for slot in before[:count] if len(wanted) <= count else before:
        here = slot.endpoint and wanted.pop((slot.endpoint.address, slot.endpoint.port), None)
        slots.append(Slot(here or None))
    slots += [Slot()] * (count - len(slots))
    rest = iter(wanted.values())
    # Places that were free before come first: what was just left may still end its last requests.
    order = sorted(range(len(slots)), key=lambda place: place < len(before) and before[place].endpoint is not None)
    for place in order:
        if slots[place].endpoint is None and (endpoint := next(rest, None)) is not None:
            slots[place] = Slot(endpoint)
    return tuple(slots)


def server_line(number: int, slot: Slot, options: str) -> str:
    address, port = (slot.endpoint.address, slot.endpoint.port) if slot.endpoint else NOWHERE
    state = " disabled" if slot.endpoint is None else " weight 0" if slot.endpoint.draining else ""
    return f"server s{number} {_joined(address, port)}{state} {options}".rstrip()


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def commands(before: Mapping[str, Slots], after: Mapping[str, Slots]) -> Iterator[str]:
    """At the socket, from one filling to another of the same sections and numbers of places. New endpoints come before
    old ones go, so that a section is never without."""
    going: list[str] = []
    for section, slots in after.items():
        had = before[section]
        if had == slots:
            continue
        for number, (old, new) in enumerate(zip(had, slots, strict=True)):
            if old == new:
                continue
            server = f"{section}/s{number}"
            if new.endpoint is None:
                going.append(f"set server {server} state maint")
                continue
            if old.endpoint is None or (old.endpoint.address, old.endpoint.port) != (
                new.endpoint.address,
                new.endpoint.port,
            ):
                if old.endpoint is not None:
                    yield f"set server {server} state maint"
                yield f"set server {server} addr {new.endpoint.address} port {new.endpoint.port}"
            if new.endpoint.draining:
                yield f"set server {server} weight 0"
            else:
                yield f"set server {server} weight 1"
            yield f"set server {server} state ready"
    yield from going
