"""Claims, volumes and classes as decisions see them, and what decisions have promised while the writes are under way.

Fed by the shell from informers; read by the plugins of volumes. A promise holds from Reserve until the pod is bound, or
the binding has failed: two decisions never give out one volume, nor one claim to two nodes. One event loop, no I/O.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from sampan.api import objects
from sampan.api.reading import part, parts, text, whole
from sampan.api.storage import claims, matching, volumes
from sampan.api.types import Obj
from sampan.scheduler.capacities import Capacities
from sampan.scheduler.podinfo import PodInfo

#: volumes whose label is remembered
_LABELS: Final = 16384


class Lookup(Protocol):
    """The part of an informer that is used."""

    def get(self, namespace: str, name: str) -> Obj | None: ...


class Nothing:
    """Where there are no informers: of tests, and before the shell has made them."""

    def get(self, namespace: str, name: str) -> Obj | None:
        return None


class Storage:
    """Invariants: ``free`` holds the volumes that nobody has, as the API shows them. ``_given[volume]`` is the claim it
    is promised to, ``_nodes[claim]`` the node that the claim's volume is to be made on, each with the pods (uids) that
    hold the promise."""

    def __init__(
        self,
        claims_: Lookup | None = None,
        volumes_: Lookup | None = None,
        classes: Lookup | None = None,
        drivers: Lookup | None = None,
    ) -> None:
        self._claims, self._volumes = claims_ or Nothing(), volumes_ or Nothing()
        self._classes, self._drivers = classes or Nothing(), drivers or Nothing()
        self.capacities = Capacities()
        self.free = matching.FreeVolumes()
        #: volumes that name a claim, by "namespace/name" of the claim
        self._kept: dict[str, set[str]] = {}
        self._claim_of: dict[str, str] = {}
        self._given: dict[str, tuple[str, set[str]]] = {}
        self._nodes: dict[str, tuple[str, set[str]]] = {}
        #: how many pods on nodes use a claim, by "namespace/name"
        self._users: Counter[str] = Counter()
        self._labels: dict[str, tuple[Obj, tuple[str, str] | None]] = {}
        #: driver -> node -> volumes
        self._limits: dict[str, dict[str, int]] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    # Reading

    def claim(self, namespace: str, name: str) -> Obj | None:
        return self._claims.get(namespace, name)

    def volume(self, name: str) -> Obj | None:
        return self._volumes.get("", name)

    def storage_class(self, name: str) -> Obj | None:
        return self._classes.get("", name) if name else None

    def driver(self, name: str) -> Obj | None:
        """The CSIDriver of this name."""
        return self._drivers.get("", name) if name else None

    def kept_for(self, claim: Obj) -> list[Obj]:
        """The volumes that name this claim."""
        names = self._kept.get(key_of(claim), set())
        return [volume for name in sorted(names) if (volume := self.volume(name)) is not None]

    def promised(self) -> set[str]:
        """Volumes that must not be given to another claim."""
        return set(self._given)

    def given_to(self, claim: Obj) -> Obj | None:
        """The volume that is promised to a claim."""
        key = key_of(claim)
        return next((self.volume(name) for name, (to, _) in self._given.items() if to == key), None)

    def selected_node(self, claim: Obj) -> str:
        """Where the claim's volume is to be made; "": that is open."""
        found = self._nodes.get(key_of(claim))
        return found[0] if found is not None else claims.annotation(claim, claims.SELECTED_NODE) or ""

    def label_of(self, volume: Obj) -> tuple[str, str] | None:
        """The label and its one value that a node must have for the volume, as local ones have it; None: the volume
        asks for something else, or for nothing. Remembered while the volume stays as it is."""
        name = objects.name(volume)
        known = self._labels.get(name)
        if known is None or known[0] is not volume:
            if len(self._labels) > _LABELS:
                self._labels.clear()
            known = self._labels[name] = (volume, volumes.only_label(volume))
        return known[1]

    def limits(self, driver: str) -> Mapping[str, int]:
        """How many volumes of a driver a node can have, for the nodes that say so."""
        return self._limits.get(driver, {})

    def users(self, namespace: str, claim: str) -> int:
        return self._users[f"{namespace}/{claim}"]

    # Told by the cache

    def count(self, pod: PodInfo, sign: int) -> None:
        """A pod came to a node, or left it."""
        for each in pod.claims:
            key = f"{pod.namespace}/{each.name}"
            self._users[key] += sign
            if not self._users[key]:
                del self._users[key]

    # Told by informers

    def volume_changed(self, volume: Obj, *, gone: bool = False) -> None:
        name = objects.name(volume)
        before, now = self._claim_of.pop(name, ""), "" if gone else volumes.claim_key(volume)
        if before:
            self._kept[before].discard(name)
            if not self._kept[before]:
                del self._kept[before]
        if now:
            self._claim_of[name] = now
            self._kept.setdefault(now, set()).add(name)
        if gone:
            self.free.drop(name)
        else:
            self.free.put(volume)
        for key in {before, now} - {""}:
            self._wake(key)

    def csi_node_changed(self, csi_node: Obj, *, gone: bool = False) -> None:
        node = objects.name(csi_node)
        for driver in [driver for driver, nodes in self._limits.items() if node in nodes]:
            del self._limits[driver][node]
            if not self._limits[driver]:
                del self._limits[driver]
        for each in () if gone else parts(part(csi_node, "spec"), "drivers"):
            count = whole(part(each, "allocatable"), "count")
            if count is not None:
                self._limits.setdefault(text(each, "name"), {})[node] = count

    def claim_changed(self, claim: Obj) -> None:
        self._wake(key_of(claim))

    async def wait_changed(self, keys: Iterable[str]) -> None:
        """Returns at the next change of one of these claims, or of a volume that names one."""
        future = asyncio.get_running_loop().create_future()
        waited = list(keys)
        for key in waited:
            self._waiting.setdefault(key, []).append(future)
        try:
            await future
        finally:
            for key in waited:
                left = [each for each in self._waiting.get(key, ()) if each is not future]
                if left:
                    self._waiting[key] = left
                else:
                    self._waiting.pop(key, None)

    def _wake(self, key: str) -> None:
        for future in self._waiting.get(key, ()):
            if not future.done():
                future.set_result(None)

    # Promises

    def give(self, volume: str, claim: Obj, uid: str) -> None:
        self._given.setdefault(volume, (key_of(claim), set()))[1].add(uid)

    def select(self, claim: Obj, node: str, uid: str) -> None:
        self._nodes.setdefault(key_of(claim), (node, set()))[1].add(uid)

    def release(self, uid: str) -> None:
        """The pod holds no promise any more."""
        for table in (self._given, self._nodes):
            for key in [key for key, (_, holders) in table.items() if uid in holders]:
                table[key][1].discard(uid)
                if not table[key][1]:
                    del table[key]


def key_of(claim: Obj) -> str:
    return f"{objects.namespace(claim)}/{objects.name(claim)}"
