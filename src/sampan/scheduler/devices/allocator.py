"""Which devices claims get on one node: a search over what the node reaches. Pure.

Source: KEP-4381 (structured parameters); dynamic-resource-allocation ``structured`` (v1.37). Devices are tried in
the order of their pools and slices, alternatives in the order in which the claim lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from sampan.api.pods import tolerations
from sampan.api.reading import part, parts, text, texts
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.scheduler.devices.pools import Device, Id, node_selector

#: devices of one claim (``AllocationResultsMaxSize``)
MOST_DEVICES: Final = 32
#: tries of a device in one decision, over all nodes, before it is given up
MOST_TRIES: Final = 5_000
#: looks at a device in one decision, over all nodes, whether a request could have it: some 100 ms
MOST_LOOKS: Final = 100_000
_EFFECTS: Final = ("NoSchedule", "NoExecute")


class Impossible(Exception):
    """Not a matter of the node: a class that is missing, a selector that cannot be evaluated, a search without end."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to satisfy a request. ``name`` is ``request`` or ``request/subrequest``; ``number`` 0: all there are."""

    name: str
    selectors: tuple[str, ...]
    number: int
    admin: bool
    tolerations: tuple[Obj, ...]
    device_class: Obj


@dataclass(frozen=True, slots=True)
class Want:
    """One claim: for each request its alternatives, in order."""

    claim: Obj
    requests: tuple[tuple[Alternative, ...], ...]


def want(claim: Obj, device_class: Callable[[str], Obj | None]) -> Want:
    """Raises Impossible."""
    found: list[tuple[Alternative, ...]] = []
    for request in parts(part(part(claim, "spec"), "devices"), "requests"):
        name = text(request, "name")
        exactly = part(request, "exactly")
        if exactly:
            found.append((_alternative(name, name, exactly, device_class),))
        else:
            subrequests = parts(request, "firstAvailable")
            found.append(
                tuple(_alternative(name, f"{name}/{text(each, 'name')}", each, device_class) for each in subrequests)
            )
    return Want(claim, tuple(found))


def _alternative(request: str, name: str, asked: Obj, device_class: Callable[[str], Obj | None]) -> Alternative:
    of_class = device_class(text(asked, "deviceClassName"))
    if of_class is None:
        raise Impossible(f"request {request}: device class {text(asked, 'deviceClassName')} does not exist")
    if asked.get("capacity"):
        raise Impossible(f"request {request}: devices are not shared by capacity here")
    selectors = [*parts(part(of_class, "spec"), "selectors"), *parts(asked, "selectors")]
    every = text(asked, "allocationMode") == "All"
    return Alternative(
        name,
        tuple(text(part(selector, "cel"), "expression") for selector in selectors),
        0 if every else int(asked.get("count") or 1),
        asked.get("adminAccess") is True,
        tuple(parts(asked, "tolerations")),
        of_class,
    )


@dataclass(slots=True)
class Tries:
    """What is left of one decision's."""

    left: int = MOST_TRIES
    looks: int = MOST_LOOKS


@dataclass(frozen=True, slots=True)
class _Fitting:
    """Of the devices that an alternative selects: those of pools that are known whole; of these, what nobody had when
    the search began; and whether there are pools that are not."""

    whole: tuple[Device, ...]
    free: tuple[Device, ...]
    partly: bool


@dataclass(slots=True)
class _Search:
    tries: Tries
    reachable: Sequence[tuple[Device, bool]]
    taken: set[Id]
    #: by an alternative's identity: its devices are looked for once, however often the search comes to it
    _known: dict[int, _Fitting] = field(default_factory=dict)
    #: of each claim, what was chosen: the alternative and the device
    chosen: list[list[tuple[Alternative, Device]]] = field(default_factory=list)

    def claims(self, wants: Sequence[Want], index: int = 0) -> bool:
        if index == len(wants):
            return True
        self.chosen.append([])
        if self._requests(wants, index, 0):
            return True
        self.chosen.pop()
        return False

    def _requests(self, wants: Sequence[Want], index: int, request: int) -> bool:
        wanted = wants[index]
        if request == len(wanted.requests):
            return self.claims(wants, index + 1)
        for alternative in wanted.requests[request]:
            found, number = self._fitting(alternative), alternative.number
            fitting = found.whole if alternative.admin or not number else found.free
            if not number:
                # All there are, of pools that are known whole, and at least one.
                if found.partly or (not alternative.admin and len(found.free) < len(found.whole)):
                    continue
                number = len(fitting)
            if 0 < number <= len(fitting) and self._devices(wants, index, request, alternative, fitting, number):
                return True
        return False

    def _devices(
        self,
        wants: Sequence[Want],
        index: int,
        request: int,
        alternative: Alternative,
        fitting: Sequence[Device],
        number: int,
        start: int = 0,
    ) -> bool:
        if not number:
            return self._requests(wants, index, request + 1)
        chosen = self.chosen[index]
        if len(chosen) >= MOST_DEVICES:
            return False
        for place in range(start, len(fitting) - number + 1):
            device = fitting[place]
            self.tries.left -= 1
            if self.tries.left < 0:
                raise Impossible(f"no devices were found in {MOST_TRIES} tries")
            if not alternative.admin and device.id in self.taken:
                if not alternative.number:
                    return False
                continue
            if not _consistent(wants[index].claim, [*chosen, (alternative, device)]):
                continue
            chosen.append((alternative, device))
            if not alternative.admin:
                self.taken.add(device.id)
            if self._devices(wants, index, request, alternative, fitting, number - 1, place + 1):
                return True
            chosen.pop()
            if not alternative.admin:
                self.taken.discard(device.id)
        return False

    def _fitting(self, alternative: Alternative) -> _Fitting:
        found = self._known.get(id(alternative))
        if found is None:
            selected = list(self._selected(alternative))
            whole = tuple(device for device, complete in selected if complete)
            free = tuple(device for device in whole if device.id not in self.taken)
            found = self._known[id(alternative)] = _Fitting(whole, free, len(whole) < len(selected))
        return found

    def _selected(self, alternative: Alternative) -> Iterator[tuple[Device, bool]]:
        from sampan.api.expressions.devices import Unclear  # late: few clusters have devices

        self.tries.looks -= len(self.reachable)
        if self.tries.looks < 0:
            raise Impossible(f"no devices were found in {MOST_LOOKS} looks")
        for device, complete in self.reachable:
            taints = list(parts(device.content, "taints"))
            if taints and not alternative.admin and _repelled(taints, alternative.tolerations):
                continue
            try:
                if all(device.selected(expression) for expression in alternative.selectors):
                    yield device, complete
            except Unclear as error:
                raise Impossible(f"device {'/'.join(device.id)}: {error}") from error


def _repelled(taints: Sequence[Obj], tolerated: Sequence[Obj]) -> bool:
    pod = {"spec": {"tolerations": list(tolerated)}}
    return tolerations.first_untolerated(pod, taints, _EFFECTS) is not None


def _consistent(claim: Obj, chosen: Sequence[tuple[Alternative, Device]]) -> bool:
    for constraint in parts(part(part(claim, "spec"), "devices"), "constraints"):
        named = set(texts(constraint, "requests"))
        match, distinct = text(constraint, "matchAttribute"), text(constraint, "distinctAttribute")
        values: list[Any] = []
        for alternative, device in chosen:
            if named and not {alternative.name, alternative.name.partition("/")[0]} & named:
                continue
            value = device.attribute(match or distinct)
            if value is None:
                return False
            values.append(value)
        if match and any(value != values[0] for value in values):
            return False
        if not match and len(set(values)) != len(values):
            return False
    return True


def allocate(
    wants: Sequence[Want], reachable: Sequence[tuple[Device, bool]], taken: set[Id], tries: Tries | None = None
) -> list[Obj] | None:
    """For each claim its ``status.allocation``; None: the node cannot satisfy them together. Raises Impossible."""
    search = _Search(tries or Tries(), reachable, set(taken))
    if not search.claims(wants):
        return None
    return [_allocation(each.claim, chosen) for each, chosen in zip(wants, search.chosen, strict=True)]


def _allocation(claim: Obj, chosen: Sequence[tuple[Alternative, Device]]) -> Obj:
    results: list[Obj] = []
    config: list[Obj] = []
    classes: Mapping[str, Obj] = {alternative.name: alternative.device_class for alternative, _ in chosen}
    for alternative, device in chosen:
        result: Obj = {"request": alternative.name, "driver": device.driver, "pool": device.pool, "device": device.name}
        if alternative.admin:
            result["adminAccess"] = True
        if alternative.tolerations:
            result["tolerations"] = [dict(each) for each in alternative.tolerations]
        results.append(result)
    for name, device_class in classes.items():
        for each in parts(part(device_class, "spec"), "config"):
            config.append({"source": "FromClass", "requests": [name], **each})
    for each in parts(part(part(claim, "spec"), "devices"), "config"):
        requests = texts(each, "requests")
        if not requests or any(name in requests or name.partition("/")[0] in requests for name in classes):
            config.append({"source": "FromClaim", **each})
    devices: Obj = {"results": results}
    if config:
        devices["config"] = config
    allocation: Obj = {"devices": devices}
    selector = node_selector({device.id: device for _, device in chosen})
    if selector is not None:
        allocation["nodeSelector"] = selector
    return allocation
