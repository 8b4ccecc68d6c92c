"""EndpointSlice (discovery.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api import metadata as object_metadata
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.names import NameCheck
from sampan.api.types import Obj
from sampan.api.validation import addresses, common
from sampan.api.validation.common import Errors

_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MAX_ENDPOINTS, _MAX_ADDRESSES, _MAX_PORTS, _MAX_TOPOLOGY, _MAX_HINTS = 1000, 100, 20000, 16, 8
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
#: their addresses are well-formed
_CONTROLLERS = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")


def _default(endpoint_slice: Obj) -> None:
    for port in endpoint_slice.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _drop_topology(endpoint_slice: Obj) -> None:
    """The field is v1beta1's; v1 shows what is there and takes no more."""
    for endpoint in endpoint_slice.get("endpoints") or ():
        endpoint.pop("deprecatedTopology", None)


def _prepare_update(new: Obj, old: Obj) -> None:
    if new.get("endpoints") != old.get("endpoints"):
        _drop_topology(new)


def _address(address: str, kind: str, path: str, *, loopback: bool) -> Errors:
    if kind == "FQDN":
        return _domain(address, path)
    if found := addresses.ip(address, path):
        return found
    if addresses.is_v6(address) != (kind == "IPv6"):
        found.append(errors.invalid(path, address, f"must be an {kind} address"))
    return found + addresses.not_special(address, path, loopback=loopback)


def _domain(text: str, path: str) -> Errors:
    if not text:
        return [errors.required(path)]
    name = text.removesuffix(".")
    if problems := names.dns1123_subdomain(name):
        return [errors.invalid(path, name, ",".join(problems))]
    labels = name.split(".")
    if len(labels) < 2:
        return [errors.invalid(path, name, "should be a domain with at least two segments separated by dots")]
    return [
        errors.invalid(path, label, ",".join(problems)) for label in labels if (problems := names.dns1123_label(label))
    ]


def _endpoint(endpoint: Obj, kind: str, path: str, *, loopback: bool) -> Errors:
    listed = endpoint.get("addresses") or []
    found: Errors = []
    if not listed:
        found.append(errors.required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(listed) > _MAX_ADDRESSES:
        found.append(errors.too_many(f"{path}.addresses", len(listed), _MAX_ADDRESSES))
    if kind in _ADDRESS_TYPES:
        for index, address in enumerate(listed):
            found += _address(address, kind, f"{path}.addresses[{index}]", loopback=loopback)
    if endpoint.get("nodeName") is not None:
        found += common.named(names.dns1123_subdomain, endpoint["nodeName"], f"{path}.nodeName")
    if topology := endpoint.get("deprecatedTopology"):
        if len(topology) > _MAX_TOPOLOGY:
            found.append(errors.too_many(f"{path}.deprecatedTopology", len(topology), _MAX_TOPOLOGY))
        found += object_metadata.validate_labels(topology, f"{path}.deprecatedTopology")
    if endpoint.get("hostname") is not None:
        found += common.named(names.dns1123_label, endpoint["hostname"], f"{path}.hostname")
    if hints := endpoint.get("hints"):
        found += _hints(hints.get("forZones") or (), names.label_value, f"{path}.hints.forZones")
        found += _hints(hints.get("forNodes") or (), names.dns1123_subdomain, f"{path}.hints.forNodes")
    return found


def _hints(hints: Sequence[Obj], check: NameCheck, path: str) -> Errors:
    if len(hints) > _MAX_HINTS:
        return [errors.too_many(path, len(hints), _MAX_HINTS)]
    found: Errors = []
    seen: set[str] = set()
    for index, hint in enumerate(hints):
        name, where = hint.get("name", ""), f"{path}[{index}].name"
        if name in seen:
            found.append(errors.duplicate(where, name))
        seen.add(name)
        found += common.named(check, name, where)
    return found


def _ports(ports: Sequence[Obj]) -> Errors:
    if len(ports) > _MAX_PORTS:
        return [errors.too_many("ports", len(ports), _MAX_PORTS)]
    found: Errors = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        name, path = port.get("name", ""), f"ports[{index}]"
        if name:
            found += common.named(names.dns1123_label, name, f"{path}.name")
        if name in seen:
            found.append(errors.duplicate(f"{path}.name", name))
        seen.add(name)
        found += common.one_of(port.get("protocol"), _PROTOCOLS, f"{path}.protocol", must=True)
        if port.get("appProtocol") is not None:
            found += common.named(names.qualified_name, port["appProtocol"], f"{path}.appProtocol")
    return found


def _validate(endpoint_slice: Obj) -> Errors:
    kind = endpoint_slice.get("addressType", "")
    found = common.one_of(kind, _ADDRESS_TYPES, "addressType", must=True)
    endpoints = endpoint_slice.get("endpoints") or []
    if len(endpoints) > _MAX_ENDPOINTS:
        found.append(errors.too_many("endpoints", len(endpoints), _MAX_ENDPOINTS))
    else:
        loopback = addresses.is_of_server(endpoint_slice)
        for index, endpoint in enumerate(endpoints):
            found += _endpoint(endpoint, kind, f"endpoints[{index}]", loopback=loopback)
    return found + _ports(endpoint_slice.get("ports") or ())


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("addressType"), old.get("addressType"), "addressType")


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    if new.get("addressType") == "FQDN":
        return ("spec.addressType: FQDN endpoints are deprecated",)
    if (new.get("metadata", {}).get("labels") or {}).get(_MANAGED_BY) in _CONTROLLERS:
        return ()
    return [
        text
        for index, endpoint in enumerate(new.get("endpoints") or ())
        for position, address in enumerate(endpoint.get("addresses") or ())
        for text in addresses.ip_warnings(address, f"endpoints[{index}].addresses[{position}]")
    ]


def _port_text(port: Obj) -> str:
    return str(port["port"]) if port.get("port") is not None else str(port.get("name", "*"))


def _row(endpoint_slice: Obj, now: datetime) -> Sequence[Any]:
    ports = [_port_text(port) for port in endpoint_slice.get("ports") or ()]
    listed = [a for e in endpoint_slice.get("endpoints") or () for a in e.get("addresses") or ()]
    return (
        printing.name(endpoint_slice),
        endpoint_slice.get("addressType", ""),
        printing.some(ports, empty="") or printing.UNSET,
        printing.some(listed, empty="") or printing.UNSET,
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
        counted_metadata=("labels",),
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        warnings=_warnings,
        prepare_create=_drop_topology,
        prepare_update=_prepare_update,
        columns=(printing.NAME, Column("AddressType"), Column("Ports"), Column("Endpoints"), printing.AGE),
        row=_row,
    ),
)
