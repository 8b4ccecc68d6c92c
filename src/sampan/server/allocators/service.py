"""Completes Services with cluster IPs, IP families and node ports (upstream: registry/core/service ``alloc.go``).

The REST core's hook calls ``on_create`` and ``on_update`` before the commit, then ``commit`` or ``rollback`` on what
they return; ``on_delete`` after a delete. ``load`` rebuilds the pools from the stored Services at start. One thread,
no I/O; with several servers on one store, the uniqueness of what is taken is only as good as each one's view.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sampan.api import errors
from sampan.api.clock import Random
from sampan.api.types import Obj
from sampan.server.allocators.pool import AlreadyAllocated, Full, NotInRange, Pool, static_band

HEADLESS = "None"
_KUBERNETES = "default/kubernetes"
_ALLOCATION_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


@dataclass(slots=True)
class Allocation:
    """What one write took and what it will give back. Exactly one of the two methods is called."""

    _taken: list[Callable[[], None]] = field(default_factory=list)
    _released: list[Callable[[], None]] = field(default_factory=list)

    def took(self, undo: Callable[[], None]) -> None:
        self._taken.append(undo)

    def releases_later(self, release: Callable[[], None]) -> None:
        self._released.append(release)

    def commit(self) -> None:
        """The write is durable: what the Service no longer uses is free."""
        for release in self._released:
            release()

    def rollback(self) -> None:
        """The write failed or was a dry run: what it took is free again."""
        for release in self._taken:
            release()


class ServiceAllocator:
    def __init__(self, cidr: str, port_range: tuple[int, int], random: Random) -> None:
        """``port_range`` is inclusive on both ends."""
        self.network = ipaddress.ip_network(cidr)
        self._first_port, self._last_port = port_range
        # Neither the network's own address nor (IPv4) its broadcast address is anybody's.
        size = min(self.network.num_addresses - (2 if self.network.version == 4 else 1), 1 << 20)
        self._ips = Pool(size, static_band(size, 16, 256, 16), random)
        ports = self._last_port - self._first_port + 1
        self._ports = Pool(ports, static_band(ports, 16, 128, 32), random)
        self._family = f"IPv{self.network.version}"
        self._ips.take(0, _KUBERNETES)

    @property
    def kubernetes_ip(self) -> str:
        """The first address: of the ``kubernetes`` Service."""
        return str(self.network.network_address + 1)

    def load(self, services: Iterable[Obj]) -> list[str]:
        """Takes what stored Services have. Returns a line for each that cannot be, for the log."""
        problems = []
        for service in services:
            owner = _owner(service)
            for address in _addresses(service):
                try:
                    self._ips.take(self._ip_offset(address), owner)
                except (AlreadyAllocated, NotInRange, ValueError) as error:
                    problems.append(f"service {owner}: cluster IP {address}: {type(error).__name__}")
            for port in node_ports(service):
                try:
                    self._ports.take(port - self._first_port, owner)
                except (AlreadyAllocated, NotInRange) as error:
                    problems.append(f"service {owner}: node port {port}: {type(error).__name__}")
        return problems

    def on_create(self, service: Obj) -> Allocation:
        """Changes ``service`` in place. Raises Invalid, InternalError (range full); then nothing was taken."""
        return self._complete(service, None)

    def on_update(self, new: Obj, old: Obj) -> Allocation:
        """Changes ``new`` in place; what it leaves unset is taken from ``old``. Raises as ``on_create``."""
        inherit(new["spec"], old["spec"])
        return self._complete(new, old)

    def on_delete(self, service: Obj) -> None:
        owner = _owner(service)
        for address in _addresses(service):
            self._release_ip(address, owner)
        for port in node_ports(service):
            self._ports.release(port - self._first_port, owner)

    def _complete(self, new: Obj, old: Obj | None) -> Allocation:
        allocation = Allocation()
        try:
            self._complete_ips(new, allocation)
            self._complete_ports(new, allocation)
        except errors.ApiError:
            allocation.rollback()
            raise
        if old is not None:
            self._plan_release(new, old, allocation)
        return allocation

    def _plan_release(self, new: Obj, old: Obj, allocation: Allocation) -> None:
        owner = _owner(old)
        for address in set(_addresses(old)) - set(_addresses(new)):
            allocation.releases_later(partial(self._release_ip, address, owner))
        for port in set(node_ports(old)) - set(node_ports(new)):
            offset = port - self._first_port
            allocation.releases_later(partial(self._ports.release, offset, owner))

    # -- cluster IPs

    def _complete_ips(self, service: Obj, allocation: Allocation) -> None:
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            for key in _ALLOCATION_FIELDS:
                spec.pop(key, None)
            return
        addresses = (
            [spec["clusterIP"]] if spec.get("clusterIP") and not spec.get("clusterIPs") else spec.get("clusterIPs")
        )
        self._complete_families(service, headless=bool(addresses) and addresses[0] == HEADLESS)
        if not addresses:
            addresses = [self._take_any_ip(_owner(service), allocation)]
        elif addresses[0] != HEADLESS:
            self._take_ips(service, addresses, allocation)
        spec["clusterIP"], spec["clusterIPs"] = addresses[0], list(addresses)

    def _complete_families(self, service: Obj, *, headless: bool) -> None:
        spec = service["spec"]
        families, policy = spec.get("ipFamilies") or [], spec.get("ipFamilyPolicy")
        if headless and not spec.get("selector"):
            # Whoever writes the endpoints chooses: all families are possible.
            other = "IPv6" if self._family == "IPv4" else "IPv4"
            spec["ipFamilyPolicy"] = policy or ("SingleStack" if len(families) == 1 else "RequireDualStack")
            single = spec["ipFamilyPolicy"] == "SingleStack"
            spec["ipFamilies"] = families or ([self._family] if single else [self._family, other])
            return
        faults = [
            errors.invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
            for index, family in enumerate(families)
            if family != self._family
        ]
        if policy == "RequireDualStack":
            detail = "this cluster is not configured for dual-stack services"
            faults.insert(0, errors.invalid("spec.ipFamilyPolicy", policy, detail))
        if faults:
            raise _invalid(service, faults)
        spec["ipFamilies"], spec["ipFamilyPolicy"] = [self._family], policy or "SingleStack"

    def _take_ips(self, service: Obj, addresses: list[str], allocation: Allocation) -> None:
        owner = _owner(service)
        for address in addresses:
            try:
                if self._ips.take(self._ip_offset(address), owner):
                    allocation.took(partial(self._release_ip, address, owner))
                continue
            except AlreadyAllocated:
                cause = "provided IP is already allocated"
            except (NotInRange, ValueError):
                cause = (
                    f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {self.network}"
                )
            detail = f"failed to allocate IP {address}: {cause}"
            raise _invalid(service, [errors.invalid("spec.clusterIPs", addresses, detail)])

    def _take_any_ip(self, owner: str, allocation: Allocation) -> str:
        try:
            address = str(self.network.network_address + 1 + self._ips.take_any(owner))
        except Full as error:
            raise errors.InternalError(
                "Internal error occurred: failed to allocate a serviceIP: range is full"
            ) from error
        allocation.took(partial(self._release_ip, address, owner))
        return address

    def _ip_offset(self, address: str) -> int:
        """Raises ValueError (not an address of this family), NotInRange."""
        parsed = ipaddress.ip_address(address)
        if parsed not in self.network:
            raise NotInRange
        return int(parsed) - int(self.network.network_address) - 1

    def _release_ip(self, address: str, owner: str) -> None:
        try:
            self._ips.release(self._ip_offset(address), owner)
        except (NotInRange, ValueError):
            return  # an address of an earlier range: nobody counts it

    # -- node ports

    def _complete_ports(self, service: Obj, allocation: Allocation) -> None:
        spec = service["spec"]
        ports = spec.get("ports") or []
        if not _has_node_ports(spec):
            if spec.get("type") in ("ClusterIP", None, "ExternalName"):
                for port in ports:
                    port.pop("nodePort", None)
            else:
                self._take_stated_ports(service, ports, allocation)
        else:
            self._take_ports(service, ports, allocation)
        if spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local":
            stated = spec.get("healthCheckNodePort") or 0
            spec["healthCheckNodePort"] = self._take_port(service, stated, "spec.healthCheckNodePort", allocation)
        else:
            spec.pop("healthCheckNodePort", None)

    def _take_ports(self, service: Obj, ports: list[Obj], allocation: Allocation) -> None:
        by_port: dict[int, tuple[int, set[str]]] = {}  # service port -> (node port, protocols that use it)
        # Stated numbers first, so that none is given away to a port that leaves it open.
        for index, port in sorted(enumerate(ports), key=lambda pair: not pair[1].get("nodePort")):
            protocol, stated = port.get("protocol", "TCP"), port.get("nodePort") or 0
            known, protocols = by_port.get(port.get("port", 0), (0, set()))
            if not stated and known and protocol not in protocols:
                port["nodePort"] = known  # the same port over TCP and UDP shares its node port
            else:
                port["nodePort"] = self._take_port(service, stated, f"spec.ports[{index}].nodePort", allocation)
            by_port[port.get("port", 0)] = (port["nodePort"], {*protocols, protocol})

    def _take_stated_ports(self, service: Obj, ports: list[Obj], allocation: Allocation) -> None:
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                self._take_port(service, port["nodePort"], f"spec.ports[{index}].nodePort", allocation)

    def _take_port(self, service: Obj, stated: int, path: str, allocation: Allocation) -> int:
        owner = _owner(service)
        try:
            if not stated:
                offset, fresh = self._ports.take_any(owner), True
            else:
                offset = stated - self._first_port
                fresh = self._ports.take(offset, owner)
        except AlreadyAllocated as error:
            raise _invalid(service, [errors.invalid(path, stated, "provided port is already allocated")]) from error
        except NotInRange as error:
            detail = (
                "provided port is not in the valid range. The range of valid ports is "
                f"{self._first_port}-{self._last_port}"
            )
            raise _invalid(service, [errors.invalid(path, stated, detail)]) from error
        except Full as error:
            detail = "Internal error occurred: failed to allocate a nodePort: range is full"
            raise errors.InternalError(detail) from error
        if fresh:
            allocation.took(partial(self._ports.release, offset, owner))
        return offset + self._first_port


def _owner(service: Obj) -> str:
    return f"{service['metadata'].get('namespace', '')}/{service['metadata'].get('name', '')}"


def _addresses(service: Obj) -> list[str]:
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return []
    found = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [address for address in found if address and address != HEADLESS]


def node_ports(service: Obj) -> list[int]:
    """Every node port a Service has, the health check's included."""
    spec = service["spec"]
    found = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    return [*found, spec["healthCheckNodePort"]] if spec.get("healthCheckNodePort") else found


def _has_node_ports(spec: Obj) -> bool:
    if spec.get("type") == "NodePort":
        return True
    return spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False


def inherit(new: Obj, old: Obj) -> None:
    """What the server once chose and a writer leaves unset stays as it was (upstream: patchAllocatedValues). Pure."""
    types = {new.get("type", "ClusterIP"), old.get("type", "ClusterIP")}
    if "ExternalName" not in types:
        _inherit_ips(new, old)
    if _has_node_ports(new) and _has_node_ports(old):
        known = {
            (port.get("protocol", "TCP"), port.get("port", 0)): port.get("nodePort") for port in old.get("ports") or ()
        }
        taken: set[Any] = {port.get("nodePort") for port in new.get("ports") or ()}
        for port in new.get("ports") or ():
            before = known.get((port.get("protocol", "TCP"), port.get("port", 0)))
            if not port.get("nodePort") and before and before not in taken:
                port["nodePort"] = before
    if not new.get("healthCheckNodePort") and old.get("healthCheckNodePort"):
        new["healthCheckNodePort"] = old["healthCheckNodePort"]


def _inherit_ips(new: Obj, old: Obj) -> None:
    if not new.get("clusterIP") and not new.get("clusterIPs"):
        new["clusterIP"] = old.get("clusterIP", "")
    if (
        new.get("clusterIP")
        and new["clusterIP"] != old.get("clusterIP")
        and new.get("clusterIPs") == old.get("clusterIPs")
    ):
        new["clusterIPs"] = [new["clusterIP"]]  # an old client that changes only the singular field
    if not new.get("clusterIPs") and new.get("clusterIP") == old.get("clusterIP"):
        new["clusterIPs"] = list(old.get("clusterIPs") or ())
    for key in ("ipFamilies", "ipFamilyPolicy"):
        if not new.get(key) and old.get(key):
            new[key] = old[key]


def _invalid(service: Obj, faults: list[errors.FieldError]) -> errors.Invalid:
    return errors.invalid_object("Service", service["metadata"].get("name", ""), faults)
