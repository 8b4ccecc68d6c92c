"""Endpoints (v1): addresses behind a Service, in the form that EndpointSlices replace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _default(endpoints: Obj) -> None:
    for subset in endpoints.get("subsets") or ():
        for port in subset.get("ports") or ():
            port.setdefault("protocol", "TCP")


def _addresses(addresses: list[Obj] | None, path: str) -> Errors:
    found: Errors = []
    for index, address in enumerate(addresses or ()):
        found += common.named(names.ip_address, address.get("ip", ""), f"{path}[{index}].ip")
        if address.get("hostname"):
            found += common.named(names.dns1123_label, address["hostname"], f"{path}[{index}].hostname")
    return found


def _validate(endpoints: Obj) -> Errors:
    found: Errors = []
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            found.append(errors.required(path, "must specify `addresses` or `notReadyAddresses`"))
        for key in ("addresses", "notReadyAddresses"):
            found += _addresses(subset.get(key), f"{path}.{key}")
        ports = subset.get("ports") or []
        for position, port in enumerate(ports):
            where = f"{path}.ports[{position}]"
            if len(ports) > 1 and not port.get("name"):
                found.append(errors.required(f"{where}.name"))
            elif port.get("name"):
                found += common.named(names.dns1123_label, port["name"], f"{where}.name")
            found += common.port(port.get("port", 0), f"{where}.port")
            protocols = ("SCTP", "TCP", "UDP")
            found += common.one_of(port.get("protocol"), protocols, f"{where}.protocol", must=True)
    return found


def _listed(endpoints: Obj) -> list[str]:
    found: list[str] = []
    for subset in endpoints.get("subsets") or ():
        addresses = subset.get("addresses") or ()
        ports = subset.get("ports") or ()
        if not ports:
            found += [address.get("ip", "") for address in addresses]
        for port in ports:
            for address in addresses:
                ip = address.get("ip", "")
                found.append(f"[{ip}]:{port.get('port', 0)}" if ":" in ip else f"{ip}:{port.get('port', 0)}")
    return found


def _row(endpoints: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(endpoints), printing.some(_listed(endpoints)), printing.age(endpoints, now))


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
        columns=(printing.NAME, Column("Endpoints"), printing.AGE),
        row=_row,
        deprecation_warning="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    ),
)
