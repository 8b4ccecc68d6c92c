"""Claims for devices as decisions see them, and what decisions have promised while the writes are under way.

A promise holds from Reserve until the API shows the claim allocated, or the binding has failed: two decisions never
give out one device. One event loop, no I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from sampan.api.pods import resourceclaims
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.scheduler.devices.pools import Id, Pools
from sampan.scheduler.storage import Lookup, Nothing, key_of


@dataclass(frozen=True, slots=True)
class Promise:
    """What a claim is about to get, and for which pod."""

    allocation: Obj
    pod: str


class Devices:
    """Invariant: ``_counts`` counts every device that a claim has in the API or by a promise."""

    def __init__(
        self,
        claims: Lookup | None = None,
        classes: Lookup | None = None,
        is_known: Callable[[], bool] = lambda: True,
    ) -> None:
        """``is_known``: whether claims, classes and slices have been read."""
        self._claims, self._classes = claims or Nothing(), classes or Nothing()
        self.is_known = is_known
        self.pools = Pools()
        #: of claims that are allocated, by "namespace/name"
        self._held: dict[str, list[Id]] = {}
        self._promises: dict[str, Promise] = {}
        self._counts: Counter[Id] = Counter()

    def claim(self, namespace: str, name: str) -> Obj | None:
        return self._claims.get(namespace, name)

    def device_class(self, name: str) -> Obj | None:
        return self._classes.get("", name)

    def taken(self) -> set[Id]:
        return set(self._counts)

    def promise_of(self, claim: Obj) -> Promise | None:
        return self._promises.get(key_of(claim))

    # Told by the informer

    def claim_changed(self, claim: Obj, *, gone: bool = False) -> bool:
        """True: a device has become free."""
        key = key_of(claim)
        now = [] if gone else list(resourceclaims.device_ids(claim))
        before = self._held.pop(key, [])
        self._count(before, -1)
        if now:
            self._held[key] = now
            self._count(now, 1)
        if gone or resourceclaims.allocation(claim) is not None:
            self._forget(key)
        return bool(set(before) - set(now))

    # Promises

    def promise(self, claim: Obj, allocation: Obj, pod: str) -> None:
        key = key_of(claim)
        self._forget(key)
        self._promises[key] = Promise(allocation, pod)
        self._count(self._ids(allocation), 1)

    def release(self, claim: Obj, pod: str) -> None:
        """The pod's binding has failed before the claim was written."""
        found = self._promises.get(key_of(claim))
        if found is not None and found.pod == pod:
            self._forget(key_of(claim))

    def _forget(self, key: str) -> None:
        found = self._promises.pop(key, None)
        if found is not None:
            self._count(self._ids(found.allocation), -1)

    @staticmethod
    def _ids(allocation: Obj) -> list[Id]:
        return list(resourceclaims.device_ids({"status": {"allocation": allocation}}))

    def _count(self, ids: list[Id], sign: int) -> None:
        for device in ids:
            self._counts[device] += sign
            if not self._counts[device]:
                del self._counts[device]
