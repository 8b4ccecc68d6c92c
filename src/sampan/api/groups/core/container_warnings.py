"""What is said of the containers of a pod or template: variables, amounts, ports, profiles (see ``pod_warnings``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from sampan.api import quantity
from sampan.api.errors import quoted
from sampan.api.types import Obj

SECCOMP_POD: Final = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER: Final = "container.seccomp.security.alpha.kubernetes.io/"
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_TEXT: Final = 'non-functional in v1.27+; use the "seccompProfile" field instead'
APPARMOR_TEXT: Final = 'deprecated since v1.30; use the "appArmorProfile" field instead'

Placed = Sequence[tuple[Obj, str]]
#: Warnings about the ports of one pod: an answer holds no more, and of n ports that are the same there are n² of them.
_MOST: Final = 100


def warnings(spec: Obj, annotations: Mapping[str, str], path: str) -> list[str]:
    """``path``: what stands before ``spec`` and ``metadata``, with its dot."""
    placed = [*_containers(spec, f"{path}spec")]
    found: list[str] = []
    confined = _with_apparmor(placed) if annotations else frozenset()
    for container, where in placed:
        if annotations:
            found += _of_annotations(spec, container, annotations, path, confined)
        found += _of_container(container, where)
    return found + _of_ports(placed)


def _containers(spec: Obj, path: str) -> Iterator[tuple[Obj, str]]:
    """In the order in which upstream visits them."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(key) or ()):
            yield container, f"{path}.{key}[{index}]"


def _of_container(container: Obj, path: str) -> list[str]:
    found: list[str] = []
    resources = container.get("resources")
    if resources:
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name in ("memory", "ephemeral-storage"):
            if name in limits:
                found += fraction(limits[name], f"{path}.resources.limits[{name}]")
            if name in requests:
                found += fraction(requests[name], f"{path}.resources.requests[{name}]")
    variables = container.get("env")
    if variables and len(variables) > 1:
        found += _hidden_variables(variables, f"{path}.env")
    return found


def _hidden_variables(variables: Sequence[Obj], path: str) -> list[str]:
    """A name may occur again where its value extends the one before (``PATH=$(PATH):/bin``)."""
    found: list[str] = []
    seen: set[str] = set()
    for index, variable in enumerate(variables):
        name = variable.get("name", "")
        if name in seen:
            reference, value = f"$({name})", variable.get("value", "")
            if variable.get("valueFrom") is not None or value == reference or reference not in value:
                text = f"hides previous definition of {quoted(name)}, which may be dropped when using apply"
                found.append(f"{path}[{index}]: {text}")
        seen.add(name)
    return found


def _of_annotations(
    spec: Obj, container: Obj, annotations: Mapping[str, str], path: str, confined: frozenset[str]
) -> list[str]:
    """``confined``: the containers that have a profile of AppArmor in their fields."""
    found: list[str] = []
    context, name = container.get("securityContext") or {}, container.get("name", "")
    key = _SECCOMP_CONTAINER + name
    if key in annotations and not context.get("seccompProfile"):
        found.append(f"{path}metadata.annotations[{key}]: {SECCOMP_TEXT}")
    key = _APPARMOR + name
    # Those of a pod are spoken of where the annotation becomes the field.
    whole = (spec.get("securityContext") or {}).get("appArmorProfile")
    if path and key in annotations and not whole and name not in confined:
        found.append(f"{path}metadata.annotations[{key}]: {APPARMOR_TEXT}")
    return found


def _with_apparmor(containers: Placed) -> frozenset[str]:
    return frozenset(
        container.get("name", "")
        for container, _ in containers
        if (container.get("securityContext") or {}).get("appArmorProfile")
    )


def _of_ports(containers: Placed) -> list[str]:
    """Of all containers together: they share one address."""
    ports = [
        (port, f"{place}.ports[{index}]")
        for container, place in containers
        for index, port in enumerate(container.get("ports") or ())
    ]
    if not ports:
        return []
    found: list[str] = []
    by_number: dict[tuple[int, str], _Earlier] = {}
    for port, where in ports:
        if len(found) >= _MOST:
            return found
        if port.get("hostIP") and not port.get("hostPort"):
            found.append(f"{where}: hostIP set without hostPort: {_port_as_written(port)}")
        earlier = by_number.setdefault((port.get("containerPort", 0), port.get("protocol", "")), _Earlier())
        for other, place in earlier.beside(port):
            if problem := _port_conflict(port, other):
                found.append(f"{where}: {problem} port definition with {place}")
        earlier.add(port, where)
    by_name: dict[str, str] = {}
    for port, where in ports:
        name = port.get("name")
        if name and name in by_name:
            first = by_name[name]
            text = f"duplicate port name {quoted(name)} with {first}, services and probes that select ports by name"
            found.append(f"{where}: {text} will use {first}")
        elif name:
            by_name[name] = where
    return found


class _Earlier:
    """Ports with the same number and protocol that came before: those that the next one may be in conflict with are
    found by what they have of the host, without a look at all others. Of each sort the first ``_MOST`` are kept."""

    def __init__(self) -> None:
        self._count = 0
        self._by_host: dict[tuple[object, ...], list[tuple[int, Obj, str]]] = {}

    def add(self, port: Obj, place: str) -> None:
        address, number = port.get("hostIP", ""), port.get("hostPort", 0)
        for key in {(), (number,), (number, address), (number, bool(address), None)}:
            kept = self._by_host.setdefault(key, [])
            if len(kept) < _MOST:
                kept.append((self._count, port, place))
        self._count += 1

    def beside(self, port: Obj) -> list[tuple[Obj, str]]:
        address, number = port.get("hostIP", ""), port.get("hostPort", 0)
        keys: list[tuple[object, ...]] = [()]
        if number:
            keys = [(0,), (number, address), (number, not address, None)]
        near = sorted((kept for key in keys for kept in self._by_host.get(key, ())), key=itemgetter(0))
        return [(other, place) for _, other, place in near]


def _port_conflict(port: Obj, other: Obj) -> str:
    """Of two ports with the same number and protocol."""
    address, number = port.get("hostIP", ""), port.get("hostPort", 0)
    other_address, other_number = other.get("hostIP", ""), other.get("hostPort", 0)
    if address == other_address and number == other_number:
        return "duplicate"
    if not number or not other_number:
        return "overlapping"
    if number == other_number and bool(address) != bool(other_address):
        return "dangerously ambiguous"
    return ""


def _port_as_written(port: Obj) -> str:
    """As Go shows such a struct."""
    number, host_port, protocol = port.get("containerPort", 0), port.get("hostPort", 0), port.get("protocol", "")
    return (
        f"{{Name:{port.get('name', '')} HostPort:{host_port} ContainerPort:{number} Protocol:{protocol} "
        f"HostIP:{port.get('hostIP', '')}}}"
    )


def fractions(amounts: Obj, path: str) -> list[str]:
    found: list[str] = []
    for name in ("memory", "ephemeral-storage"):
        if name in amounts:
            found += fraction(amounts[name], f"{path}[{name}]")
    return found


def fraction(amount: Any, path: str) -> list[str]:
    # Canonical amounts are whole but for those with one of these three suffixes.
    if amount is None or str(amount)[-1:] not in "mun":
        return []
    # What is finer than a thousandth counts as one.
    thousandths = -(-quantity.parse(amount) * 1000 // 1)
    if thousandths % 1000 == 0:
        return []
    return [f"{path}: fractional byte value {quoted(quantity.canonical(amount))} is invalid, must be an integer"]
