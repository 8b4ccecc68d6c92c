"""Completes Services with cluster IPs, IP families and node ports (upstream: registry/core/service ``alloc.go``).

The hook of Services calls ``allocate`` before a write and then exactly one method of what it returned; ``release``
after a delete. What a Service has is decided by records in the store (``records``); this module decides what it asks
for, and says in the API's words why it does not get it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import field
from functools import partial
from typing import Any

from sampan.api import errors
from sampan.api.groups.core.service_strategy import wants_health_port
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.allocators.addresses import Network, family_of, is_usable
from sampan.server.allocators.families import FAMILY_FIELDS, complete_families
from sampan.server.allocators.pool import Full, Pool
from sampan.server.allocators.records import AlreadyAllocated, Owner, Taken
from sampan.store.protocol import StoreError

log = logging.getLogger(__name__)

HEADLESS = "None"


@dataclass(slots=True)
class Want:
    """One number that a write asks of a pool. ``number`` 0: any. ``path`` and ``shown`` name it in an error."""

    pool: Pool
    number: int
    path: str
    shown: object
    #: told the number once it is known
    fill: list[Callable[[int], None]] = field(default_factory=list)


@dataclass(slots=True)
class Allocation:
    """What one write took, and what it lets go of. Exactly one of ``commit`` and ``rollback`` is called; neither
    raises: what could not be given back is found by ``repair``."""

    owner: Owner
    taken: list[Taken] = field(default_factory=list)
    let_go: list[tuple[Pool, int]] = field(default_factory=list)

    async def commit(self, new: Obj) -> None:
        """The write is durable: what the Service no longer uses is free. A name that was generated may be another
        one by now."""
        owner = owner_of(new)
        moves = [taken.pass_on(owner) for taken in self.taken if owner != self.owner]
        await _settle(moves + [pool.release(number, self.owner) for pool, number in self.let_go], owner)

    async def rollback(self) -> None:
        """The write failed: what it took is free again."""
        await _settle([taken.give_back() for taken in self.taken], self.owner)
        self.taken.clear()


async def _settle(steps: list[Coroutine[Any, Any, None]], owner: Owner) -> None:
    for result in await asyncio.gather(*steps, return_exceptions=True):
        if isinstance(result, StoreError):
            log.warning("service %s/%s: a number was not given back: %s", owner.namespace, owner.name, result)
        elif isinstance(result, BaseException):
            log.error("service %s/%s: a number was not given back", owner.namespace, owner.name, exc_info=result)


class ServiceAllocator:
    def __init__(
        self,
        networks: Callable[[], Iterable[Network]],
        addresses: Mapping[str, Pool],
        ports: Pool,
        port_range: tuple[int, int],
    ) -> None:
        """``networks``: all that addresses may come from. ``addresses``: the pool of each family that the cluster has,
        its first family first. ``port_range`` is inclusive on both ends."""
        self._networks = networks
        self.addresses, self.ports = addresses, ports
        self._port_range = port_range

    async def allocate(self, new: Obj, old: Obj | None, *, dry_run: bool) -> Allocation | None:
        """Completes ``new`` in place and takes what it asks for. Raises Invalid, Conflict, InternalError (a range is
        full), StoreUnavailable; then nothing is taken."""
        if old is not None and new["spec"] == old["spec"]:
            return None
        wants = [*self._want_addresses(new, old), *self._want_ports(new, old)]
        allocation = Allocation(owner_of(new))
        try:
            # Stated numbers first, so that none is given to a field that leaves it open.
            await self._take(new, old, [want for want in wants if want.number], allocation, dry_run=dry_run)
            await self._take(new, old, [want for want in wants if not want.number], allocation, dry_run=dry_run)
        except BaseException:
            await allocation.rollback()
            raise
        if old is not None:
            kept = {*self._numbers(new)}
            allocation.let_go = [held for held in self._numbers(old) if held not in kept]
        return allocation

    async def release(self, service: Obj) -> None:
        """After a delete. Never raises."""
        await Allocation(owner_of(service), let_go=self._numbers(service)).commit(service)

    def _numbers(self, service: Obj) -> list[tuple[Pool, int]]:
        """All that a stored Service holds, each once."""
        found = [held for text in addresses_of(service) if (held := self._of_address(text))]
        found += [(self.ports, port) for port in node_ports(service)]
        return list(dict.fromkeys(found))

    def _of_address(self, text: str) -> tuple[Pool, int] | None:
        """None: not an address, or of a family that the cluster does not have."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return None
        pool = self.addresses.get(family_of(address.version))
        return None if pool is None else (pool, int(address))

    # -- taking

    async def _take(
        self, new: Obj, old: Obj | None, wants: list[Want], allocation: Allocation, *, dry_run: bool
    ) -> None:
        """All at once, so that the store makes them durable together. Of several faults the first is told."""
        avoid = {held for service in (new, old) if service for held in self._numbers(service)}
        results = await asyncio.gather(
            *(self._take_one(want, avoid, allocation, dry_run) for want in wants), return_exceptions=True
        )
        for want, result in zip(wants, results, strict=True):
            if isinstance(result, BaseException):
                raise self._explain(new, old, want, result) from result

    async def _take_one(self, want: Want, avoid: set[tuple[Pool, int]], allocation: Allocation, dry_run: bool) -> None:
        number = want.number
        if number:
            taken = await want.pool.take(number, allocation.owner, dry_run=dry_run)
        else:
            others = {held for pool, held in avoid if pool is want.pool}
            number, taken = await want.pool.take_any(allocation.owner, others, dry_run=dry_run)
        if taken is not None:
            allocation.taken.append(taken)
        for fill in want.fill:
            fill(number)

    def _explain(self, new: Obj, old: Obj | None, want: Want, error: BaseException) -> BaseException:
        ports = want.pool is self.ports
        if isinstance(error, Full):
            what = "nodePort" if ports else "serviceIP"
            return errors.InternalError(f"Internal error occurred: failed to allocate a {what}: range is full")
        if not isinstance(error, AlreadyAllocated):
            return error
        if old is not None and error.owner == owner_of(new):
            # Another update of this Service takes the same number at this moment: a lost race like any other.
            return errors.conflict("services", new["metadata"].get("name", ""))
        if ports:
            detail = "provided port is already allocated"
        else:
            detail = f"failed to allocate IP {ipaddress.ip_address(want.number)}: provided IP is already allocated"
        return _invalid(new, [errors.invalid(want.path, want.shown, detail)])

    # -- cluster IPs

    def _want_addresses(self, service: Obj, old: Obj | None) -> list[Want]:
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            for key in ("clusterIP", "clusterIPs"):
                if not spec.get(key):
                    spec.pop(key, None)  # one that is set is refused by validation
            for key in FAMILY_FIELDS:
                spec.pop(key, None)
            return []
        stated = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
        if stated:
            spec["clusterIPs"] = list(stated)
        if faults := complete_families(service, old, tuple(self.addresses)):
            raise _invalid(service, faults)
        if stated and stated[0] == HEADLESS:
            return []
        held = set(self._numbers(old)) if old is not None else set()
        spec["clusterIPs"] = addresses = list(spec.get("clusterIPs") or ())
        addresses += [""] * (len(spec["ipFamilies"]) - len(addresses))
        wants: list[Want] = []
        for index, (text, family) in enumerate(zip(list(addresses), spec["ipFamilies"], strict=False)):
            pool = self.addresses.get(family)
            if pool is None:  # kept from a time when the cluster had that family
                continue
            if not text:
                wants.append(Want(pool, 0, "spec.clusterIPs", [], [partial(self._fill_address, spec, index, pool)]))
            elif (number := self._check_address(service, stated, text)) and (pool, number) not in held:
                wants.append(Want(pool, number, "spec.clusterIPs", stated))
        return wants

    @staticmethod
    def _fill_address(spec: Obj, index: int, pool: Pool, number: int) -> None:
        spec["clusterIPs"][index] = pool.name(number)
        if index == 0:
            spec["clusterIP"] = spec["clusterIPs"][0]

    def _check_address(self, service: Obj, addresses: list[str], text: str) -> int:
        """0: not an address, which validation says. Raises Invalid for one that is nobody's to have."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return 0
        containing = [network for network in self._networks() if address in network]
        if any(is_usable(network, int(address)) for network in containing):
            return int(address)
        if containing:
            valid = f"The range of valid IPs is {containing[0]}"
            cause = f"the provided IP ({text}) is not in the valid range. {valid}"
        else:
            cause = "the provided network does not match the current range"
        detail = f"failed to allocate IP {text}: {cause}"
        raise _invalid(service, [errors.invalid("spec.clusterIPs", addresses, detail)])

    # -- node ports

    def _want_ports(self, service: Obj, old: Obj | None) -> list[Want]:
        spec = service["spec"]
        ports = spec.get("ports") or []
        wants: list[Want] = []
        if has_node_ports(spec):
            wants = self._want_all_ports(ports)
        elif spec.get("type") == "LoadBalancer":
            wants = [self._want_port(port, index) for index, port in enumerate(ports) if port.get("nodePort")]
        else:
            for port in ports:
                if not port.get("nodePort"):
                    port.pop("nodePort", None)  # one that is set is refused by validation
        if wants_health_port(spec):
            stated = spec.get("healthCheckNodePort") or 0
            path = "spec.healthCheckNodePort"
            wants.append(Want(self.ports, stated, path, stated, [partial(spec.__setitem__, "healthCheckNodePort")]))
        return self._not_held(service, wants, set(node_ports(old)) if old is not None else set())

    def _not_held(self, service: Obj, wants: list[Want], held: set[int]) -> list[Want]:
        """What is still to be taken; each stated number once. Raises Invalid."""
        left: list[Want] = []
        for want in wants:
            if want.number:
                for fill in want.fill:
                    fill(want.number)
                if want.number in held:
                    continue
                self._check_port(service, want)
                held = held | {want.number}
            left.append(want)
        return left

    def _check_port(self, service: Obj, want: Want) -> None:
        first, last = self._port_range
        if not first <= want.number <= last:
            detail = f"provided port is not in the valid range. The range of valid ports is {first}-{last}"
            raise _invalid(service, [errors.invalid(want.path, want.shown, detail)])

    def _want_port(self, port: Obj, index: int) -> Want:
        stated = port.get("nodePort") or 0
        path = f"spec.ports[{index}].nodePort"
        return Want(self.ports, stated, path, stated, [partial(port.__setitem__, "nodePort")])

    def _want_all_ports(self, ports: list[Obj]) -> list[Want]:
        wants: list[Want] = []
        by_port: dict[int, tuple[Want, set[str]]] = {}  # service port -> what it asks for, protocols that share it
        for index, port in sorted(enumerate(ports), key=lambda pair: not pair[1].get("nodePort")):
            protocol, number = port.get("protocol", "TCP"), port.get("port", 0)
            known, protocols = by_port.get(number, (None, set()))
            if known is not None and not port.get("nodePort") and protocol not in protocols:
                want = known  # the same port over TCP and UDP shares its node port
                want.fill.append(partial(port.__setitem__, "nodePort"))
            else:
                want = self._want_port(port, index)
                wants.append(want)
            by_port[number] = (want, {*protocols, protocol})
        return wants


def owner_of(service: Obj) -> Owner:
    return Owner(service["metadata"].get("namespace", ""), service["metadata"].get("name", ""))


def addresses_of(service: Obj) -> list[str]:
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return []
    found = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [address for address in found if address and address != HEADLESS]


def node_ports(service: Obj) -> list[int]:
    """Every node port a Service has, the health check's included."""
    spec = service.get("spec") or {}
    found = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    return [*found, spec["healthCheckNodePort"]] if spec.get("healthCheckNodePort") else found


def has_node_ports(spec: Obj) -> bool:
    if spec.get("type") == "NodePort":
        return True
    return spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False


def _invalid(service: Obj, faults: list[errors.FieldError]) -> errors.Invalid:
    return errors.invalid_object("Service", service["metadata"].get("name", ""), faults)
