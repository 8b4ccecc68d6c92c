"""The Scale of what something points at, whatever resource that is: built in, or found by discovery."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from sampan.api import errors
from sampan.api.errors import ApiError
from sampan.api.reading import part, text, whole
from sampan.api.registry import registry
from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.served import ServedResources
from sampan.client.timeline import Timeline
from sampan.records import dataclass

#: what is known of custom resources may be so old
KNOWN_SECONDS: Final = 30.0
_ATTEMPTS: Final = 5


class NoScale(Exception):
    """There is nothing to scale; its text says why, in upstream's words."""


@dataclass(frozen=True, slots=True)
class Target:
    """``written``: the Scale as the server gave it."""

    resource: Resource
    written: Obj

    @property
    def replicas(self) -> int:
        return whole(part(self.written, "spec"), "replicas") or 0

    @property
    def present(self) -> int:
        return whole(part(self.written, "status"), "replicas") or 0

    @property
    def selector(self) -> str:
        return text(part(self.written, "status"), "selector")


class Targets:
    def __init__(self, client: Client, timeline: Timeline) -> None:
        self._client, self._timeline = client, timeline
        self._served = ServedResources(client, lambda resource: None, lambda resource: None)
        self._asked = -math.inf

    async def find(self, namespace: str, reference: Obj) -> Target:
        """Raises NoScale."""
        resource = await self.resource(text(reference, "apiVersion"), text(reference, "kind"))
        try:
            scale = await self._client.get(resource, text(reference, "name"), namespace, "scale")
        except ApiError as error:
            raise NoScale(error.message) from None
        return Target(resource, scale)

    async def resource(self, api_version: str, kind: str) -> Resource:
        """Raises NoScale."""
        if api_version.count("/") > 1:
            raise NoScale(f"unexpected GroupVersion string: {api_version}")
        group = api_version.rpartition("/")[0]
        found = _built_in(group, kind) or await self._discovered(group, kind)
        if found is None:
            raise NoScale(f'no matches for kind "{kind}" in group "{group}"')
        return found

    async def set_replicas(self, target: Target, replicas: int) -> None:
        """Writes what was decided over whatever was written meanwhile. Raises ApiError."""
        scale = target.written
        meta = scale["metadata"]
        for attempt in range(1, _ATTEMPTS + 1):
            wanted = {**scale, "spec": {**part(scale, "spec"), "replicas": replicas}}
            try:
                await self._client.update(target.resource, wanted, "scale")
                return
            except errors.Conflict:
                if attempt == _ATTEMPTS:
                    raise
            scale = await self._client.get(target.resource, meta["name"], meta.get("namespace"), "scale")

    async def _discovered(self, group: str, kind: str) -> Resource | None:
        now = self._timeline.monotonic()
        if self._served.find(group, kind) is None or now - self._asked > KNOWN_SECONDS:
            try:
                await self._served.refresh()
            except ApiError as error:
                raise NoScale(error.message) from None
            self._asked = now
        return self._served.find(group, kind)


@lru_cache(maxsize=256)
def _built_in(group: str, kind: str) -> Resource | None:
    """In the version that has a Scale, if one has."""
    found = [each for each in registry().kinds(group) if each.kind == kind and each.namespaced]
    best = next((each for each in found if each.scale is not None), found[0] if found else None)
    return None if best is None else Resource(best.group, best.version, best.plural, best.kind, True)
