"""Tunnels by VXLAN (RFC 7348): one interface a node, and an entry for each of the others in its tables.

Nothing is learned and nothing asked for: which machine has a hardware address, and which hardware address an address
of the pod network, is written into the kernel's tables from what the Nodes say. A change of one Node is one entry of
each; the tables are read when the interface is new, and at each look. Packets of strangers are dropped (``guard``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from sampan.network.routes import overlay
from sampan.network.routes.guard import Guard
from sampan.network.routes.ip import Device, Ip, RouteError
from sampan.network.routes.overlay import VXLAN_OVERHEAD, VXLAN_PORT
from sampan.network.routes.plan import Link, Network, Route, RoutePlan, Tunnel
from sampan.records import dataclass

_UNKNOWN: Final = "Unknown device type"


@dataclass(frozen=True, slots=True)
class Entries:
    """``neighbours``: other ends in the pod network, and their hardware addresses. ``places``: those, and machines."""

    neighbours: frozenset[tuple[str, str]] = frozenset()
    places: frozenset[tuple[str, str]] = frozenset()


def entries(tunnels: Iterable[Tunnel]) -> Entries:
    """Pure."""
    known = [(each, overlay.hardware_address(each.node)) for each in tunnels]
    return Entries(
        frozenset((tunnel.gateway, hardware) for tunnel, hardware in known),
        frozenset((hardware, tunnel.endpoint) for tunnel, hardware in known),
    )


class Vxlan:
    """``usual_mtu``: where no interface has this node's address. ``table``: of nftables, that keeps strangers out."""

    def __init__(
        self,
        device: str,
        node_name: str,
        cluster: Sequence[Network],
        usual_mtu: Callable[[], int],
        table: str,
        prefix: Sequence[str] = (),
        port: int = VXLAN_PORT,
    ) -> None:
        self._name, self._port, self._usual_mtu = device, port, usual_mtu
        self._hardware = overlay.hardware_address(node_name)
        self._number = overlay.network_number(cluster)
        self._ip = Ip(prefix)
        self._guard = Guard(table, self._number, port, prefix)
        #: what is in the kernel's tables, if that is known
        self._laid: Entries | None = None
        self._local = ""

    def routes(self, tunnels: Iterable[Tunnel]) -> frozenset[Route]:
        return frozenset(Route(each.destination, each.gateway, self._name) for each in tunnels)

    async def lay(self, plan: RoutePlan, links: Sequence[Link], *, look: bool) -> None:
        await self._guard.keep(frozenset(each.endpoint for each in plan.tunnels), look=look or self._laid is None)
        if look or self._laid is None or self._local != plan.local:
            self._laid = None
            await self._ensure_device(plan, links)
            self._local = plan.local
        had = await self._present() if self._laid is None else self._laid
        self._laid = None  # until it is known to be as wanted
        wanted = entries(plan.tunnels)
        await self._change(had, wanted)
        self._laid = wanted

    async def remove(self) -> None:
        self._laid = None
        if await self._ip.device(self._name) is not None:
            await self._ip.remove_device(self._name)
        await self._guard.remove()

    async def _ensure_device(self, plan: RoutePlan, links: Sequence[Link]) -> None:
        mtu = overlay.device_mtu(plan, links, VXLAN_OVERHEAD, self._usual_mtu())
        # An address that no interface has (a machine behind one that translates) cannot be sent from.
        local = plan.local if any(str(link.address) == plan.local for link in links) else ""
        there = await self._ip.device(self._name)
        if there is not None and not self._is_made_so(there, local):
            await self._ip.remove_device(self._name)
            there = None
        if there is None:
            sender = ("local", local) if local else ()
            try:
                await self._ip.run(
                    "ip", "link", "add", self._name, "address", self._hardware, "type", "vxlan", "id",
                    str(self._number), *sender, "dstport", str(self._port), "nolearning",
                )  # fmt: skip
            except RouteError as error:
                if _UNKNOWN in str(error):
                    raise RouteError(
                        "the kernel of this machine has no VXLAN (CONFIG_VXLAN; modprobe vxlan)"
                    ) from error
                raise
        addresses = overlay.own_addresses(plan)
        had = there.addresses if there else frozenset()
        lines = [f"addr del {each} dev {self._name}" for each in sorted(had - addresses)]
        lines += [f"addr add {each} dev {self._name}" for each in sorted(addresses - had)]
        if there is None or there.mtu != mtu or not there.up:
            lines = [f"link set {self._name} mtu {mtu} addrgenmode none up", *lines]
        await self._ip.batch(lines)

    def _is_made_so(self, there: Device, local: str) -> bool:
        told = there.details
        return (
            there.kind == "vxlan"
            and there.hardware == self._hardware
            and told.get("id") == self._number
            and told.get("port") == self._port
            and str(told.get("local6" if ":" in local else "local", "")) == local
        )

    async def _present(self) -> Entries:
        return Entries(await self._ip.neighbours(self._name), await self._ip.forwarding(self._name))

    async def _change(self, had: Entries, wanted: Entries) -> None:
        await self._ip.batch(_places(self._name, had.places, wanted.places), "bridge")
        await self._ip.batch(_neighbours(self._name, had.neighbours, wanted.neighbours))


def _places(device: str, had: frozenset[tuple[str, str]], wanted: frozenset[tuple[str, str]]) -> list[str]:
    new = sorted(wanted - had)
    replaced = {hardware for hardware, _ in new}
    gone = sorted(hardware for hardware, _ in had - wanted if hardware not in replaced)
    return [
        *(f"fdb del {hardware} dev {device} self" for hardware in gone),
        *(f"fdb replace {hardware} dev {device} dst {endpoint} self permanent" for hardware, endpoint in new),
    ]


def _neighbours(device: str, had: frozenset[tuple[str, str]], wanted: frozenset[tuple[str, str]]) -> list[str]:
    new = sorted(wanted - had)
    replaced = {gateway for gateway, _ in new}
    gone = sorted(gateway for gateway, _ in had - wanted if gateway not in replaced)
    return [
        *(f"neigh del {gateway} dev {device}" for gateway in gone),
        *(f"neigh replace {gateway} lladdr {hardware} dev {device} nud permanent" for gateway, hardware in new),
    ]
