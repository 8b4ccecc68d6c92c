"""Ingress objects and what they refer to, followed: which have to be read again, and which endpoints moved.

An Ingress is read once, and again when it or something it refers to changes; a change of endpoints alone is told as
such, and costs what it touches. One event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from sampan.api.reading import part
from sampan.api.resources import INGRESS_CLASSES, INGRESSES
from sampan.api.types import Obj
from sampan.client.informer import ChangeType, InformerFactory
from sampan.client.keys import ObjectKey, key_of
from sampan.edge.followed import FollowedServices, service_name
from sampan.edge.ingress.classes import Classes
from sampan.edge.ingress.reading import Look, Read, read
from sampan.edge.model import Endpoint
from sampan.edge.pace import Pace
from sampan.edge.secrets import Secrets
from sampan.edge.services import endpoints_of, port_of


class Following:
    """``own``: informers of this identity; ``shared``: of Services and EndpointSlices, which others have too.

    ``changed()``: the Ingresses may be others; ``moved(service)``: endpoints of a Service that is referred to."""

    def __init__(
        self,
        own: InformerFactory,
        shared: InformerFactory,
        secrets: Secrets,
        changed: Callable[[], None],
        moved: Callable[[dict[str, tuple[Endpoint, ...]]], None],
        also: Collection[str] = (),
    ) -> None:
        self._ingresses = own.informer(INGRESSES)
        self._class_objects = own.informer(INGRESS_CLASSES)
        self._secrets = secrets
        self._changed, self._moved = changed, moved
        self._also = also
        self.classes = Classes((), also)
        self._reads: dict[ObjectKey, Read] = {}
        self._asked: dict[ObjectKey, Look] = {}
        self._stale: set[ObjectKey] = set()
        self._by_service: dict[tuple[str, str], set[ObjectKey]] = {}
        self._by_secret: dict[tuple[str, str], set[ObjectKey]] = {}
        self.services = FollowedServices(shared, self._service_changed, self._slice_changed)

    async def begin(self) -> None:
        """Returns when what there is has been seen."""
        self._class_objects.add_handler(self._class_changed)
        self._ingresses.add_handler(self._ingress_changed)
        await self._class_objects.synced()
        await self._ingresses.synced()

    def ingress(self, key: ObjectKey) -> Obj | None:
        return self._ingresses.get(*key)

    def all_ingresses(self) -> Iterable[Obj]:
        return self._ingresses.list()

    async def reads(self) -> list[Read]:
        """Those that are ours, read as of now."""
        if not self.services.known and any(map(self.classes.has, self._ingresses.list())):
            await self.services.want()
        await self._read_stale()
        self._secrets.want(self._by_secret)
        if await self._secrets.settled():  # those that were not known when they were first asked for are by now
            await self._read_stale()
        return list(self._reads.values())

    async def _read_stale(self) -> None:
        """What becomes stale meanwhile waits for the next turn."""
        pace = Pace()
        for key in sorted(self._stale):
            self._stale.discard(key)
            self._read(key)
            await pace.breathe()

    def _read(self, key: ObjectKey) -> None:
        self._forget(key)
        ingress = self._ingresses.get(*key)
        if ingress is None or not self.classes.has(ingress):
            return
        look = Look(self.services.get, self.services.slices, self._secrets.get)
        self._reads[key] = read(ingress, look)
        self._asked[key] = look
        for service in look.services_asked:
            self._by_service.setdefault(service, set()).add(key)
        for secret in look.secrets_asked:
            self._by_secret.setdefault(secret, set()).add(key)

    def _forget(self, key: ObjectKey) -> None:
        self._reads.pop(key, None)
        look = self._asked.pop(key, None)
        if look is None:
            return
        for index, names in ((self._by_service, look.services_asked), (self._by_secret, look.secrets_asked)):
            for name in names:
                keys = index.get(name, set())
                keys.discard(key)
                if not keys:
                    index.pop(name, None)

    # What changes

    def _ingress_changed(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        if previous is not None and kind == "MODIFIED" and _same(obj, previous):
            return  # its status alone
        self._stale.add(key_of(obj))
        self._changed()

    def _class_changed(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        self.classes = Classes(self._class_objects.list(), self._also)
        self._stale.update(key_of(ingress) for ingress in self._ingresses.list())
        self._changed()

    def secret_changed(self, namespace: str, name: str) -> None:
        keys = self._by_secret.get((namespace, name))
        if keys:
            self._stale |= keys
            self._changed()

    def _service_changed(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        namespace, name = key_of(obj)
        keys = self._by_service.get((namespace, name))
        if keys and not (previous is not None and kind == "MODIFIED" and _same(obj, previous)):
            self._stale |= keys
            self._changed()

    def _slice_changed(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        namespace, name = obj["metadata"].get("namespace", ""), service_name(obj)
        keys = self._by_service.get((namespace, name))
        if not keys:
            return
        self._stale |= keys
        service = self.services.get(namespace, name)
        if service is None:
            self._changed()
            return
        slices = self.services.slices(namespace, name)
        moves: dict[str, tuple[Endpoint, ...]] = {}
        for key in keys:
            for label, (asked, wanted) in _backends(self._reads[key], namespace).items():
                port = port_of(service, wanted) if asked == name else None
                if port is not None and label not in moves:
                    moves[label] = endpoints_of(service, slices, port)
        self._moved(moves)


def _backends(known: Read, namespace: str) -> dict[str, tuple[str, str | int]]:
    """The back ends of an Ingress by name, with their Service and port."""
    found: dict[str, tuple[str, str | int]] = {}
    for ruled in known.rules:
        for share in ruled.route.backends:
            if share.backend is not None and "@" not in share.backend.name:
                service, _, port = share.backend.name.removeprefix(f"{namespace}/").rpartition(":")
                found[share.backend.name] = (service, int(port) if port.isdigit() else port)
    return found


def _same(obj: Obj, previous: Obj) -> bool:
    """Nothing that is read of it changed."""
    return part(obj, "spec") == part(previous, "spec") and obj["metadata"].get("annotations") == previous[
        "metadata"
    ].get("annotations")
