"""EndpointSlice (discovery.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api import metadata as object_metadata
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_MAX_ENDPOINTS, _MAX_ADDRESSES, _MAX_PORTS, _MAX_TOPOLOGY = 1000, 100, 20000, 16


def _default(endpoint_slice: Obj) -> None:
    for port in endpoint_slice.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _address(address: str, kind: str, path: str) -> Errors:
    if kind == "FQDN":
        return common.named(names.dns1123_subdomain, address, path)
    found = common.named(names.ip_address, address, path)
    if not found and (":" in address) != (kind == "IPv6"):
        text = f"must be a valid {kind} address"
        found.append(errors.invalid(path, address, text))
    return found


def _endpoint(endpoint: Obj, kind: str, path: str) -> Errors:
    addresses = endpoint.get("addresses") or []
    found: Errors = []
    if not addresses:
        found.append(errors.required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(addresses) > _MAX_ADDRESSES:
        found.append(errors.too_many(f"{path}.addresses", len(addresses), _MAX_ADDRESSES))
    for index, address in enumerate(addresses):
        found += _address(address, kind, f"{path}.addresses[{index}]")
    if endpoint.get("nodeName"):
        found += common.named(names.dns1123_subdomain, endpoint["nodeName"], f"{path}.nodeName")
    if endpoint.get("hostname"):
        found += common.named(names.dns1123_label, endpoint["hostname"], f"{path}.hostname")
    topology = endpoint.get("deprecatedTopology") or {}
    if len(topology) > _MAX_TOPOLOGY:
        found.append(errors.too_many(f"{path}.deprecatedTopology", len(topology), _MAX_TOPOLOGY))
    return found + object_metadata.validate_labels(topology, f"{path}.deprecatedTopology")


def _validate(endpoint_slice: Obj) -> Errors:
    kind = endpoint_slice.get("addressType", "")
    found: Errors = []
    if not kind:
        found.append(errors.required("addressType"))
    elif kind not in _ADDRESS_TYPES:
        found.append(errors.not_supported("addressType", kind, _ADDRESS_TYPES))
    endpoints, ports = endpoint_slice.get("endpoints") or [], endpoint_slice.get("ports") or []
    if len(endpoints) > _MAX_ENDPOINTS:
        return [*found, errors.too_many("endpoints", len(endpoints), _MAX_ENDPOINTS)]
    for index, endpoint in enumerate(endpoints):
        found += _endpoint(endpoint, kind, f"endpoints[{index}]")
    seen: set[str] = set()
    for index, port in enumerate(ports):
        name, path = port.get("name", ""), f"ports[{index}]"
        if name:
            found += common.named(names.dns1123_label, name, f"{path}.name")
        if name in seen:
            found.append(errors.duplicate(f"{path}.name", name))
        seen.add(name)
        found += common.one_of(port.get("protocol"), ("SCTP", "TCP", "UDP"), f"{path}.protocol", must=True)
        if port.get("port") is not None:
            found += common.in_range(port["port"], 1, 65535, f"{path}.port")
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("addressType"), old.get("addressType"), "addressType")


def _row(endpoint_slice: Obj, now: datetime) -> Sequence[Any]:
    ports = [str(port["port"]) if port.get("port") else "*" for port in endpoint_slice.get("ports") or ()]
    addresses = [a for e in endpoint_slice.get("endpoints") or () for a in e.get("addresses") or ()]
    return (
        printing.name(endpoint_slice),
        endpoint_slice.get("addressType", ""),
        printing.some(ports, empty=printing.UNSET),
        printing.some(addresses, empty=printing.UNSET),
        printing.age(endpoint_slice, now),
    )


KINDS = (
    Kind(
        group="discovery.k8s.io",
        version="v1",
        kind="EndpointSlice",
        plural="endpointslices",
        singular="endpointslice",
        namespaced=True,
        schema="io.k8s.api.discovery.v1.EndpointSlice",
        generation=True,
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        columns=(printing.NAME, Column("AddressType"), Column("Ports"), Column("Endpoints"), printing.AGE),
        row=_row,
    ),
)
