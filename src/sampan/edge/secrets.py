"""Secrets, or ConfigMaps, that somebody refers to, each followed by its name alone: no other comes to this process.

One request a Secret stays open while it is wanted. What is not known yet is "unknown", never "not there".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Literal

from sampan.api import names
from sampan.api.errors import ApiError
from sampan.api.resources import SECRETS, Resource
from sampan.api.types import Obj
from sampan.client.client import Client

log = logging.getLogger(__name__)

Unknown = Literal["unknown"]
Name = tuple[str, str]

#: of one namespace; whoever refers to more has those that come later by name count as absent
_MOST_OF_NAMESPACE = 250
SETTLE_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 30.0


class Secrets:
    """``changed(namespace, name)`` is called after what ``get`` gives has changed. ``resource``: of objects with
    ``data``."""

    def __init__(self, client: Client, changed: Callable[[str, str], None], resource: Resource = SECRETS) -> None:
        self._client = client
        self._resource = resource
        self._changed = changed
        self._known: dict[Name, Obj | None] = {}
        self._tasks: dict[Name, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._wanted: set[Name] = set()
        self._left_out: set[Name] = set()
        self._settled = asyncio.Event()

    def get(self, namespace: str, name: str) -> Obj | Unknown | None:
        key = (namespace, name)
        if key in self._left_out or not _is_possible(key):
            return None
        return self._known.get(key, "unknown")

    def want(self, wanted: Iterable[Name]) -> None:
        """These, and no others."""
        self._wanted, self._left_out = _bounded(wanted)
        self._adjust()
        self._look_whether_settled()

    async def settled(self) -> bool:
        """Waits, for a bounded time, until all that are wanted are known. False: some still are not."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._settled.wait()
        except TimeoutError:
            return False
        return True

    def _look_whether_settled(self) -> None:
        if self._wanted <= self._known.keys():
            self._settled.set()
        else:
            self._settled.clear()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._adjust()
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None
            self._tasks.clear()

    def _adjust(self) -> None:
        if self._group is None:
            return
        for name in self._tasks.keys() - self._wanted:
            self._tasks.pop(name).cancel()
            self._known.pop(name, None)
        for name in self._wanted - self._tasks.keys():
            self._tasks[name] = self._group.create_task(self._follow(*name), name=f"secret {name[0]}/{name[1]}")

    async def _follow(self, namespace: str, name: str) -> None:
        wait = _RETRY_SECONDS
        while True:
            try:
                await self._look(namespace, name)
                wait = _RETRY_SECONDS
            except ApiError as error:
                log.debug("secret %s/%s: %s", namespace, name, error.message)
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_RETRY_SECONDS)

    async def _look(self, namespace: str, name: str) -> None:
        """Until the server ends the watch."""
        selector = f"metadata.name={name}"
        listed = await self._client.list(self._resource, namespace, field_selector=selector)
        items = listed.get("items") or []
        self._put(namespace, name, items[0] if items else None)
        revision = listed["metadata"]["resourceVersion"]
        async with self._client.watch(
            self._resource, namespace, resource_version=revision, field_selector=selector, bookmarks=False
        ) as events:
            async for event in events:
                if event.type == "ERROR":
                    return
                if event.type in ("ADDED", "MODIFIED", "DELETED"):
                    self._put(namespace, name, None if event.type == "DELETED" else event.object)

    def _put(self, namespace: str, name: str, secret: Obj | None) -> None:
        key = (namespace, name)
        kept = None if secret is None else {"type": secret.get("type"), "data": secret.get("data") or {}}
        if self._known.get(key, "unknown") != kept:
            self._known[key] = kept
            self._look_whether_settled()
            self._changed(namespace, name)


def _bounded(wanted: Iterable[Name]) -> tuple[set[Name], set[Name]]:
    """Those that are followed, and those that are too many of their namespace. Pure."""
    kept: set[Name] = set()
    left_out: set[Name] = set()
    of_namespace: dict[str, int] = {}
    for name in sorted(filter(_is_possible, set(wanted))):
        count = of_namespace[name[0]] = of_namespace.get(name[0], 0) + 1
        (kept if count <= _MOST_OF_NAMESPACE else left_out).add(name)
    return kept, left_out


def _is_possible(name: Name) -> bool:
    """References hold any text, and a selector or path made of it might be another one."""
    return not names.dns1123_label(name[0]) and not names.dns1123_subdomain(name[1])
