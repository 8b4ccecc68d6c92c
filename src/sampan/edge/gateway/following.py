"""The objects of the Gateway API and what they refer to, followed: one view of them, and news of what changed.

Resources that are not served (yet) are followed like empty ones, and asked for again now and then. A write of a status
by this controller is no news. One event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sampan.api.reading import part, text, text_map
from sampan.api.resources import NAMESPACES, Resource
from sampan.api.types import Obj
from sampan.client.informer import ChangeType, InformerFactory
from sampan.edge.followed import FollowedServices, service_name
from sampan.edge.gateway import names, references
from sampan.edge.gateway.memory import references_of
from sampan.edge.gateway.observed import Key, Observed, Site
from sampan.edge.secrets import Secrets

#: (kind, namespace, name)
Name = tuple[str, str, str]


class Following:
    """``own``: informers of this identity; ``shared``: of Services and EndpointSlices, which others have too.

    ``changed()``: listeners or statuses may be others; ``moved(service)``: endpoints of a Service that is referred to.
    """

    def __init__(
        self,
        own: InformerFactory,
        shared: InformerFactory,
        secrets: Secrets,
        config_maps: Secrets,
        changed: Callable[[], None],
        moved: Callable[[Key], None],
    ) -> None:
        self._informers = {kind: own.informer(resource) for kind, resource in names.RESOURCES.items()}
        self._namespaces = own.informer(NAMESPACES)
        self._secrets, self._config_maps = secrets, config_maps
        self._changed, self._moved = changed, moved
        #: that routes refer to: how many do; and those of each route
        self._services: dict[Key, int] = {}
        self._of_route: dict[Name, frozenset[Key]] = {}
        self.services = FollowedServices(shared, self._service_changed, self._slice_changed)
        self._written: dict[Name, Obj] = {}

    def begin(self) -> None:
        for kind, informer in self._informers.items():
            informer.add_handler(self._handler(kind))
        self._namespaces.add_handler(self._namespace_changed)

    async def synced(self) -> None:
        """Returns when what there is has been seen."""
        for informer in (*self._informers.values(), self._namespaces):
            await informer.synced()

    def wrote(self, resource: Resource, answer: Obj) -> None:
        """What the API made of a status that was written."""
        meta = part(answer, "metadata")
        self._written[resource.kind, text(meta, "namespace"), text(meta, "name")] = part(answer, "status")

    async def observed(self, site: Site, bundles: Mapping[str, str]) -> Observed:
        """As of now; the first time, once Services and their endpoints are known."""
        if not self.services.known and self._informers["Gateway"].list():
            await self.services.want()
        await self._follow_references()
        found = {kind: tuple(informer.list()) for kind, informer in self._informers.items()}
        services: dict[Key, Obj] = {}
        slices: dict[Key, tuple[Obj, ...]] = {}
        if self.services.known:
            for key in self._services:
                service = self.services.get(*key)
                if service is not None:
                    services[key] = service
                    slices[key] = self.slices(key)
        return Observed(
            site=site,
            classes=found["GatewayClass"],
            gateways=found["Gateway"],
            http_routes=found["HTTPRoute"],
            grpc_routes=found["GRPCRoute"],
            tls_routes=found["TLSRoute"],
            grants=found["ReferenceGrant"],
            policies=found["BackendTLSPolicy"],
            namespaces={
                each["metadata"]["name"]: text_map(part(each, "metadata"), "labels") for each in self._namespaces.list()
            },
            services=services,
            slices=slices,
            secrets=_known(self._secrets, self._wanted_secrets),
            config_maps=_known(self._config_maps, self._wanted_config_maps),
            bundles=bundles,
        )

    def slices(self, service: Key) -> tuple[Obj, ...]:
        return tuple(self.services.slices(*service))

    # What is referred to

    async def _follow_references(self) -> None:
        classes = references.ours(self._informers["GatewayClass"].list())
        gateways = references.of_classes(self._informers["Gateway"].list(), classes)
        policies = self._informers["BackendTLSPolicy"].list()
        grants = references.Grants(self._informers["ReferenceGrant"].list())
        self._wanted_secrets = set(references.wanted_secrets(gateways, grants))
        self._wanted_config_maps = set(references.wanted_config_maps(gateways, policies, grants))
        self._secrets.want(self._wanted_secrets)
        self._config_maps.want(self._wanted_config_maps)
        await self._secrets.settled()
        await self._config_maps.settled()

    # What changes

    def _handler(self, kind: str) -> Callable[[ChangeType, Obj, Obj | None], None]:
        def changed(change: ChangeType, obj: Obj, previous: Obj | None) -> None:
            meta = part(obj, "metadata")
            name = kind, text(meta, "namespace"), text(meta, "name")
            if change == "DELETED":
                self._written.pop(name, None)
            elif (
                previous is not None
                and meta.get("generation") == part(previous, "metadata").get("generation")
                and part(obj, "status") in (part(previous, "status"), self._written.get(name))
            ):
                return
            if kind in names.ROUTE_KINDS:
                self._refers(name, () if change == "DELETED" else _services_of(obj, name[1]))
            self._changed()

        return changed

    def _refers(self, route: Name, services: Iterable[Key]) -> None:
        before, now = self._of_route.pop(route, frozenset()), frozenset(services)
        if now:
            self._of_route[route] = now
        for key in now - before:
            self._services[key] = self._services.get(key, 0) + 1
        for key in before - now:
            self._services[key] -= 1
            if not self._services[key]:
                del self._services[key]

    def _namespace_changed(self, change: ChangeType, obj: Obj, previous: Obj | None) -> None:
        def labels(namespace: Obj) -> Mapping[str, str]:
            return text_map(part(namespace, "metadata"), "labels")

        if previous is None or change != "MODIFIED" or labels(obj) != labels(previous):
            self._changed()

    def _service_changed(self, change: ChangeType, obj: Obj, previous: Obj | None) -> None:
        if previous is not None and change == "MODIFIED" and part(obj, "spec") == part(previous, "spec"):
            return
        meta = part(obj, "metadata")
        if (text(meta, "namespace"), text(meta, "name")) in self._services:
            self._changed()

    def _slice_changed(self, change: ChangeType, obj: Obj, previous: Obj | None) -> None:
        meta = part(obj, "metadata")
        key = text(meta, "namespace"), service_name(obj)
        if key in self._services:
            self._moved(key)


def _services_of(route: Obj, namespace: str) -> Iterable[Key]:
    for ref in references_of(route):
        if text(ref, "name"):
            yield text(ref, "namespace") or namespace, text(ref, "name")


def _known(followed: Secrets, wanted: Iterable[Key]) -> dict[Key, Obj]:
    found: dict[Key, Obj] = {}
    for key in wanted:
        obj = followed.get(*key)
        if isinstance(obj, dict):
            found[key] = obj
    return found
