"""What every verb needs: the surface, policy, time. One value for the life of a server, made by ``app``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from typing import Protocol, TypeAlias

from sampan.api import errors
from sampan.api.clock import Clock, Random, random_uuid
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.attributes import Authorizer
from sampan.server.hooks import Hooks
from sampan.server.horizon import Horizon
from sampan.server.request import Handler, Request
from sampan.server.results import Result
from sampan.server.storage import Stored
from sampan.server.target import Target
from sampan.server.write import Write
from sampan.store.protocol import Guard


class Admission(Protocol):
    """The chain of admission plugins."""

    async def admit(self, attributes: Write) -> None: ...
    async def validate(self, attributes: Write) -> None: ...
    def takes(self, kind: Kind, namespace: str) -> bool:
        """Whether something is taken for a write there, which ``Write.settle`` must then be told the end of."""
        ...


class NoAdmission:
    """Lets everything pass: for servers without policy (tests, what-if)."""

    async def admit(self, attributes: Write) -> None:
        return

    async def validate(self, attributes: Write) -> None:
        return

    def takes(self, kind: Kind, namespace: str) -> bool:
        return False


#: commits, on condition of these guards
CommitNew: TypeAlias = Callable[[Sequence[Guard]], Awaitable[Stored]]
#: commits a new object while what it is made in is there
Inside: TypeAlias = Callable[[Target, Write, CommitNew], Awaitable[Stored]]


async def anywhere(target: Target, write: Write, commit: CommitNew) -> Stored:
    return await commit(())


class Tokens(Protocol):
    async def issue(self, namespace: str, name: str, request: Obj) -> Obj: ...


class Reviews(Protocol):
    async def review(self, kind: Kind, obj: Obj, request: Request) -> Obj: ...


@dataclass(frozen=True, slots=True)
class Connector:
    """Who serves a streaming subresource. ``options`` is what admission is shown of the request (PodExecOptions); None:
    it is a read."""

    handle: Handler
    options: Callable[[Request], Obj | None]


Verb: TypeAlias = Callable[["RestContext", Request], Awaitable[Result]]
#: verbs of one kind or subresource that no other has, by (group, resource, subresource) and API verb
OwnVerbs: TypeAlias = Mapping[tuple[str, str, str], Mapping[str, Verb]]


async def _no_review(ctx: RestContext, request: Request) -> Result:
    raise errors.MethodNotAllowed("this server has no authorizer to ask")


@dataclass(slots=True)
class RestContext:
    clock: Clock
    random: Random
    admission: Admission = field(default_factory=NoAdmission)
    inside: Inside = anywhere
    #: asked again when a request turns out to do more than its verb says; None: everything is allowed
    authorizer: Authorizer | None = None
    hooks: Hooks = field(default_factory=Hooks)
    tokens: Tokens | None = None
    reviews: Reviews | None = None
    #: how long ago a resourceVersion may be for exact reads and continue tokens
    horizon: Horizon = field(default_factory=Horizon)
    #: exec, log, proxy ... by (group, resource, subresource)
    connect: Mapping[tuple[str, str, str], Connector] = field(default_factory=dict)
    own_verbs: OwnVerbs = field(default_factory=dict)
    #: the create of every kind that is computed and never stored
    review: Verb = _no_review

    def new_uid(self) -> str:
        return random_uuid(self.random)

    def target(self, request: Request) -> Target:
        kind = request.info.kind
        if kind is None:
            raise errors.InternalError("a resource request without a kind reached storage")
        if kind.demanding:
            request.heavy = True
        return Target(request.surface.view(kind), request.info.namespace if kind.namespaced else "", request.info.name)
