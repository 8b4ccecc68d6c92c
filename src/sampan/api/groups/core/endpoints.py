"""Endpoints (v1): addresses behind a Service, in the form that EndpointSlices replace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import addresses, common
from sampan.api.validation.common import Errors


def _default(endpoints: Obj) -> None:
    for subset in endpoints.get("subsets") or ():
        for port in subset.get("ports") or ():
            port.setdefault("protocol", "TCP")


def _addresses(given: list[Obj] | None, path: str, known: Set[str], *, loopback: bool) -> Errors:
    found: Errors = []
    for index, address in enumerate(given or ()):
        where, ip = f"{path}[{index}]", address.get("ip", "")
        found += addresses.ip(ip, f"{where}.ip", known)
        if address.get("hostname"):
            found += common.named(names.dns1123_label, address["hostname"], f"{where}.hostname")
        if address.get("nodeName") is not None:
            found += common.named(names.dns1123_subdomain, address["nodeName"], f"{where}.nodeName")
        found += addresses.not_special(ip, f"{where}.ip", loopback=loopback)
    return found


def _port(port: Obj, path: str, *, named: bool) -> Errors:
    found: Errors = []
    if port.get("name"):
        found += common.named(names.dns1123_label, port["name"], f"{path}.name")
    elif named:
        found.append(errors.required(f"{path}.name"))
    found += common.port(port.get("port", 0), f"{path}.port")
    found += common.one_of(port.get("protocol"), ("SCTP", "TCP", "UDP"), f"{path}.protocol", must=True)
    if port.get("appProtocol") is not None:
        found += common.named(names.qualified_name, port["appProtocol"], f"{path}.appProtocol")
    return found


def _validate(endpoints: Obj) -> Errors:
    return _check(endpoints, frozenset())


def _validate_update(new: Obj, old: Obj) -> Errors:
    return _check(new, frozenset(address.get("ip", "") for _, address in _all_addresses(old)))


def _check(endpoints: Obj, known: Set[str]) -> Errors:
    found: Errors = []
    loopback = addresses.is_of_server(endpoints)
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        path, ports = f"subsets[{index}]", subset.get("ports") or []
        if not any(subset.get(key) for key in _LISTS):
            found.append(errors.required(path, "must specify `addresses` or `notReadyAddresses`"))
        for key in _LISTS:
            found += _addresses(subset.get(key), f"{path}.{key}", known, loopback=loopback)
        for position, port in enumerate(ports):
            found += _port(port, f"{path}.ports[{position}]", named=len(ports) > 1)
    return found


_LISTS = ("addresses", "notReadyAddresses")
_MANAGED_BY, _CONTROLLER = "endpoints.kubernetes.io/managed-by", "endpoint-controller"


def _all_addresses(endpoints: Obj) -> Iterator[tuple[str, Obj]]:
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        for key in _LISTS:
            for position, address in enumerate(subset.get(key) or ()):
                yield f"subsets[{index}].{key}[{position}]", address


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    if (new.get("metadata", {}).get("labels") or {}).get(_MANAGED_BY) == _CONTROLLER:
        return ()
    return [
        text
        for path, address in _all_addresses(new)
        for text in addresses.ip_warnings(address.get("ip", ""), f"{path}.ip")
    ]


def _listed(endpoints: Obj) -> str:
    """The first few, and how many more there are: each address with each port, of which there may be millions."""
    subsets = endpoints.get("subsets") or ()
    if not subsets:
        return printing.NONE
    shown: list[str] = []
    count = 0
    for subset in subsets:
        ready, ports = subset.get("addresses") or (), subset.get("ports") or ()
        count += len(ready) * max(1, len(ports))
        for port in ports or (None,):
            if not ready or len(shown) == _SHOWN:
                break
            shown += [_reached(address.get("ip", ""), port) for address in ready[: _SHOWN - len(shown)]]
    return ",".join(shown) + (f" + {count - _SHOWN} more..." if count > _SHOWN else "")


_SHOWN = 3


def _reached(ip: str, port: Obj | None) -> str:
    if port is None:
        return ip
    return f"[{ip}]:{port.get('port', 0)}" if ":" in ip else f"{ip}:{port.get('port', 0)}"


def _row(endpoints: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(endpoints), _listed(endpoints), printing.age(endpoints, now))


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Endpoints",
        plural="endpoints",
        singular="endpoints",
        namespaced=True,
        schema="io.k8s.api.core.v1.Endpoints",
        short_names=("ep",),
        create_on_update=True,
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        ratchets=True,
        warnings=_warnings,
        columns=(printing.NAME, Column("Endpoints"), printing.AGE),
        row=_row,
        deprecation_warning="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    ),
)
