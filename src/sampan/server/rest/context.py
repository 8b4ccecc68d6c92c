"""What every verb needs: storage, policy, time. One value for the life of a server, made by ``app``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sampan.api import errors
from sampan.api.clock import Clock, Random, random_uuid
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.server.attributes import AdmissionAttributes, Authorizer
from sampan.server.hooks import Hooks
from sampan.server.registry import ResourceStorage, Storages, View
from sampan.server.request import Handler, Request
from sampan.store.cache import CacheWatch


class Admission(Protocol):
    """The chain of admission plugins."""

    async def admit(self, attributes: AdmissionAttributes) -> None: ...
    async def validate(self, attributes: AdmissionAttributes) -> None: ...


class NoAdmission:
    """Lets everything pass: for servers without policy (tests, what-if)."""

    async def admit(self, attributes: AdmissionAttributes) -> None:
        return

    async def validate(self, attributes: AdmissionAttributes) -> None:
        return


class Tokens(Protocol):
    async def issue(self, namespace: str, name: str, request: Obj) -> Obj: ...


class Reviews(Protocol):
    async def review(self, kind: Kind, obj: Obj, request: Request) -> Obj: ...


@dataclass(slots=True)
class RestContext:
    storages: Storages
    clock: Clock
    random: Random
    admission: Admission = field(default_factory=NoAdmission)
    #: asked again when a request turns out to do more than its verb says; None: everything is allowed
    authorizer: Authorizer | None = None
    hooks: Hooks = field(default_factory=Hooks)
    tokens: Tokens | None = None
    reviews: Reviews | None = None
    #: connect handlers (exec, log, proxy ...) by (group, resource, subresource)
    connect: Mapping[tuple[str, str, str], Handler] = field(default_factory=dict)
    #: open watches, so that a stop can end them first
    watches: set[CacheWatch] = field(default_factory=set)
    stopping: bool = False

    def stop_watches(self) -> None:
        """Ends all watches cleanly; later ones end at once. Reads and writes go on."""
        self.stopping = True
        for watch in tuple(self.watches):
            watch.close()

    def new_uid(self) -> str:
        return random_uuid(self.random)

    def target(self, request: Request) -> Target:
        kind = request.info.kind
        if kind is None:
            raise errors.InternalError("a resource request without a kind reached storage")
        view = self.storages.view(kind)
        return Target(view, view.storage, request.info.namespace if kind.namespaced else "", request.info.name)


@dataclass(frozen=True, slots=True)
class Target:
    """What a request addresses: a served version of a resource, a namespace, perhaps a name."""

    view: View
    storage: ResourceStorage
    namespace: str
    name: str

    @property
    def kind(self) -> Kind:
        return self.view.kind

    @property
    def key(self) -> str:
        return self.storage.key(self.namespace, self.name)

    def not_found(self) -> errors.NotFound:
        return errors.not_found(self.kind.plural, self.name, self.kind.group)
