"""What is known, in a file: after a restart names are answered at once, also when the API server is away.

One JSON array a line, written aside and renamed. Written some time after a change, the longer the larger it is; in a
thread, line by line, so that questions go on being answered. A file that is damaged, or of another version, is none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from sampan.api.faults import cause
from sampan.api.resources import ENDPOINT_SLICES, NAMESPACES, SERVICES
from sampan.network.dns.known import Known
from sampan.network.dns.records import NamedAddress, NamedPort, NamedService, NamedSlice

log = logging.getLogger(__name__)

_FORMAT = "sampan-dns-2"
#: A file of more than this is not read: it is not one of ours.
_MAX_BYTES = 512 * 1024 * 1024
#: Between a change and the file, and of the time that writing it takes.
_DELAY_SECONDS = 1.0
_REST_FACTOR = 20.0


class Snapshot:
    def __init__(self, path: Path, known: Known) -> None:
        self._path = path
        self._known = known
        self._written_version = -1

    def load(self, listed: Collection[str] = ()) -> bool:
        """Whether there was a good file. What is known already is newer and stays; of the resources ``listed`` (by
        plural) all is known, and what the file has besides is gone."""
        try:
            if self._path.stat().st_size > _MAX_BYTES:
                return False
            with self._path.open("rb") as lines:
                held = Known()
                _fill(held, lines)
        except FileNotFoundError:
            return False
        except (OSError, ValueError, TypeError, IndexError) as error:
            said = cause(error) if isinstance(error, OSError) else "it is damaged"
            log.warning("%s is not used: %s", self._path, said)
            return False
        known = self._known
        known.options = known.options or held.options
        for name in held.namespaces if NAMESPACES.plural not in listed else ():
            known.put_namespace(name)
        for key, service in held.services.items() if SERVICES.plural not in listed else ():
            if key not in known.services:
                known.put_service(service)
        for key, endpoint_slice in held.slices.items() if ENDPOINT_SLICES.plural not in listed else ():
            if key not in known.slices:
                known.put_slice(endpoint_slice)
        return True

    async def run(self) -> None:
        """Writes after changes, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_DELAY_SECONDS)
            if self._known.version == self._written_version:
                continue
            began = loop.time()
            await self.write()
            await asyncio.sleep(_REST_FACTOR * (loop.time() - began))

    async def write(self) -> None:
        known = self._known
        version = known.version
        # Copies of references: what they refer to never changes.
        parts = (
            dict(known.options),
            list(known.namespaces),
            list(known.services.values()),
            list(known.slices.values()),
        )
        try:
            await asyncio.to_thread(_write, self._path, *parts)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, cause(error))
        self._written_version = version


def _write(
    path: Path,
    options: dict[str, str],
    namespaces: list[str],
    services: list[NamedService],
    slices: list[NamedSlice],
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_suffix(".tmp")
    with aside.open("wb") as file:
        for line in _lines(options, namespaces, services, slices):
            file.write(orjson.dumps(line) + b"\n")
    aside.rename(path)


def _lines(
    options: dict[str, str], namespaces: list[str], services: list[NamedService], slices: list[NamedSlice]
) -> Iterator[list[Any]]:
    yield [_FORMAT]
    yield ["options", options]
    for name in namespaces:
        yield ["namespace", name]
    for service in services:
        ports = [list(port) for port in service.ports]
        yield ["service", service.namespace, service.name, service.cluster_ips, ports, service.external_name]
    for held in slices:
        ports = [list(port) for port in held.ports]
        addresses = [list(address) for address in held.addresses]
        yield ["slice", held.namespace, held.name, held.service, ports, addresses]
    yield ["end", 1 + len(namespaces) + len(services) + len(slices)]


def _fill(known: Known, lines: Iterable[bytes]) -> None:
    """Raises ValueError, TypeError or IndexError for what was not written by ``_lines``."""
    entries = (orjson.loads(line) for line in lines)
    if next(entries, None) != [_FORMAT]:
        raise ValueError("another format")
    for count, entry in enumerate(entries):
        match entry:
            case ["options", dict(options)]:
                known.options = {str(key): str(value) for key, value in options.items()}
            case ["namespace", str(name)]:
                known.put_namespace(name)
            case ["service", str(namespace), str(name), cluster_ips, ports, str(external)]:
                known.put_service(NamedService(namespace, name, tuple(cluster_ips), _ports(ports), external))
            case ["slice", str(namespace), str(name), str(service), ports, addresses]:
                held = tuple(NamedAddress(str(ip), str(label)) for ip, label in addresses)
                known.put_slice(NamedSlice(namespace, name, service, _ports(ports), held))
            case ["end", int(expected)]:
                if expected == count:
                    return
                raise ValueError("lines are missing")
            case _:
                raise ValueError("a strange line")
    raise ValueError("the end is missing")


def _ports(entries: Iterable[Iterable[Any]]) -> tuple[NamedPort, ...]:
    return tuple(NamedPort(str(name), str(protocol), int(port)) for name, protocol, port in entries)
