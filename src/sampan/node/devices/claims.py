"""Claims for devices of this node's pods: prepared by their drivers before a pod's sandbox is made, and given back when
the last pod that used one has ended (KEP-3063, KEP-4381).

A record on disk says what was asked of a driver before it is asked: whatever a crash leaves is undone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.pods import resourceclaims
from sampan.api.reading import part, parts, text
from sampan.api.resources import RESOURCE_CLAIMS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node import wholefile
from sampan.node.devices import cdi
from sampan.node.devices.drivers import ClaimName, DriverFailed, Drivers
from sampan.node.devices.interface import Claimed, ClaimsUnready, Given, Prepared

log = logging.getLogger(__name__)

_VERSION: Final = 1
_LIMIT_BYTES: Final = 16 << 20


@dataclass(slots=True)
class _Claim:
    """``drivers``: those that may have prepared it; ``devices`` by driver, of those that have said so."""

    name: ClaimName
    pods: set[str] = field(default_factory=set)
    drivers: list[str] = field(default_factory=list)
    devices: dict[str, list[Prepared]] = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class ClaimDevices:
    def __init__(
        self, client: Client, drivers: Drivers, record: Path, cdi_directories: Sequence[Path] = cdi.DIRECTORIES
    ) -> None:
        self._client, self._drivers, self._record, self._cdi = client, drivers, record, cdi_directories
        self._claims: dict[str, _Claim] = {}
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Raises OSError."""
        self._claims = await asyncio.to_thread(_read, self._record)

    # Preparing

    async def prepare(self, pod: Obj) -> None:
        """Raises ClaimsUnready, ApiError."""
        for wanted in resourceclaims.claims_of_pod(pod):
            if not wanted.needed:
                continue
            if not wanted.claim:
                raise ClaimsUnready(f"ResourceClaim for {wanted.name} is not created yet")
            await self._prepare(pod, await self._read_claim(pod, wanted.claim, template=bool(wanted.template)))

    async def _read_claim(self, pod: Obj, name: str, *, template: bool) -> Obj:
        namespace = objects.namespace(pod)
        try:
            claim = await self._client.get(RESOURCE_CLAIMS, name, namespace)
        except NotFound:
            raise ClaimsUnready(f"failed to fetch ResourceClaim {name} referenced by pod {objects.name(pod)}") from None
        if template and not resourceclaims.is_of_pod(claim, pod):
            raise ClaimsUnready(f"ResourceClaim {name} was not created for pod {namespace}/{objects.name(pod)}")
        if not resourceclaims.is_reserved_for(claim, pod):
            who = f"pod {objects.name(pod)} ({objects.uid(pod)})"
            raise ClaimsUnready(f"{who} is not allowed to use ResourceClaim {name} ({objects.uid(claim)})")
        if resourceclaims.allocation(claim) is None:
            raise ClaimsUnready(f"ResourceClaim {name} is not allocated")
        return claim

    async def _prepare(self, pod: Obj, claim: Obj) -> None:
        uid, drivers = objects.uid(claim), _drivers_of(claim)
        held = self._claims.setdefault(uid, _Claim(ClaimName(objects.namespace(claim), objects.name(claim), uid)))
        async with held.turn:
            if self._claims.setdefault(uid, held) is not held:
                raise ClaimsUnready(f"ResourceClaim {objects.name(claim)} is being given back")
            missing = [driver for driver in drivers if driver not in held.devices]
            if objects.uid(pod) not in held.pods or missing:
                before = set(held.pods), list(held.drivers)
                held.pods.add(objects.uid(pod))
                held.drivers = list(dict.fromkeys([*held.drivers, *drivers]))
                try:
                    await self._save()
                except ClaimsUnready:
                    held.pods, held.drivers = before  # the next try writes it down first, too
                    raise
            for driver in missing:
                try:
                    held.devices[driver] = await self._drivers.prepare(driver, held.name)
                except DriverFailed as error:
                    raise ClaimsUnready(f"prepare dynamic resources: {error}") from error
            if missing:
                await self._save()

    # Containers

    async def container(self, pod: Obj, container: Obj) -> Given:
        """What a container gets of the claims that it names. Raises ValueError."""
        names: list[str] = []
        by_name = {each.name: each.claim for each in resourceclaims.claims_of_pod(pod)}
        for wanted in parts(part(container, "resources"), "claims"):
            claim = by_name.get(text(wanted, "name"), "")
            held = next((each for each in self._of_pod(objects.uid(pod)) if each.name.name == claim), None)
            if held is None:
                if claim:
                    raise ValueError(f"ResourceClaim {claim} is not prepared")
                continue
            request = text(wanted, "request")
            for devices in held.devices.values():
                for device in devices:
                    if _is_for(device, request):
                        names += [name for name in device.cdi if name not in names]
        return await asyncio.to_thread(cdi.resolve, names, self._cdi) if names else Given()

    def claimed(self, pod: Obj, container: Obj) -> list[Claimed]:
        """What a container has of the claims that it names, as far as drivers have made it ready."""
        by_name = {each.name: each.claim for each in resourceclaims.claims_of_pod(pod)}
        held = {each.name.name: each for each in self._of_pod(objects.uid(pod))}
        found = []
        for wanted in parts(part(container, "resources"), "claims"):
            claim = held.get(by_name.get(text(wanted, "name"), ""))
            if claim is not None:
                request = text(wanted, "request")
                devices = tuple(
                    (driver, device)
                    for driver, prepared in sorted(claim.devices.items())
                    for device in prepared
                    if _is_for(device, request)
                )
                found.append(Claimed(claim.name.namespace, claim.name.name, devices))
        return found

    def _of_pod(self, uid: str) -> list[_Claim]:
        return [claim for claim in self._claims.values() if uid in claim.pods]

    # Giving back

    async def unprepare(self, uid: str) -> None:
        """The pod has ended. Raises ClaimsUnready: a driver has not given everything back, and is to be asked again."""
        failed: ClaimsUnready | None = None
        for held in self._of_pod(uid):
            try:
                await self._let_go(held, uid)
            except ClaimsUnready as error:
                failed = failed or error  # others' claims do not wait for it
        if failed is not None:
            raise failed

    async def _let_go(self, held: _Claim, uid: str) -> None:
        async with held.turn:
            if held.pods == {uid}:
                await self._give_back(held)
            held.pods.discard(uid)
            if not held.pods and self._claims.get(held.name.uid) is held:
                del self._claims[held.name.uid]
            await self._save()

    async def _give_back(self, held: _Claim) -> None:
        for driver in list(held.drivers):
            try:
                await self._drivers.unprepare(driver, held.name)
            except DriverFailed as error:
                raise ClaimsUnready(f"unprepare dynamic resources: {error}") from error
            held.drivers.remove(driver)
            held.devices.pop(driver, None)

    async def cleanup(self, known: Callable[[], Collection[str]]) -> None:
        """Gives back what pods had that are gone without a word. None of them waits for another's driver."""
        gone = {uid for claim in self._claims.values() for uid in claim.pods} - set(known())
        await asyncio.gather(*map(self._clean, gone))

    async def _clean(self, uid: str) -> None:
        try:
            await self.unprepare(uid)
        except ClaimsUnready as error:
            log.warning("claims of pod %s, which is gone: %s", uid, error)  # the next round tries again

    async def _save(self) -> None:
        async with self._writing:
            rows = [
                {
                    "claim": list(held.name),
                    "pods": sorted(held.pods),
                    "drivers": held.drivers,
                    "devices": {driver: [list(each) for each in found] for driver, found in held.devices.items()},
                }
                for held in self._claims.values()
                if held.pods
            ]
            try:
                await asyncio.to_thread(_write, self._record, rows)
            except OSError as error:
                raise ClaimsUnready(f"the record of claims cannot be written: {error.strerror}") from error
            except ValueError as error:
                raise ClaimsUnready(str(error)) from error


def _is_for(device: Prepared, request: str) -> bool:
    """``request`` "": the container names none."""
    asked = {name.partition("/")[0] for name in device.requests}
    return not request or not asked or request in asked


def _drivers_of(claim: Obj) -> list[str]:
    results = parts(part(resourceclaims.allocation(claim) or {}, "devices"), "results")
    return list(dict.fromkeys(text(result, "driver") for result in results))


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Raises OSError; ValueError when it is longer than whoever reads it would read."""
    encoded = orjson.dumps({"version": _VERSION, "claims": rows})
    if len(encoded) > _LIMIT_BYTES:
        raise ValueError(f"the record of claims is longer than {_LIMIT_BYTES} bytes")
    wholefile.replace(path, encoded, flush=True)


def _read(path: Path) -> dict[str, _Claim]:
    try:
        with path.open("rb") as file:
            encoded = file.read(_LIMIT_BYTES + 1)
    except FileNotFoundError:
        return {}
    try:
        found = orjson.loads(encoded)
        if found["version"] != _VERSION:
            raise ValueError("of another version")
        return {claim.name.uid: claim for claim in map(_claim, found["claims"])}
    except (ValueError, TypeError, KeyError, AttributeError):
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        log.error("%s cannot be read and was moved to %s: drivers are asked for its claims again", path, aside)
        return {}


def _claim(row: dict[str, Any]) -> _Claim:
    devices = {
        # A record of before knows neither pool nor device.
        driver: [Prepared(tuple(requests), tuple(names), *more) for requests, names, *more in found]
        for driver, found in row["devices"].items()
    }
    namespace, name, uid = row["claim"]
    return _Claim(ClaimName(namespace, name, uid), set(row["pods"]), list(row["drivers"]), devices)
