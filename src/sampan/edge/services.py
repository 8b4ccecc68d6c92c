"""From a port of a Service to the endpoints behind it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sampan.api.reading import part, parts, text, texts, whole
from sampan.api.types import Obj
from sampan.edge.model import Endpoint
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Port:
    """``protocol``: as ``appProtocol`` has it."""

    name: str
    number: int
    protocol: str = ""


def port_of(service: Obj, wanted: str | int) -> Port | None:
    """By name or number. A Service by an external name needs no ports to have any number."""
    spec = part(service, "spec")
    for port in parts(spec, "ports"):
        if wanted in (text(port, "name") or None, whole(port, "port")):
            return Port(text(port, "name"), whole(port, "port") or 0, text(port, "appProtocol"))
    if is_external(service) and isinstance(wanted, int):
        return Port("", wanted)
    return None


def is_external(service: Obj) -> bool:
    return text(part(service, "spec"), "type") == "ExternalName"


def is_own(service: Obj) -> bool:
    """An external name that is the node's own: what listens there is not for whoever may make a Service."""
    name = text(part(service, "spec"), "externalName").rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost") or name.replace(".", "").isdigit()


def endpoints_of(service: Obj, slices: Iterable[Obj], port: Port) -> tuple[Endpoint, ...]:
    """Ready ones, and those that end and still serve (``draining``); sorted."""
    spec = part(service, "spec")
    if is_external(service):
        name = text(spec, "externalName").rstrip(".")
        return (Endpoint(name, port.number),) if name and not is_own(service) else ()
    found: dict[tuple[str, int], bool] = {}
    for each in slices:
        if text(each, "addressType") not in ("IPv4", "IPv6"):
            continue
        numbers = [
            number
            for known in parts(each, "ports")
            if text(known, "name") == port.name and (number := whole(known, "port"))
        ]
        for endpoint in parts(each, "endpoints"):
            conditions = part(endpoint, "conditions")
            ready = conditions.get("ready") is not False
            draining = bool(conditions.get("serving")) and bool(conditions.get("terminating"))
            if not (ready or draining):
                continue
            for address in texts(endpoint, "addresses"):
                for number in numbers:
                    key = (address, number)
                    found[key] = found.get(key, True) and not ready
    return tuple(Endpoint(address, number, draining) for (address, number), draining in sorted(found.items()))
