"""The configuration of HAProxy for a plane: text and files, the same for the same plane. Pure.

``Rendered.structure`` is what a running program cannot be told: as long as it stays, endpoints and certificates change
at the socket (``slots``, ``certificates``). Every line knows whose it is, so that a line that the program refuses is
told to its object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from importlib import resources

from sampan.edge.haproxy import slots as places
from sampan.edge.haproxy import words
from sampan.edge.haproxy.dispatch import Known, Line, dispatch
from sampan.edge.haproxy.sections import LUA_HASHES, Options, Section, server_options, to_name
from sampan.edge.haproxy.slots import Slots
from sampan.edge.matching import exactness
from sampan.edge.model import Certificate, Listener, Owner, Plane, TlsRoute
from sampan.records import dataclass

NOT_FOUND = "not_found"
DEFAULT_CERTIFICATE = "default.pem"


@dataclass(frozen=True, slots=True)
class Settings:
    """``files``: where a configuration's files are; ``run``: sockets. ``name``: of the instance."""

    files: str
    run: str
    name: str = "default"
    user: str = ""
    group: str = ""
    #: an empty directory; "": the program keeps the machine's root
    chroot: str = ""
    threads: int = 2
    connections: int = 8_000
    #: "address:port" of the cluster's DNS; (): of the machine's
    resolvers: tuple[str, ...] = ()
    #: addresses of the node: no external name may lead there
    own: tuple[str, ...] = ()
    ipv6: bool = True
    #: PEM of what is shown to whom no certificate is meant
    default_certificate: str = ""
    access_log: bool = True


@dataclass(frozen=True, slots=True)
class Rendered:
    """``files`` by name, without the certificates, which are apart."""

    lines: tuple[Line, ...]
    sections: Mapping[str, Section]
    slots: Mapping[str, Slots]
    files: Mapping[str, str]
    certificates: Mapping[str, str]

    @property
    def structure(self) -> object:
        counts = {name: len(slots) for name, slots in self.slots.items()}
        return [text for text, _ in self.lines], counts, self.files, sorted(self.certificates)

    def text(self) -> tuple[str, list[Owner | None]]:
        """The configuration, and whose each of its lines is."""
        found: list[Line] = []
        for text, owner in self.lines:
            if text.startswith(_SERVERS):
                name = text.removeprefix(_SERVERS)
                options = self.sections[name].server
                found += [
                    (f"  {places.server_line(number, slot, options)}", owner)
                    for number, slot in enumerate(self.slots[name])
                ]
            else:
                found.append((text, owner))
        return "".join(f"{text}\n" for text, _ in found), [owner for _, owner in found]


#: A line in whose place a section's servers stand; a line of a configuration never begins so.
_SERVERS = "\0servers "


@dataclass(slots=True)
class _Made:
    lines: list[Line] = field(default_factory=list)
    sections: dict[str, Section] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    certificates: dict[str, str] = field(default_factory=dict)
    known: Known = field(default_factory=dict)

    def add(self, text: str, owner: Owner | None = None) -> None:
        self.lines.append((text, owner))


def render(plane: Plane, settings: Settings, before: Mapping[str, Slots]) -> Rendered:
    """``before``: the places of the running program, which stay as they are where they can."""
    made = _Made()
    options = Options(settings.files, settings.own)
    body = _Made()
    for listener in plane.listeners:
        _frontend(body, listener, settings, options)
    made.sections, made.files, made.certificates = body.sections, body.files, body.certificates
    users = {name: known for section in body.sections.values() for name, known in section.users.items()}
    lua = any(secret.startswith(LUA_HASHES) for known in users.values() for _, secret in known)
    mirrors = any(section.copies for section in body.sections.values())
    programs = [*(["basic.lua"] if lua else []), *(["mirror.lua"] if mirrors else [])]
    for line in _global(settings, programs):
        made.add(line)
    if mirrors:
        _copies(made, settings)
    for name in sorted(users):
        made.add(f"userlist {name}")
        for user, secret in users[name]:
            if not secret.startswith(LUA_HASHES):
                made.add(f"  user {words.word(user)} password {words.word(secret)}")
    if lua:
        made.files["basic.lua"] = f"local USERS = [[{settings.files}/lua-users.map]]\n{_program('basic.lua')}"
        made.files["lua-users.map"] = "".join(
            f"{name}/{user} {secret}\n"
            for name in sorted(users)
            for user, secret in users[name]
            if secret.startswith(LUA_HASHES)
        )
    made.lines += body.lines
    filled: dict[str, Slots] = {}
    for name in sorted(made.sections):
        section = made.sections[name]
        made.files |= section.files
        made.add(f"backend {name}", section.owner)
        if section.tcp:
            made.add("  mode tcp", section.owner)
        for line in section.lines:
            made.add(f"  {line}", section.owner)
        if section.backend is None:
            continue
        if section.by_name:
            lines = to_name(section.backend.endpoints[0], options, tcp=section.tcp)  # an external name is one
            for line in (*lines, f"server s0 0.0.0.0:0 {section.server}".rstrip()):
                made.add(f"  {line}", section.owner)
            continue
        filled[name] = places.fill(section.backend.endpoints, before.get(name, ()))
        made.add(_SERVERS + name, section.owner)
    return Rendered(tuple(made.lines), made.sections, filled, made.files, made.certificates)


def _program(name: str) -> str:
    return resources.files("sampan.edge.haproxy").joinpath(name).read_text()


def _copies(made: _Made, settings: Settings) -> None:
    """Where copies of requests come in, from this program alone."""
    place = f"abns@sampan-{settings.name}-copies"
    made.files["mirror.lua"] = f'local SOCKET = "{place}"\n{_program("mirror.lua")}'
    for line in (
        "frontend copies",
        f"  bind {place}",
        "  no log",
        "  http-request set-var(txn.to) req.hdr(x-sampan-mirror)",
        "  http-request set-method %[req.hdr(x-sampan-method)]",
        "  http-request del-header x-sampan- -m beg",
        "  use_backend %[var(txn.to)] if { var(txn.to) -m found }",
        f"  default_backend {NOT_FOUND}",
    ):
        made.add(line)


def _global(settings: Settings, programs: Sequence[str]) -> Iterator[str]:
    yield "global"
    yield f"  stats socket {settings.run}/admin.sock mode 600 level admin expose-fd listeners"
    yield "  stats timeout 10s"
    for directive, value in (("user", settings.user), ("group", settings.group), ("chroot", settings.chroot)):
        if value:
            yield f"  {directive} {value}"
    yield f"  nbthread {settings.threads}"
    yield f"  maxconn {settings.connections}"
    yield "  no strict-limits"
    yield "  hard-stop-after 300s"
    yield "  expose-experimental-directives"
    yield "  tune.ssl.default-dh-param 2048"
    yield "  tune.ssl.cachesize 4000"
    yield "  ssl-default-bind-options ssl-min-ver TLSv1.2"
    for name in programs:
        yield f"  lua-load {settings.files}/{name}"
    if settings.access_log:
        yield "  log stdout format raw local0 info"
    yield "resolvers cluster"
    if settings.resolvers:
        for number, address in enumerate(settings.resolvers):
            yield f"  nameserver n{number} {address}"
    else:
        yield "  parse-resolv-conf"
    yield "  accepted_payload_size 8192"
    yield "  hold valid 10s"
    yield "defaults"
    yield from (f"  {line}" for line in _DEFAULTS)
    if settings.access_log:
        yield "  log global"
        yield ("  log-format '%ci - [%tr] \"%HM %HU %HV\" %ST %B %U %Ta %[var(txn.host)] %b %s'")
    yield "frontend metrics"
    yield f"  bind {settings.run}/metrics.sock mode 600"
    yield "  no log"
    yield "  http-request use-service prometheus-exporter"
    yield f"backend {NOT_FOUND}"
    yield "  http-request return status 404 content-type text/plain string 'default backend - 404'"


_DEFAULTS = (
    "mode http",
    # A connection that idles while the program is replaced is told with its next answer, and loses no request.
    "option idle-close-on-response",
    "option redispatch",
    "option splice-auto",
    "retries 3",
    "retry-on conn-failure empty-response",
    "timeout connect 5s",
    "timeout client 60s",
    "timeout client-fin 30s",
    "timeout server 60s",
    "timeout http-request 30s",
    "timeout http-keep-alive 75s",
    "timeout queue 10s",
    "timeout tunnel 3600s",
    "http-error status 503 content-type text/plain string '503 Service Temporarily Unavailable'",
    "http-error status 502 content-type text/plain string '502 Bad Gateway'",
    "http-error status 504 content-type text/plain string '504 Gateway Time-out'",
    "http-error status 413 content-type text/plain string '413 Request Entity Too Large'",
    "http-error status 429 content-type text/plain string '429 Too Many Requests'",
    "http-error status 403 content-type text/plain string '403 Forbidden'",
)


def _frontend(made: _Made, listener: Listener, settings: Settings, options: Options) -> None:
    label = words.name(f"in_{listener.port}", listener.name, listener.address)
    bind = ""
    if listener.protocol == "https":
        bind = f" ssl crt-list {settings.files}/{label}.crt-list alpn h2,http/1.1"
        if listener.strict_names:
            bind += " strict-sni"
        if listener.client_ca:
            made.files[f"{label}.ca.pem"] = listener.client_ca
            bind += f" ca-file {settings.files}/{label}.ca.pem verify required"
        made.files[f"{label}.crt-list"] = _certificates(made, listener, settings)
    if listener.tls_routes:
        inner = f"abns@sampan-{settings.name}-{label}"
        _by_server_name(made, listener, settings, options, label, inner)
        made.add(f"frontend {label}_http")
        made.add(f"  bind {inner} accept-proxy{bind}")
    else:
        made.add(f"frontend {label}")
        for address in _addresses(listener, settings):
            made.add(f"  bind {address}{bind}")
    found = dispatch(listener, f"{settings.files}/{label}.", options, made.sections, made.known)
    for line in _before(listener):
        made.add(f"  {line}")
    made.lines += [(f"  {line}", owner) for line, owner in found.lines]
    made.add("  use_backend %[var(txn.to)] if { var(txn.to) -m found }")
    made.add(f"  default_backend {NOT_FOUND}")
    made.files |= {f"{label}.{name}.map": "".join(f"{line}\n" for line in lines) for name, lines in found.maps.items()}


def _before(listener: Listener) -> Iterator[str]:
    """What is done with every request."""
    # From 2**64 - 1 on the program takes a length for none, and sends the header on all the same.
    yield "http-request deny deny_status 400 if { req.hdr(content-length),length gt 18 }"
    usual = 443 if listener.protocol == "https" else 80
    yield "http-request set-var(txn.host) req.hdr(host),host_only,lower"
    yield f"http-request set-var(txn.scheme) str({listener.protocol})"
    if listener.port != usual:
        yield f"http-request set-var(txn.port) str(:{listener.port})"
    # What a back end would make of the path is what is looked up (RFC 3986, 6.2.2).
    yield "http-request normalize-uri percent-decode-unreserved"
    yield "http-request normalize-uri path-strip-dot"
    yield "http-request normalize-uri path-strip-dotdot full"
    yield "http-request disable-l7-retry if { method POST PATCH }"
    # A tunnel to the back end by HTTP/2 would be looked into by nobody: each of its requests would pass by all rules.
    yield "http-request del-header Upgrade if { req.hdr(upgrade) -m sub -i h2 }"
    # What only a proxy says; with underscores it is the same header to many back ends.
    for name in (*_OF_PROXIES, *(name.replace("-", "_") for name in (*_OF_PROXIES, *_FORWARDED))):
        yield f"http-request del-header {name}"
    yield "http-request set-header X-Forwarded-For %[src]"
    yield "http-request set-header X-Real-IP %[src]"
    yield "http-request set-header X-Forwarded-Host %[req.hdr(host)]"
    yield f"http-request set-header X-Forwarded-Port {listener.port}"
    yield f"http-request set-header X-Forwarded-Proto {listener.protocol}"
    yield f"http-request set-header X-Scheme {listener.protocol}"
    yield "http-request set-header X-Request-ID %[uuid()] unless { req.hdr(x-request-id) -m found }"


_OF_PROXIES = ("HTTP2-Settings", "Proxy", "Forwarded", "X-Forwarded-Scheme")
_FORWARDED = (
    "X-Forwarded-For", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Scheme",
)  # fmt: skip


def _addresses(listener: Listener, settings: Settings) -> Iterator[str]:
    if listener.address:
        host = f"[{listener.address}]" if ":" in listener.address else listener.address
        yield f"{host}:{listener.port}"
        return
    yield f"0.0.0.0:{listener.port}"
    if settings.ipv6:
        yield f"[::]:{listener.port} v6only"


def _certificates(made: _Made, listener: Listener, settings: Settings) -> str:
    """The list by server name; the first is for whom no other is."""
    made.certificates.setdefault(DEFAULT_CERTIFICATE, settings.default_certificate)
    lines = []
    default = DEFAULT_CERTIFICATE
    for certificate in sorted(listener.certificates, key=lambda each: each.name):
        file = f"{words.name(certificate.name)}.pem"
        made.certificates[file] = _pem(certificate)
        if not certificate.hosts:
            default = file
        else:
            lines.append(f"{settings.files}/{file} {' '.join(certificate.hosts)}\n")
    return "".join([f"{settings.files}/{default}\n", *lines])


def _pem(certificate: Certificate) -> str:
    """Without empty lines, which would end a command at the socket."""
    lines = f"{certificate.chain}\n{certificate.key}".splitlines()
    return "".join(f"{line.strip()}\n" for line in lines if line.strip())


def _by_server_name(
    made: _Made, listener: Listener, settings: Settings, options: Options, label: str, inner: str
) -> None:
    """Connections are looked at, by the name in their first message, before anybody ends their TLS."""
    made.add(f"frontend {label}")
    made.add("  mode tcp")
    made.add("  option tcplog")
    for address in _addresses(listener, settings):
        made.add(f"  bind {address}")
    made.add("  tcp-request inspect-delay 5s")
    made.add("  tcp-request content set-var(sess.name) req.ssl_sni,lower if { req.ssl_hello_type 1 }")
    made.add("  tcp-request content accept if { req.ssl_hello_type 1 }")
    terminated = f"{label}_tls"
    ordered: list[tuple[tuple[bool, int], str, str, Owner | None]] = []
    for route in listener.tls_routes:
        ordered.append((exactness(route.host), route.host, _tls_section(made, route, options), route.owner))
    for host in listener.hosts:
        ordered.append((exactness(host.name), host.name, terminated, None))
    for _, name, target, owner in sorted(ordered, key=lambda each: (each[0], each[2] == terminated)):
        condition = ""
        if name.startswith("*."):
            condition = f" if {{ var(sess.name) -m end {words.pattern(name[1:].lower())} }}"
        elif name:
            condition = f" if {{ var(sess.name) -m str {words.pattern(name.lower())} }}"
        made.add(f"  use_backend {target}{condition}", owner)
    made.add(f"  default_backend {terminated}")
    made.add(f"backend {terminated}")
    made.add("  mode tcp")
    made.add(f"  server inner {inner} send-proxy-v2")


def _tls_section(made: _Made, route: TlsRoute, options: Options) -> str:
    """Of the shares the heaviest is taken: a connection is not looked into, and one section has one back end."""
    share = max((each for each in route.backends if each.weight > 0), key=lambda each: each.weight, default=None)
    backend = share.backend if share else None
    name = words.name(f"tls_{route.owner.namespace}_{route.owner.name}", route.name, backend.name if backend else "")
    section = Section(name, route.owner, backend=backend, tcp=True)
    if backend is None:
        section.lines.append("tcp-request content reject")
    elif any(":" not in each.address and not each.address[-1:].isdigit() for each in backend.endpoints):
        section.server = server_options(backend, section, options)
    made.sections[name] = section
    return name
