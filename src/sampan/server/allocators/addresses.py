"""Records of cluster IPs: IPAddress objects (networking.k8s.io/v1), named by the address they stand for."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from sampan.api import metadata
from sampan.api.clock import Clock, Random, random_uuid
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.server.allocators.records import Owner
from sampan.server.allocators.spans import Span, static_band

MANAGED_BY, IP_FAMILY = "ipaddress.kubernetes.io/managed-by", "ipaddress.kubernetes.io/ip-family"
MANAGER = "ipallocator.k8s.io"
#: how far into a range addresses are given out automatically; any address of it can be asked for
_AUTOMATIC = 1 << 20

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressForm:
    def __init__(self, kind: Kind, clock: Clock, random: Random) -> None:
        self._kind, self._clock, self._random = kind, clock, random

    def make(self, name: str, owner: Owner) -> Obj:
        labels = {IP_FAMILY: family_of(ipaddress.ip_address(name).version), MANAGED_BY: MANAGER}
        reference = {"resource": "services", "namespace": owner.namespace, "name": owner.name}
        obj: Obj = {"metadata": {"name": name, "labels": labels}, "spec": {"parentRef": reference}}
        uid = random_uuid(self._random)
        metadata.prepare_metadata_create(obj, self._kind, now=self._clock.now(), uid=uid, random=self._random)
        return obj

    def read(self, obj: Obj) -> tuple[Owner | None, bool]:
        managed = (obj["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER
        reference = (obj.get("spec") or {}).get("parentRef") or {}
        if reference.get("group") or reference.get("resource") != "services":
            return None, managed
        return Owner(reference.get("namespace", ""), reference.get("name", "")), managed


def family_of(version: int) -> str:
    return f"IPv{version}"


@lru_cache(maxsize=64)
def network_of(cidr: str) -> Network:
    """Raises ValueError."""
    return ipaddress.ip_network(cidr)


def automatic_span(network: Network) -> Span:
    """The addresses of a range that are given out: neither the network's own nor (IPv4) its broadcast address."""
    size = min(_usable(network), _AUTOMATIC)
    return Span(int(network.network_address) + 1, size, static_band(size, 16, 256, 16))


def is_usable(network: Network, number: int) -> bool:
    return 0 < number - int(network.network_address) <= _usable(network)


def _usable(network: Network) -> int:
    return network.num_addresses - (2 if network.version == 4 else 1)


def is_ready(cidr: Obj) -> bool:
    """Whether a ServiceCIDR gives out addresses: one that says nothing of it does, one that is going does not."""
    if cidr["metadata"].get("deletionTimestamp"):
        return False
    conditions = (cidr.get("status") or {}).get("conditions") or ()
    return all(condition.get("status") == "True" for condition in conditions if condition.get("type") == "Ready")
