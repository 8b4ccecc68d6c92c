"""API groups that this server answers though it stores nothing of theirs: what an APIService without a Service makes
its own, and one with a Service takes away.

``metrics.k8s.io`` is one: a user's own metrics-server wins by its APIService, and who deletes the APIService has
neither until the next start of the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from sampan.api.resources import API_SERVICES
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.aggregation import priorities
from sampan.server.aggregation.remotes import GroupVersion, remote_of
from sampan.server.reader import ObjectReader
from sampan.server.request import Request
from sampan.server.results import Result

#: (priority of the group, of the version) as those have it that are usually installed
PRIORITIES: Final = (100, 100)


@dataclass(frozen=True, slots=True)
class HostedResource:
    name: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]


class HostedApi(Protocol):
    """``versions``: the best first."""

    @property
    def group(self) -> str: ...
    @property
    def versions(self) -> tuple[str, ...]: ...
    @property
    def resources(self) -> tuple[HostedResource, ...]: ...

    async def serve(self, request: Request) -> Result:
        """After authorization. Raises ApiError."""
        ...


class Hosted:
    """``follow`` it from the start. Invariant: ``_served`` holds the versions whose APIService says they are local, of
    groups of which nobody else serves any version: numbers of two kinds under one name would help nobody."""

    def __init__(self, apis: Iterable[HostedApi] = ()) -> None:
        self._all = {(api.group, version): api for api in apis for version in api.versions}
        #: of each that has an APIService, whether it is this server's own
        self._local: dict[GroupVersion, bool] = {}
        self._served: dict[GroupVersion, HostedApi] = {}
        #: grows with each change of what is served
        self.changes = 0

    def get(self, group: str, version: str) -> HostedApi | None:
        return self._served.get((group, version))

    def serves(self, group: str) -> bool:
        return any(served == group for served, _ in self._served)

    def follow(self, reader: ObjectReader) -> Callable[[], None]:
        """From now on what is served is what the objects say; returns what ends it."""
        unsubscribe = reader.subscribe(API_SERVICES, self._changed, keep=False)
        for obj in reader.list(API_SERVICES):
            self._changed("ADDED", obj, None, 0)
        return unsubscribe

    def _changed(self, kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
        version, _, group = str(obj["metadata"]["name"]).partition(".")
        if (group, version) not in self._all:
            return
        if kind == "DELETED":
            self._local.pop((group, version), None)
        else:
            self._local[group, version] = remote_of(obj) is None
        taken = {group for (group, _), local in self._local.items() if not local}
        served = {key: self._all[key] for key, local in self._local.items() if local and key[0] not in taken}
        if served.keys() != self._served.keys():
            self._served = served
            self.changes += 1

    # -- what discovery asks -------------------------------------------------------------------------------------

    def priorities(self) -> Mapping[GroupVersion, tuple[int, int]]:
        return dict.fromkeys(self._served, PRIORITIES)

    def resource_list(self, group: str, version: str) -> Obj | None:
        """``/apis/GROUP/VERSION``; None: it is not served here."""
        api = self._served.get((group, version))
        if api is None:
            return None
        resources = [
            {
                "name": each.name,
                "singularName": "",
                "namespaced": each.namespaced,
                "kind": each.kind,
                "verbs": list(each.verbs),
            }
            for each in api.resources
        ]
        head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}"}
        return {**head, "resources": resources}

    def version(self, group: str, version: str) -> Obj | None:
        """The entry of aggregated discovery; None: it is not served here."""
        api = self._served.get((group, version))
        if api is None:
            return None
        resources = [
            {
                "resource": each.name,
                "responseKind": {"group": "", "version": "", "kind": each.kind},
                "scope": "Namespaced" if each.namespaced else "Cluster",
                "singularResource": "",
                "verbs": list(each.verbs),
            }
            for each in api.resources
        ]
        return {"version": version, "resources": resources, "freshness": "Current"}

    # -- what registering asks -----------------------------------------------------------------------------------

    def api_services(self) -> dict[str, Obj]:
        """The objects by which they are offered, by name. Nothing marks them as managed: they are anybody's."""
        made = {}
        for group, version in self._all:
            obj = priorities.api_service(group, version, PRIORITIES, "")
            del obj["metadata"]["labels"]
            made[f"{version}.{group}"] = obj
        return made
