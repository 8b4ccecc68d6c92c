"""Which group versions are answered by others: the APIServices with a Service, read once for each change of one.

Every request asks ``Remotes``, so it is a dict; what follows it (availability, discovery) is told of changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from sampan.api.groups.apiregistration.apiservice import AVAILABLE, ca_bundle
from sampan.api.reading import part, parts, text
from sampan.api.resources import API_SERVICES
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.aggregation import priorities
from sampan.server.reader import ObjectReader

#: (group, version)
GroupVersion = tuple[str, str]
#: so many extension API servers are asked; what is registered beyond that is unavailable
MOST_REMOTES: Final = 1000


@dataclass(frozen=True, slots=True)
class Remote:
    """One APIService whose group version somebody else serves."""

    name: str
    group: str
    version: str
    namespace: str
    service: str
    port: int
    ca_bundle: bytes = b""
    insecure: bool = False
    #: of the group, of the version
    priorities: tuple[int, int] = (1, 1)
    available: bool = False

    @property
    def path(self) -> str:
        """Where its group version begins."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def host(self) -> str:
        """Whom its certificate has to name."""
        return f"{self.service}.{self.namespace}.svc"


def remote_of(obj: Obj) -> Remote | None:
    """None: this server answers for it itself. Pure."""
    spec = part(obj, "spec")
    service = part(spec, "service")
    if not service:
        return None
    port, group, version = service.get("port"), spec.get("groupPriorityMinimum"), spec.get("versionPriority")
    conditions = parts(part(obj, "status"), "conditions")
    return Remote(
        text(part(obj, "metadata"), "name"),
        text(spec, "group"),
        text(spec, "version"),
        text(service, "namespace"),
        text(service, "name"),
        port if isinstance(port, int) else 443,
        ca_bundle(spec),
        spec.get("insecureSkipTLSVerify") is True,
        (group if isinstance(group, int) else 1, version if isinstance(version, int) else 1),
        any(each.get("type") == AVAILABLE and each.get("status") == "True" for each in conditions),
    )


def _reason(obj: Obj) -> str:
    conditions = parts(part(obj, "status"), "conditions")
    return next((text(each, "reason") for each in conditions if each.get("type") == AVAILABLE), "") or "UnknownReason"


class Remotes:
    """``built_in``: groups and versions that are part of this server. It answers for them itself, whatever anybody
    registers: they are what the cluster is administered with.

    Invariant: ``_found`` holds every other APIService with a Service, by the group version that it names.
    """

    def __init__(self, built_in: Mapping[str, tuple[str, ...]]) -> None:
        self._built_in = built_in
        self._found: dict[GroupVersion, Remote] = {}
        #: grows whenever what is registered, or whether it is available, changes
        self.changes = 0
        #: how often each that is registered became unavailable, by name and reason
        self.losses: Counter[tuple[str, str]] = Counter()
        self._listeners: list[Callable[[GroupVersion, Remote | None], None]] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def __iter__(self) -> Iterator[Remote]:
        return iter(tuple(self._found.values()))

    def get(self, group: str, version: str) -> Remote | None:
        return self._found.get((group, version))

    @property
    def by_version(self) -> Mapping[GroupVersion, Remote]:
        """The live table: for who asks it with each request."""
        return self._found

    def subscribe(self, listener: Callable[[GroupVersion, Remote | None], None]) -> Callable[[], None]:
        """Told of each that comes, changes or goes (None), not of one that is only found available or not; returns
        what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def follow(self, reader: ObjectReader) -> Callable[[], None]:
        """From now on the table is what the objects say; returns what ends it."""
        unsubscribe = reader.subscribe(API_SERVICES, self._changed, keep=False)
        for obj in reader.list(API_SERVICES):
            self._changed("ADDED", obj, None, 0)
        return unsubscribe

    def _changed(self, kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
        remote = remote_of(obj) if kind != "DELETED" else None
        version, _, group = text(part(obj, "metadata"), "name").partition(".")
        key = group, version
        before = self._found.get(key)
        if remote == before or version in self._built_in.get(group, ()):
            return
        if remote is None:
            del self._found[key]
        elif before is not None or len(self._found) < MOST_REMOTES:
            self._found[key] = remote
        else:
            return
        self.changes += 1
        if remote is None:
            for label in [label for label in self.losses if label[0] == f"{version}.{group}"]:
                del self.losses[label]
        elif before is not None and before.available and not remote.available:
            self.losses[remote.name, _reason(obj)] += 1
        if before is None or remote is None or replace(before, available=remote.available) != remote:
            for listener in tuple(self._listeners):
                listener(key, remote)

    def with_local(
        self, local: Mapping[str, tuple[str, ...]], hosted: Mapping[GroupVersion, tuple[int, int]]
    ) -> dict[str, tuple[str, ...]]:
        """All groups and their versions in the order of discovery: those of this server's kinds, those it ``hosted``
        with their priorities, and the registered ones."""
        if not self._found:
            return {**local, **priorities.ordered((*key, both) for key, both in hosted.items())}
        listed = {
            (group, version): priorities.of_built_in(group, version)
            if version in self._built_in.get(group, ())
            else priorities.CUSTOM
            for group, versions in local.items()
            for version in versions
        }
        listed |= hosted
        listed |= {key: remote.priorities for key, remote in self._found.items()}
        return priorities.ordered((group, version, both) for (group, version), both in listed.items())
