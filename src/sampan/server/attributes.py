"""What authorizers and admission plugins are asked about: the seams of policy in the server."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from sampan.api.kind import Kind
from sampan.records import dataclass
from sampan.server.request import UserInfo
from sampan.server.write import Write


@dataclass(slots=True, eq=False)  # not frozen: that would make each question four times as dear
class AuthorizationAttributes:
    """One question to an authorizer (authorization.k8s.io SubjectAccessReviewSpec). Read-only once made."""

    user: UserInfo
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    #: for non-resource requests; then ``resource`` is ""
    path: str = ""
    #: the fields that the request's field selector pins to one value (KEP-4601); only the node authorizer looks
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: str = ""
    #: an explicit no, which later authorizers cannot overrule
    denied: bool = False


class Authorizer(Protocol):
    def decide_now(self, attributes: AuthorizationAttributes) -> Decision | None:
        """The decision, if it can be told at once; None: only ``authorize`` can."""
        ...

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision: ...


#: what admission plugins are handed
AdmissionAttributes: TypeAlias = Write


class AdmissionPlugin(Protocol):
    """A named admission step. Both methods return at once for what is not theirs; they refuse by raising ApiError."""

    name: str

    async def admit(self, attributes: AdmissionAttributes) -> None:
        """May change ``attributes.obj``."""
        ...

    async def validate(self, attributes: AdmissionAttributes) -> None:
        """Must not change anything."""
        ...

    def takes(self, kind: Kind, namespace: str) -> bool:
        """Whether ``validate`` may take something for a write there, and asks to be told its end
        (``Write.settling``)."""
        ...
