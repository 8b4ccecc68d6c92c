"""All of a server that gives addresses and ports to Services: records, pools, the write hook, and their repair.

Made by ``app``: ``start`` once the caches are filled and before the first request, then ``run`` beside the server.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Iterable, Sequence
from functools import partial

from sampan.api.clock import Clock, Random
from sampan.api.resources import IP_ADDRESSES, SERVICE_CIDRS, SERVICES, Resource
from sampan.api.transport import EventType, Transport
from sampan.api.types import Obj
from sampan.server.allocators.addresses import (
    AddressForm,
    Network,
    automatic_span,
    family_of,
    is_ready,
    is_usable,
    network_of,
)
from sampan.server.allocators.hook import ServiceHook
from sampan.server.allocators.pool import Pool
from sampan.server.allocators.ports import PortForm, PortStorage
from sampan.server.allocators.records import Owner, Records
from sampan.server.allocators.repair import Repair, Repaired, Services
from sampan.server.allocators.reports import Reporter
from sampan.server.allocators.service import ServiceAllocator, addresses_of, node_ports
from sampan.server.allocators.spans import Span, static_band
from sampan.server.reader import ObjectReader
from sampan.server.storage import ResourceStorage
from sampan.server.surface import Surface
from sampan.store.protocol import Store, StoreError

log = logging.getLogger(__name__)

#: a key that says that every Service of this store has its records: only then a start need not look
_COMPLETE = "/ranges/complete"
KUBERNETES = Owner("default", "kubernetes")


class Allocations:
    def __init__(
        self,
        surface: Surface,
        store: Store,
        reader: ObjectReader,
        cidr: str,
        port_range: tuple[int, int],
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        """``cidr`` is the configured range of cluster IPs, or one of each family, separated by a comma, the first
        family first; ``port_range`` inclusive on both ends. Raises ValueError."""
        self._configured = networks_of(cidr)
        self._reader, self._port_range, self._clock, self._random = reader, port_range, clock, random
        addresses, self._services = _storage(surface, IP_ADDRESSES), _storage(surface, SERVICES)
        self._store, self._ports = store, PortStorage(store)
        records = Records(addresses, AddressForm(addresses.kind, clock, random))
        self._address_records = records
        # The first address of all is the `kubernetes` Service's.
        owned = {int(self._configured[0].network_address) + 1: KUBERNETES}
        pools = {
            family_of(network.version): Pool(
                records,
                partial(self._spans, network.version),
                partial(_text, network),
                random,
                reserved=owned if network is self._configured[0] else None,
            )
            for network in self._configured
        }
        size = port_range[1] - port_range[0] + 1
        span = Span(port_range[0], size, static_band(size, 16, 128, 32))
        self._port_pool = Pool(Records(self._ports, PortForm()), lambda: [span], str, random)
        self.hook = ServiceHook(ServiceAllocator(self.networks, pools, self._port_pool, port_range))
        self._repair = Repair(Services(self._services), self._repaired(span))

    async def start(self) -> None:
        """Services that were stored before there were records get theirs. Raises StoreError."""
        await self._ports.start()
        if await self._store.get(_COMPLETE) is None:
            await self._repair.run_pass()
            await self._store.commit(_COMPLETE, None, b"{}")

    async def run(self, writer: Transport) -> None:
        """Runs until cancelled."""
        reporter = Reporter(writer, self._reader, self._port_range, self._clock, self._random)
        loop = asyncio.get_running_loop()
        unsubscribe = self._reader.subscribe(IP_ADDRESSES, self._on_address, keep=False)
        try:
            while True:
                try:
                    await reporter.report(await self._repair.run_pass(), loop.time())
                except StoreError as error:
                    log.warning("addresses and ports of services were not checked: %s", error)
                except Exception:  # a fault in a pass costs that pass
                    log.exception("addresses and ports of services were not checked")
                await self._repair.due()
        finally:
            unsubscribe()

    def close(self) -> None:
        self._ports.close()

    def networks(self) -> Sequence[Network]:
        """Where cluster IPs come from: the configured ranges, then those of further ServiceCIDR objects."""
        found = list(self._configured)
        versions = {network.version for network in found}
        for obj in self._reader.list(SERVICE_CIDRS):
            if not is_ready(obj):
                continue
            for cidr in (obj.get("spec") or {}).get("cidrs") or ():
                try:
                    network = network_of(cidr)
                except ValueError:
                    continue
                if network.version in versions and network not in found:
                    found.append(network)
        return found

    def _spans(self, version: int) -> list[Span]:
        return [automatic_span(network) for network in self.networks() if network.version == version]

    def _repaired(self, span: Span) -> list[Repaired]:
        def addresses(service: Obj) -> Iterable[str]:
            return (text for each in addresses_of(service) if (text := _canonical(each)))

        def in_networks(name: str) -> bool:
            address = ipaddress.ip_address(name)
            return any(address in network and is_usable(network, int(address)) for network in self.networks())

        first = _text(self._configured[0], int(self._configured[0].network_address) + 1)
        return [
            Repaired(self._address_records, addresses, in_networks, lambda name: name == first),
            Repaired(
                self._port_pool.records,
                lambda service: map(str, dict.fromkeys(node_ports(service))),
                lambda name: int(name) in span,
                lambda _name: False,
            ),
        ]

    def _on_address(self, kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
        """Somebody deleted a record that a Service needs: it must be there again before the number is given away."""
        if kind != "DELETED":
            return
        reference = (obj.get("spec") or {}).get("parentRef") or {}
        service = self._reader.get(SERVICES, reference.get("namespace", ""), reference.get("name", ""))
        if service is not None and obj["metadata"]["name"] in map(_canonical, addresses_of(service)):
            self._repair.wake()


def _storage(surface: Surface, resource: Resource) -> ResourceStorage:
    view = surface.by_resource(resource)
    if view is None:
        raise LookupError(f"{resource} is not stored")
    return view.storage


def networks_of(cidrs: str) -> tuple[Network, ...]:
    """One range, or one of each family. Raises ValueError."""
    found = tuple(network_of(each.strip()) for each in cidrs.split(","))
    if len({network.version for network in found}) < len(found):
        raise ValueError(f"{cidrs} are not one range of each family")
    return found


def _text(network: Network, number: int) -> str:
    return str(type(network.network_address)(number))


def _canonical(address: str) -> str:
    """As records are named. "": it is none."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return ""
