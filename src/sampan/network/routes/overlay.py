"""What a tunnel between nodes is made of: names, numbers and sizes. Pure; and the seam behind which tunnels are laid.

Every node makes the same of what all of them know, so that no node has to be told: the other end's hardware address is
made of its node's name, the network's number of the cluster's ranges.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from sampan.network.routes.plan import Link, Network, Route, RoutePlan, Tunnel

#: Bytes that go to the headers of a tunnel, by the version of the addresses of its ends: of VXLAN 8, UDP 8, IP 20 or
#: 40, and the inner Ethernet header 14; of WireGuard 32, UDP 8, IP.
VXLAN_OVERHEAD: Final = {4: 50, 6: 70}
WIREGUARD_OVERHEAD: Final = {4: 60, 6: 80}
#: Of UDP; Linux' own choice of old, and that of most pod networks. IANA's 4789 is taken by some clouds' switches.
VXLAN_PORT: Final = 8472
#: Below that there is no IPv6.
LEAST_MTU: Final = 1280


class Overlay(Protocol):
    """Tunnels of this node. All but ``routes`` raise RouteError."""

    def routes(self, tunnels: Iterable[Tunnel]) -> frozenset[Route]: ...

    async def lay(self, plan: RoutePlan, links: Sequence[Link], *, look: bool) -> None:
        """The device is there, and leads to the plan's tunnels and no other. ``look``: not even what was laid before is
        taken for granted."""
        ...

    async def remove(self) -> None:
        """Content when there is none."""
        ...


def hardware_address(node: str) -> str:
    """Locally administered, of one station."""
    digest = bytearray(hashlib.sha256(node.encode()).digest()[:6])
    digest[0] = digest[0] & 0xFC | 0x02
    return ":".join(f"{byte:02x}" for byte in digest)


def network_number(cluster: Iterable[Network]) -> int:
    """VXLAN's VNI: two clusters of one machine never share a range, and so no number."""
    digest = hashlib.sha256(",".join(sorted(map(str, cluster))).encode()).digest()
    return 1 + int.from_bytes(digest[:4]) % ((1 << 24) - 2)


def device_mtu(plan: RoutePlan, links: Iterable[Link], overhead: dict[int, int], usual: int) -> int:
    """What fits into a tunnel from this node. ``usual``: where no interface has its address."""
    around = next((link.mtu for link in links if str(link.address) == plan.local), usual)
    return max(around - overhead[6 if ":" in plan.local else 4], LEAST_MTU)


def own_addresses(plan: RoutePlan) -> frozenset[str]:
    """Of the device: by them this node is known to pods of the others, and answers come back by the tunnel."""
    return frozenset(f"{text.partition('/')[0]}/{128 if ':' in text else 32}" for text in plan.own)
