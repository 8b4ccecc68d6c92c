"""The subsets of an Endpoints object: addresses by their ports, in the one form that can be compared. Pure (upstream
``api/v1/endpoints/util.go``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import orjson

from sampan.api.pods import status as podstatus
from sampan.api.types import Obj
from sampan.controllers.endpoints import facts

MAX_ADDRESSES = 1000
#: of a headless Service without ports
_NO_PORT = b""
_FIELDS = ("addresses", "notReadyAddresses")


class Offered(NamedTuple):
    """What one pod offers of a Service: its address, by IP and the pod's uid, and its ports."""

    key: tuple[str, str]
    address: Obj
    ports: tuple[bytes, ...]
    ready: bool


def offers(service: Obj) -> Callable[[Obj], Offered | None]:
    """Reads what a pod offers of a Service; None: nothing."""
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    family = facts.families(service)[0]
    #: pods share them
    known: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}

    def read(pod: Obj) -> Offered | None:
        found = facts.pod_ips(pod, family)
        if podstatus.is_terminal(pod) or not found or (podstatus.is_terminating(pod) and not publish):
            return None
        key = (found[0], pod["metadata"].get("uid", ""))
        ports = tuple(_ports(service, pod))
        ready = publish or podstatus.is_ready(pod)
        return Offered(key, _address(service, pod, found[0]), known.setdefault(ports, ports), ready)

    return read


def plan_subsets(offered_by_pods: Iterable[Offered | None]) -> tuple[list[Obj], bool]:
    """Each port with the addresses that offer it, ports with the same addresses together; True when there were too
    many addresses, and some were left out."""
    #: by IP and uid of the pod
    addresses: dict[tuple[str, str], Obj] = {}
    by_port: dict[bytes, dict[tuple[str, str], bool]] = {}
    for each in offered_by_pods:
        if each is None:
            continue
        addresses[each.key] = each.address
        for port in each.ports:
            by_port.setdefault(port, {})[each.key] = each.ready
    together: dict[frozenset[tuple[tuple[str, str], bool]], list[bytes]] = {}
    for port, offered in by_port.items():
        together.setdefault(frozenset(offered.items()), []).append(port)
    subsets = [_subset(sorted(ports), sorted(offered), addresses) for offered, ports in together.items()]
    subsets.sort(key=lambda subset: orjson.dumps(subset, option=orjson.OPT_SORT_KEYS))
    return subsets, _truncate(subsets)


def _subset(
    ports: list[bytes], offered: list[tuple[tuple[str, str], bool]], addresses: dict[tuple[str, str], Obj]
) -> Obj:
    subset: Obj = {}
    for key, ready in offered:
        subset.setdefault("addresses" if ready else "notReadyAddresses", []).append(addresses[key])
    if ports != [_NO_PORT]:
        subset["ports"] = [orjson.loads(port) for port in ports]
    return subset


def _ports(service: Obj, pod: Obj) -> list[bytes]:
    declared = service["spec"].get("ports") or ()
    if not declared:
        return [_NO_PORT] if facts.is_headless(service) else []
    ports = []
    for each in declared:
        number = facts.find_port(pod, each)
        if number is None:
            continue
        port: Obj = {"name": each.get("name", ""), "port": number, "protocol": each.get("protocol", "TCP")}
        if each.get("appProtocol"):
            port["appProtocol"] = each["appProtocol"]
        ports.append(orjson.dumps({name: value for name, value in port.items() if value != ""}))
    return ports


def _address(service: Obj, pod: Obj, ip: str) -> Obj:
    meta = pod["metadata"]
    address: Obj = {"ip": ip}
    if hostname := facts.hostname(pod, service):
        address["hostname"] = hostname
    if node := podstatus.node_name(pod):
        address["nodeName"] = node
    address["targetRef"] = {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}
    return address


def _truncate(subsets: list[Obj]) -> bool:
    """Leaves a thousand addresses, the ready ones before others, of each subset in proportion."""
    ready, others = (sum(len(subset.get(field) or ()) for subset in subsets) for field in _FIELDS)
    if ready + others <= MAX_ADDRESSES:
        return False
    field, total, most = _FIELDS[1], others, MAX_ADDRESSES - ready
    if ready > MAX_ADDRESSES:
        field, total, most = _FIELDS[0], ready, MAX_ADDRESSES
    left = most
    for subset in subsets:
        listed = subset.get(field) or []
        kept = listed[: min(left, math.ceil(len(listed) * most / total))]
        left -= len(kept)
        if ready > MAX_ADDRESSES:
            subset.pop(_FIELDS[1], None)
        if kept:
            subset[field] = kept
        else:
            subset.pop(field, None)
    return True
