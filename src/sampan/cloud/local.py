"""A cloud that is a file: machines, zones and a pool of addresses, for machines of one's own and for tests.

    name: rack                     # of provider IDs, rack://<name>
    region: home
    machines:
      - name: n1                   # as the node is called; or providerID
        zone: a
        instanceType: small
        addresses: {InternalIP: [192.0.2.1], ExternalIP: [203.0.113.1]}
        labels: {rack: "7"}
        shutdown: false
    loadBalancers: {pool: 198.51.100.10-198.51.100.20}
    routes: true

The file is read again when it changes: a machine that is taken out of it is a machine that is gone. What is given away
(addresses of balancers, routes) is kept in ``<file>.state.json``. Nothing of the network is touched: routes are for a
program that reads them there, and balancers' addresses are to be announced by one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml

from sampan.api import objects
from sampan.api.loadbalancing import Range, parse_range
from sampan.cloud.provider import ADDRESS_TYPES, Balancer, CloudError, Machine, NodeRef, Route
from sampan.records import dataclass

_LARGEST_FILE = 16 * 1024 * 1024


class WrongCloud(ValueError):
    """The file cannot be what it should be; says where."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """What the file says. ``machines`` by name and by provider ID; None: it says nothing of machines."""

    name: str
    machines: Mapping[str, Machine] | None
    pool: tuple[Range, ...]
    routes: bool


def parse_cloud(data: object) -> Cloud:
    """Raises WrongCloud."""
    told = _map(data, "the file")
    _known(told, {"name", "region", "machines", "loadBalancers", "routes"}, "the file")
    name = _word(told, "name", "the file") or "local"
    region = _word(told, "region", "the file")
    machines: dict[str, Machine] = {}
    listed = told.get("machines") or []
    if not isinstance(listed, list):
        raise WrongCloud("machines is no list")
    for at, each in enumerate(listed):
        where = f"machines[{at}]"
        machine = _map(each, where)
        _known(
            machine,
            {"name", "providerID", "zone", "region", "instanceType", "addresses", "labels", "shutdown"},
            where,
        )
        own = _word(machine, "name", where)
        ident = _word(machine, "providerID", where) or (f"{name}://{own}" if own else "")
        if not ident:
            raise WrongCloud(f"{where} has neither name nor providerID")
        found = Machine(
            ident,
            _word(machine, "instanceType", where),
            _word(machine, "zone", where),
            _word(machine, "region", where) or region,
            _addresses(machine.get("addresses"), where),
            {str(key): str(value) for key, value in _map(machine.get("labels") or {}, f"{where}.labels").items()},
            machine.get("shutdown") is True,
        )
        for key in filter(None, (own, ident)):
            if key in machines:
                raise WrongCloud(f"{where}: there is a machine {key!r} already")
            machines[key] = found
    balancers = _map(told.get("loadBalancers") or {}, "loadBalancers")
    _known(balancers, {"pool"}, "loadBalancers")
    try:
        pool = tuple(parse_range(word.strip()) for word in _word(balancers, "pool", "loadBalancers").split(",") if word)
    except ValueError as error:
        raise WrongCloud(f"loadBalancers.pool: {error}") from error
    return Cloud(name, None if told.get("machines") is None else machines, pool, told.get("routes") is True)


def _addresses(data: object, where: str) -> tuple[tuple[str, str], ...]:
    found = []
    for kind, listed in _map(data or {}, f"{where}.addresses").items():
        if kind not in ADDRESS_TYPES:
            raise WrongCloud(f"{where}.addresses: {kind!r} is none of {', '.join(ADDRESS_TYPES)}")
        for address in listed if isinstance(listed, list) else [listed]:
            found.append((kind, str(address)))
    return tuple(found)


def _map(data: object, where: str) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise WrongCloud(f"{where} is no map")
    return data


def _word(data: Mapping[str, Any], key: str, where: str) -> str:
    value = data.get(key) or ""
    if not isinstance(value, str):
        raise WrongCloud(f"{where}: {key} is no text")
    return value


def _known(data: Mapping[str, Any], names: set[str], where: str) -> None:
    if unknown := sorted(str(key) for key in data.keys() - names):
        raise WrongCloud(f"{where}: {unknown[0]!r} is not known; there are {', '.join(sorted(names))}")


class LocalProvider:
    """Implements Provider and all of its parts. Small files only are read and written, on the event loop."""

    def __init__(self, path: Path) -> None:
        """Raises WrongCloud."""
        self._path = path
        self._state_path = path.with_name(f"{path.name}.state.json")
        self._stamp: tuple[int, int, int] = (0, 0, 0)
        self._cloud = self._read()

    @property
    def name(self) -> str:
        return self._cloud.name

    @property
    def instances(self) -> LocalProvider:
        return self

    @property
    def routes(self) -> _LocalRoutes | None:
        return _LocalRoutes(self) if self._cloud.routes else None

    @property
    def load_balancers(self) -> _LocalBalancers | None:
        return _LocalBalancers(self) if self._cloud.pool else None

    async def close(self) -> None:
        return

    async def machine(self, node: NodeRef) -> Machine | None:
        machines = self.cloud().machines
        if machines is None:  # an editor has written the file in part
            raise CloudError(f"{self._path} says nothing of machines; `machines: []` says that there are none")
        return machines.get(node.provider_id) if node.provider_id else machines.get(node.name)

    def cloud(self) -> Cloud:
        """As the file says now. Raises CloudError: a file that cannot be read has no machine that is gone."""
        try:
            found = self._path.stat()
            if (found.st_mtime_ns, found.st_ino, found.st_size) != self._stamp:
                self._cloud = self._read()
        except (OSError, WrongCloud) as error:
            raise CloudError(f"{self._path}: {error}") from error
        return self._cloud

    def _read(self) -> Cloud:
        try:
            found = self._path.stat()
            if found.st_size > _LARGEST_FILE:
                raise WrongCloud(f"{self._path} is larger than {_LARGEST_FILE} bytes")
            cloud = parse_cloud(yaml.safe_load(self._path.read_text()) or {})
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise WrongCloud(f"{self._path} cannot be read: {error}") from error
        self._stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
        return cloud

    def state(self) -> dict[str, Any]:
        """What was given away. Raises CloudError: rather nothing is given than twice."""
        try:
            state = orjson.loads(self._state_path.read_bytes())
        except FileNotFoundError:
            state = {}
        except (OSError, ValueError) as error:
            raise CloudError(f"{self._state_path}: {error}") from error
        return {"balancers": {}, "routes": [], **(state if isinstance(state, dict) else {})}

    def save(self, state: dict[str, Any]) -> None:
        temporary = self._state_path.with_name(f".{self._state_path.name}.tmp")
        try:
            temporary.write_bytes(orjson.dumps(state, option=orjson.OPT_INDENT_2))
            temporary.replace(self._state_path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise CloudError(f"{self._state_path}: {error.strerror}") from error


class _LocalRoutes:
    def __init__(self, provider: LocalProvider) -> None:
        self._provider = provider

    async def routes(self) -> Sequence[Route]:
        return [Route(each["name"], each["node"], each["cidr"]) for each in self._provider.state()["routes"]]

    async def create(self, route: Route) -> None:
        state = self._provider.state()
        entry = {"name": route.name or f"{route.node}-{route.cidr}", "node": route.node, "cidr": route.cidr}
        state["routes"] = [each for each in state["routes"] if each["cidr"] != route.cidr] + [entry]
        self._provider.save(state)

    async def delete(self, route: Route) -> None:
        state = self._provider.state()
        gone = (route.node, route.cidr)
        state["routes"] = [each for each in state["routes"] if (each["node"], each["cidr"]) != gone]
        self._provider.save(state)


class _LocalBalancers:
    def __init__(self, provider: LocalProvider) -> None:
        self._provider = provider

    async def ensure(self, name: str, service: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> Balancer:
        state = self._provider.state()
        balancers = state["balancers"]
        had = balancers.get(name) or {}
        wish = (service.get("spec") or {}).get("loadBalancerIP") or ""
        taken = {entry.get("address") for other, entry in balancers.items() if other != name}
        pool = self._provider.cloud().pool
        if wish:
            inside = any(str(address) == wish for each in pool for address in each.addresses())
            if not inside or wish in taken:
                raise CloudError(f"{wish} is {'taken' if inside else 'not in the pool'}")
            address = wish
        else:
            free = (str(each) for block in pool for each in block.addresses())
            address = had.get("address") or next((each for each in free if each not in taken), "")
        if not address:
            raise CloudError("every address of the pool is taken")
        balancers[name] = {
            "address": address,
            "service": f"{objects.namespace(service)}/{objects.name(service)}",
            "ports": [
                {"protocol": port.get("protocol", "TCP"), "port": port.get("port"), "nodePort": port.get("nodePort")}
                for port in (service.get("spec") or {}).get("ports") or []
            ],
            "nodes": [objects.name(node) for node in nodes],
        }
        if balancers[name] != had:
            self._provider.save(state)
        return Balancer((address,))

    async def delete(self, name: str, service: Mapping[str, Any]) -> None:
        state = self._provider.state()
        if state["balancers"].pop(name, None) is not None:
            self._provider.save(state)
