"""The server's own request and response: what every stage of the pipeline sees, whatever carries it.

``http.py`` makes them from sockets, ``local.py`` from calls in the same process. Stages fill in the fields that are
theirs (named below) and hand the request on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.stream import PushBody

if TYPE_CHECKING:  # a surface is made of storages, which know nothing of requests
    from sampan.server.surface import Surface


@dataclass(frozen=True, slots=True)
class UserInfo:
    """Who asks (authentication.k8s.io UserInfo)."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


MAX_WARNINGS: Final = 100
MAX_ANNOTATIONS: Final = 100
MAX_ANNOTATION_LENGTH: Final = 10 * 1024
ANONYMOUS = UserInfo("system:anonymous", ("system:unauthenticated",))


class RequestInfo(NamedTuple):
    """What the URL and method ask for (apiserver request.RequestInfo).

    ``verb`` is the API verb (get, list, watch, create, update, patch, delete, deletecollection) or, for
    non-resource paths, the HTTP method in lower case. ``path`` keeps what follows a proxy subresource.
    """

    is_resource: bool
    verb: str
    path: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    #: what follows ``/proxy/`` in the URL
    proxy_path: str = ""
    kind: Kind | None = None


class Connection(Protocol):
    """The client's connection after an upgrade: raw bytes both ways. ``read`` gives b"" at the end."""

    async def read(self, limit: int = 65536) -> bytes: ...
    async def write(self, data: bytes) -> None: ...

    def close(self) -> None:
        """What was written still goes out."""
        ...

    def abort(self) -> None:
        """Whatever was written: for a client that takes nothing."""
        ...


class Template(Protocol):
    """What requests with the same bytes share; ``plan`` keeps what a stage resolved for them (never who asked)."""

    plan: Any


class ConnectionState:
    """What all requests of one connection share; ``identity`` keeps what authentication found of its certificate."""

    __slots__ = ("identity",)

    def __init__(self) -> None:
        self.identity: Any = None


@dataclass(slots=True)
class Request:
    """One request on its way through the pipeline. Header names are lower case.

    Exactly one of ``body`` (bytes, from a socket: ``await load_body()``) and ``obj`` (decoded, from this process) is
    used for writes.
    """

    method: str
    #: path as sent, percent-encoded; already split from the query
    raw_path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    obj: Any = None
    #: what it writes, or what is there, is long: the work on it is a thread's (``threads``). Set by who reads the body
    heavy: bool = False
    #: the call comes from this process: ``obj`` in, ``Response.obj`` out, nothing is encoded
    in_process: bool = False
    #: reads the whole body of a request from a socket, once; raises RequestEntityTooLarge beyond 3 MiB.
    #: Bodies are read only by the stage that wants them, so that nobody's body is buffered before authorization.
    read_body: Callable[[], Awaitable[bytes]] | None = None
    #: every value of each query parameter in order, for those that repeat (exec's ``command``)
    query_lists: Mapping[str, list[str]] = field(default_factory=dict)
    #: the query exactly as sent, for proxies
    raw_query: str = ""
    #: every value of each header that was sent more than once (Impersonate-Group); else ``headers`` is enough
    header_lists: Mapping[str, list[str]] = field(default_factory=dict)
    #: DER of the verified client certificate, if one was given
    peer_certificate: bytes | None = None
    remote_address: str = ""
    #: filled by the authentication stage; set beforehand for calls from this process
    user: UserInfo = ANONYMOUS
    #: the user before impersonation
    impersonator: UserInfo | None = None
    #: what the API is, to this request; set at its start
    surface: Surface = field(init=False)
    #: filled by the request-info stage
    info: RequestInfo = RequestInfo(False, "", "")
    #: texts for Warning headers, in order, without duplicates, at most ``MAX_WARNINGS``
    warnings: list[str] = field(default_factory=list)
    _warned: set[str] = field(default_factory=set)
    audit_id: str = ""
    #: what admission wants noted of the request (audit.k8s.io Event.annotations); None: nothing
    audit_annotations: dict[str, str] | None = None
    #: takes over the connection after the given response head was sent (exec, attach, portforward); None: cannot
    hijack: Callable[[int, Mapping[str, str]], Awaitable[Connection]] | None = None
    #: reads the request body as it comes, for the proxy subresource
    stream: Callable[[], AsyncIterator[bytes]] | None = None
    #: shared with every request that sent the same bytes; None: with a body, or not from a socket
    template: Template | None = None
    #: shared with every request of the same connection; None: not from a socket
    connection_state: ConnectionState | None = None

    def warn(self, text: str) -> None:
        """Beyond the bound they are dropped: no header could hold them, and upstream stops at a hundred, too."""
        if len(self.warnings) < MAX_WARNINGS and text not in self._warned:
            self._warned.add(text)
            self.warnings.append(text)

    def annotate(self, key: str, value: str) -> None:
        """Notes for the audit event, at most ``MAX_ANNOTATIONS`` of them; the first with a key stays (upstream:
        AddAuditAnnotation)."""
        notes = self.audit_annotations = self.audit_annotations or {}
        if len(notes) < MAX_ANNOTATIONS:
            notes.setdefault(key, value[:MAX_ANNOTATION_LENGTH])

    def header_values(self, name: str) -> list[str]:
        """All values of a header, by its lower-case name, in the order sent."""
        if name in self.header_lists:
            return self.header_lists[name]
        return [self.headers[name]] if name in self.headers else []

    def keep_headers(self, kept: Callable[[str, str], str | None]) -> None:
        """Replaces each value that was sent by ``kept(name, value)``; None drops it.

        What may look at a header sees the same in ``headers`` and in ``header_lists``: they change only here.
        """
        headers: dict[str, str] = {}
        lists: dict[str, list[str]] = {}
        for name in self.headers:
            before = self.header_values(name)
            values = [value for each in before if (value := kept(name, each)) is not None]
            if values:
                headers[name] = self.headers[name] if values == before else ", ".join(values)
            if len(values) > 1:
                lists[name] = values
        self.headers, self.header_lists = headers, lists

    async def load_body(self) -> bytes:
        """The whole body; reads it from the connection on first use."""
        if self.read_body is not None:
            read, self.read_body = self.read_body, None
            self.body = await read()
        return self.body


@dataclass(slots=True)
class Response:
    """An answer as HTTP carries it. ``body`` is bytes, an async iterator of chunks that is flushed chunk by chunk
    (log -f, proxy), or one that pushes (watch).

    ``obj`` is the same for callers in this process, where there is an object. ``hijacked``: the connection was taken
    over and the transport must not touch it any more.
    """

    status: int = 200
    body: bytes | AsyncIterator[bytes] | PushBody = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    #: further values of headers that repeat (a backend's ``Set-Cookie``), sent behind ``headers`` as they are
    more_headers: tuple[tuple[str, str], ...] = ()
    obj: Obj | None = None
    hijacked: bool = False
    #: header lines that were built before, each with its CRLF, instead of ``content_type`` and what is the same in
    #: every answer (Cache-Control, Content-Type, Server); ``headers`` are added, and so are Date and the framing
    head: bytes | None = None


Handler = Callable[[Request], Awaitable[Response]]
