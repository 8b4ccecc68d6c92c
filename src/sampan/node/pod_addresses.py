"""The addresses of simulated pods: one node's range, given out in turn as the host-local plugin does. No I/O."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network


class AddressesExhausted(Exception):
    """In the plugin's words."""


class PodAddresses:
    """Invariant: no two sandboxes have one address. What was given back is taken again as late as possible."""

    def __init__(self, pod_cidr: str) -> None:
        network = IPv4Network(pod_cidr)
        self.pod_cidr = pod_cidr
        # The network's own address, the gateway's and the broadcast address are nobody's.
        self._first, self._last = int(network.network_address) + 2, int(network.broadcast_address) - 1
        self._next = self._first
        self._owners: dict[int, str] = {}
        self._held: dict[str, int] = {}

    def take(self, sandbox_id: str) -> str:
        """Raises AddressesExhausted."""
        if len(self._owners) > self._last - self._first:
            raise AddressesExhausted(f"no IP addresses available in range set: {self.pod_cidr}")
        found = self._next
        while found in self._owners:
            found = self._after(found)
        self._next = self._after(found)
        self._owners[found] = sandbox_id
        self._held[sandbox_id] = found
        return str(IPv4Address(found))

    def give_back(self, sandbox_id: str) -> None:
        """Idempotent."""
        address = self._held.pop(sandbox_id, None)
        if address is not None:
            del self._owners[address]

    def _after(self, address: int) -> int:
        return address + 1 if address < self._last else self._first
