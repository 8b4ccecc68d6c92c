"""One write on its way from a body to a commit: the value that every stage of it sees and may change.

``rest`` makes a ``Write``, and passes it through the stages in upstream's order: mutating admission, what the server
fills in, the kind's strategy, validation, validating admission. All of them are asynchronous: webhooks, conversion and
quota have to ask somebody. Stages refuse by raising ApiError.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import field
from typing import Any, Literal

from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.options import DeleteOptions, WriteOptions
from sampan.server.request import Request, UserInfo

#: the server's own identity towards itself
SERVER_USER = "system:apiserver"
Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


@dataclass(slots=True)
class Reinvocation:
    """The second round of mutating admission: what one outside has changed, the others may have to see again.

    The chain runs once more, whole, if somebody wants it; never a third time. ``memory`` is the plugins' own, by name.
    """

    #: a webhook or policy has changed the object
    wanted: bool = False
    #: this is the second round
    again: bool = False
    memory: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Write:
    """``obj`` and ``old`` are of ``kind``: the version that is stored, of custom resources the requested one; or of
    what a subresource takes (Binding, PodExecOptions). ``old`` comes from storage and is shared: read-only."""

    operation: Operation
    kind: Kind
    subresource: str
    namespace: str
    name: str
    obj: Obj | None
    old: Obj | None
    user: UserInfo
    dry_run: bool
    request: Request
    #: the kind as the client addressed it (admission.k8s.io requestKind); None: ``kind``
    request_kind: Kind | None = None
    options: WriteOptions | DeleteOptions = field(default_factory=WriteOptions)
    #: whether mutating admission has to look twice; None: nobody outside has changed anything
    reinvocation: Reinvocation | None = None
    #: told once how the write ended: the revision of its commit, 0 when nothing was stored. Of plugins that took
    #: something for it, and have to keep it or give it back
    settling: list[Callable[[int], Awaitable[None]]] = field(default_factory=list)

    @property
    def of_server(self) -> bool:
        """Written by this server itself, for what a cluster needs to be one: nobody outside may keep it from that."""
        return self.request.in_process and self.user.name == SERVER_USER

    async def settle(self, revision: int) -> None:
        settling, self.settling = self.settling, []
        for tell in settling:
            await tell(revision)

    @property
    def manager(self) -> str:
        """The field manager that the client named, or what its user agent says it is (upstream: managerOrUserAgent)."""
        named = self.options.field_manager if isinstance(self.options, WriteOptions) else ""
        return named or self.request.headers.get("user-agent", "").partition("/")[0]
