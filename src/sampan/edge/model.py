"""What the data plane is to do, as values: listeners, hosts, routes and where they lead.

Filled by the sources (``edge/ingress``, ``edge/gateway``), which know objects and no proxy; read by the data plane,
which knows a proxy and no objects. ``edge/matching.py`` says what it means: which route a request takes. Pure.

Text in here may come from anybody who may write an object: nothing is escaped or trusted. The data plane escapes it, or
refuses the route by name (``edge/checking.py``).
"""

from __future__ import annotations

from typing import Literal

from sampan.records import dataclass

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Owner:
    """The object that asked for something, and is told when it cannot be had."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


# Where requests lead

#: ``http``: HTTP/1.1, WebSocket by upgrade too. ``h2c``: HTTP/2 without TLS, gRPC too. ``https``: HTTP/1.1 or HTTP/2
#: over TLS. ``h2``: HTTP/2 over TLS alone (gRPC).
BackendProtocol = Literal["http", "h2c", "https", "h2"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``draining``: it ends; it keeps what it has, and gets new requests only when all others are draining too."""

    address: str
    port: int
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Affinity:
    """A cookie that leads a client back to the endpoint it had."""

    cookie: str
    path: str = "/"
    domain: str = ""
    #: None: the cookie ends with the browser
    max_age_seconds: int | None = None
    secure: bool = False
    same_site: str = ""


@dataclass(frozen=True, slots=True)
class BackendTls:
    """How a back end proves who it is. ``ca``: PEM; "" and not ``system_ca``: anybody is believed."""

    server_name: str = ""
    ca: str = ""
    system_ca: bool = False
    #: a certificate and key in PEM, to show to the back end
    client_pem: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """One port of one Service. ``name`` is unique in a plane ("namespace/service:port"). No endpoints: 503.

    A host name as an endpoint's address (ExternalName) is looked up by the data plane again and again."""

    name: str
    endpoints: tuple[Endpoint, ...] = ()
    protocol: BackendProtocol = "http"
    tls: BackendTls = BackendTls()
    affinity: Affinity | None = None


# Which requests

#: ``exact``: the whole path. ``prefix``: element by element ("/foo" takes "/foo" and "/foo/bar", not "/foobar").
#: ``begins``: character by character ("/foo" takes "/foobar" too). ``regex``: RE2 and PCRE alike, anchored at the
#: beginning, not at the end.
PathKind = Literal["exact", "prefix", "begins", "regex"]
ValueKind = Literal["exact", "regex", "present"]


@dataclass(frozen=True, slots=True)
class PathMatch:
    kind: PathKind = "prefix"
    value: str = "/"
    #: of ``regex`` alone
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """Of a header, a query parameter or a cookie. ``exact`` and ``regex`` are of the whole value; of several headers
    of one name, their values joined by commas."""

    name: str
    value: str = ""
    kind: ValueKind = "exact"


@dataclass(frozen=True, slots=True)
class Match:
    """All of it must hold. ``method`` "": any."""

    path: PathMatch = PathMatch()
    method: str = ""
    headers: tuple[ValueMatch, ...] = ()
    queries: tuple[ValueMatch, ...] = ()
    cookies: tuple[ValueMatch, ...] = ()

    @property
    def conditional(self) -> bool:
        """Whether more is asked than the path."""
        return bool(self.method or self.headers or self.queries or self.cookies)


# What is done with them


@dataclass(frozen=True, slots=True)
class HeaderEdit:
    """In this order: remove, set, add."""

    set: Pairs = ()
    add: Pairs = ()
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.set or self.add or self.remove)


@dataclass(frozen=True, slots=True)
class PathEdit:
    """``full``: the value instead of the path. ``prefix``: instead of what the route's prefix matched. ``captures``:
    the value, with $1 to $9 of the route's regular expression; the query string stays in any case."""

    kind: Literal["full", "prefix", "captures"]
    value: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """What is empty stays as the request had it; ``port`` 0: the well-known one of a scheme that is given, else the
    listener's. ``location``: all of the address, instead of its parts."""

    status: int = 302
    scheme: str = ""
    host: str = ""
    port: int = 0
    path: PathEdit | None = None
    location: str = ""
    #: only for these paths exactly; "": for all that the route takes
    only_path: str = ""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """``host`` "": as it came."""

    host: str = ""
    path: PathEdit | None = None


@dataclass(frozen=True, slots=True)
class Cors:
    """``origins``: exact, "*", or with one "*" for a part ("https://*.example.com")."""

    origins: tuple[str, ...] = ("*",)
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    credentials: bool = False
    max_age_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Mirror:
    """A copy of the request, whose answer nobody waits for. ``percent`` of the requests, of a ``hundred``."""

    backend: Backend
    percent: int = 100
    hundred: int = 100


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """``users``: names with their hashes, as htpasswd has them. None of them: nobody gets in."""

    realm: str
    users: Pairs = ()


@dataclass(frozen=True, slots=True)
class Rate:
    """Of one client address. 0: without limit. ``burst``: how many times of it may come at once."""

    per_second: int = 0
    per_minute: int = 0
    connections: int = 0
    burst: int = 5
    allow: tuple[str, ...] = ()
    status: int = 503


@dataclass(frozen=True, slots=True)
class Access:
    """Who is let in. ``sources``: ranges of addresses; (): all."""

    sources: tuple[str, ...] = ()
    denied_sources: tuple[str, ...] = ()
    auth: BasicAuth | None = None
    rate: Rate | None = None
    #: what a request's body may have at most; 0: no limit
    body_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; None: as the data plane has it, 0: none. ``request``: from the request to the end of its answer,
    retries and all; ``backend_request``: of one attempt, to the first bytes of its answer."""

    connect: float | None = None
    request: float | None = None
    backend_request: float | None = None
    #: without a byte from the back end, or from the client
    read: float | None = None
    send: float | None = None


@dataclass(frozen=True, slots=True)
class Retries:
    """``statuses``: of answers upon which another try is made; connection faults always are."""

    attempts: int = 3
    statuses: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Weighted:
    """A share of a route's requests. ``backend`` None: the reference is wrong, the share gets the route's
    ``fault_status``. The edits are of this share alone, after the route's own."""

    backend: Backend | None
    weight: int = 1
    request_headers: HeaderEdit = HeaderEdit()
    response_headers: HeaderEdit = HeaderEdit()


@dataclass(frozen=True, slots=True)
class Route:
    """``name`` is unique in a plane and stays when the object changes; access log and metrics show it.

    In this order: access, redirect, headers, rewrite, mirror, back end. ``backends`` (): answered by the redirect, or
    with ``fault_status``; all weights 0 likewise."""

    name: str
    owner: Owner
    match: Match = Match()
    backends: tuple[Weighted, ...] = ()
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None
    request_headers: HeaderEdit = HeaderEdit()
    response_headers: HeaderEdit = HeaderEdit()
    cors: Cors | None = None
    mirrors: tuple[Mirror, ...] = ()
    access: Access = Access()
    timeouts: Timeouts = Timeouts()
    retries: Retries | None = None
    fault_status: int = 503
    #: precedence among routes that match alike: the lower goes first (time of creation, then name)
    age: tuple[str, str, int] = ("", "", 0)


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """``name``: a host, "*.example.com", or "" for any. ``deep``: the star stands for several labels too (Gateway API),
    else for exactly one (Ingress). ``routes``: of those that match, the first by ``matching.in_order`` is taken;
    none: 404. A request looks into the one host that matches it best, and in no other."""

    name: str
    routes: tuple[Route, ...] = ()
    deep: bool = False


@dataclass(frozen=True, slots=True)
class Certificate:
    """``hosts``: the server names it is shown for, with stars for one label; (): for whom no other is.

    ``name`` is unique and stays when the certificate is renewed ("namespace/secret"). PEM."""

    name: str
    chain: str
    key: str
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsRoute:
    """Connections by server name, not looked into (``passthrough``), or without TLS to the back end.

    ``host`` as of VirtualHost, stars for any depth."""

    name: str
    owner: Owner
    host: str
    backends: tuple[Weighted, ...] = ()
    passthrough: bool = True


@dataclass(frozen=True, slots=True)
class Listener:
    """A port of the machine. ``https`` shows the certificates by server name; ``tls_routes`` go before it, for names
    that they have (the most exact name of all decides). ``address`` "": every one of the machine, both families."""

    name: str
    port: int
    protocol: Literal["http", "https"] = "http"
    address: str = ""
    hosts: tuple[VirtualHost, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    tls_routes: tuple[TlsRoute, ...] = ()
    #: PEM of who signs clients' certificates; "": none is asked for
    client_ca: str = ""
    #: connections for a name without a certificate of its own are refused; else they are shown the default one
    strict_names: bool = False


@dataclass(frozen=True, slots=True)
class Plane:
    """All that the data plane of one machine is to do."""

    listeners: tuple[Listener, ...] = ()
