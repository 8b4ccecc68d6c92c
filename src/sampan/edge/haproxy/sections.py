"""A backend section of HAProxy: what is done with the requests of a route, and where they go. Pure.

Routes that do the same with the same back end share one section: a hundred paths of one Ingress are one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import field

from sampan.edge.haproxy import words
from sampan.edge.matching import prefix_key
from sampan.edge.model import (
    Affinity,
    Backend,
    BackendTls,
    Cors,
    Endpoint,
    HeaderEdit,
    Owner,
    PathEdit,
    PathMatch,
    Redirect,
    Route,
    Weighted,
)
from sampan.records import dataclass

#: What Lua has to look at, for crypt(3) does not know it (``edge/haproxy/basic.lua``).
LUA_HASHES = ("$apr1$", "{SHA}")
_USUAL_ROUTE = Route("", Owner("", "", "", ""))
_USUAL_TLS = BackendTls()
_NO_EDIT = HeaderEdit()
#: how long a request may wait for its body because it is mirrored
_BODY_SECONDS = 5
#: ``add`` makes a number of 64 bits of the words; ``req.hdr_val`` has 32, of which 4 GiB are none. ``req.body_size`` is
#: in HTTP/2 what has come by now.
_DECLARED_BYTES = "req.hdr(content-length),add(0)"


@dataclass(frozen=True, slots=True)
class Options:
    """``files``: the directory of the files that a section names. ``own``: ranges of addresses
    that no host name may lead to, beyond loopback and the like."""

    files: str
    own: tuple[str, ...] = ()


@dataclass(slots=True)
class Section:
    """``lines`` without the servers; ``backend`` None: it has none. ``files``: text by name, below ``Options.files``;
    ``users``: by list. ``copies``: where its requests are mirrored to."""

    name: str
    owner: Owner
    lines: list[str] = field(default_factory=list)
    backend: Backend | None = None
    server: str = ""
    files: dict[str, str] = field(default_factory=dict)
    users: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    tcp: bool = False
    copies: tuple[Section, ...] = ()

    @property
    def by_name(self) -> bool:
        """Its endpoints are host names, which the program looks up itself."""
        return self.backend is not None and any(not is_address(each.address) for each in self.backend.endpoints)


def is_address(text: str) -> bool:
    """Else it is a host name; of what was checked (``edge/checking``) nothing else is left."""
    return ":" in text or text.replace(".", "").isdigit()


def shares(route: Route) -> list[tuple[int, int]]:
    """Weights and positions of the shares that get requests; without any, one at -1: there is no back end."""
    found = [(share.weight, position) for position, share in enumerate(route.backends) if share.weight > 0]
    return found or [(1, -1)]


def section(route: Route, share: int, options: Options) -> Section:
    weighted = route.backends[share] if share >= 0 else Weighted(None)
    backend = weighted.backend
    # All that makes a section another one, but what most do not ask for.
    unlike = [
        repr(asked)
        for asked, usual in (
            (route.match.path if _looks_at_path(route) else None, None),
            (route.redirect, None),
            (route.rewrite, None),
            (route.cors, None),
            (route.retries, None),
            # without the endpoints, which come and go
            ([(each.backend.name, each.percent, each.hundred) for each in route.mirrors], []),
            (route.access, _USUAL_ROUTE.access),
            (route.timeouts, _USUAL_ROUTE.timeouts),
            (route.request_headers, _NO_EDIT),
            (route.response_headers, _NO_EDIT),
            (weighted.request_headers, _NO_EDIT),
            (weighted.response_headers, _NO_EDIT),
            (backend.tls if backend else _USUAL_TLS, _USUAL_TLS),
            (backend.affinity if backend else None, None),
        )
        if asked is not usual and asked != usual
    ]
    meaning = f"{backend.protocol if backend else route.fault_status} {' '.join(unlike)}"
    owner = route.owner
    readable = f"{owner.namespace}_{owner.name}_{backend.name if backend else 'none'}"
    made = Section(words.name(readable, owner.kind, meaning), owner, backend=backend)
    made.lines += _access(route, made, options)
    made.lines += _cors(route.cors)
    made.lines += _redirect(route.redirect, route.match.path)
    if backend is None:
        if route.redirect is None or route.redirect.only_path:
            made.lines.append(
                f"http-request return status {route.fault_status} content-type text/plain string 'no backend'"
            )
        made.lines += _edits(response=(route.response_headers,))
        return made
    made.lines += _edits((route.request_headers, weighted.request_headers))
    made.lines += _rewrite(route)
    made.lines += _mirrors(route, made, options)
    made.lines += _edits(response=(route.response_headers, weighted.response_headers))
    made.lines += _patience(route)
    if backend.affinity is not None:
        made.lines += _affinity(backend.affinity)
    made.server = server_options(backend, made, options)
    return made


def _mirrors(route: Route, made: Section, options: Options) -> Iterator[str]:
    """As the request is by now. A body has to be there before it can be copied (``mirror.lua``)."""
    if not route.mirrors:
        return
    yield f"http-request wait-for-body time {_BODY_SECONDS}s if {{ {_DECLARED_BYTES} gt 0 }}"
    copies = []
    for mirror in route.mirrors:
        alone = Route("", route.owner, backends=(Weighted(mirror.backend),))
        copy = section(alone, 0, options)
        copies.append(copy)
        some = f" if {{ rand({mirror.hundred}) lt {mirror.percent} }}" if mirror.percent < mirror.hundred else ""
        yield f"http-request lua.mirror {copy.name}{some}"
    made.copies = tuple(copies)


def _looks_at_path(route: Route) -> bool:
    ways = (route.rewrite, route.redirect)
    return any(way is not None and way.path is not None and way.path.kind != "full" for way in ways)


def _access(route: Route, made: Section, options: Options) -> Iterator[str]:
    access = route.access
    if access.denied_sources:
        yield f"acl denied_source src -f {_listed(made, options, access.denied_sources)}"
        yield "http-request deny deny_status 403 if denied_source"
    if access.sources:
        yield f"acl known_source src -f {_listed(made, options, access.sources)}"
        yield "http-request deny deny_status 403 unless known_source"
    rate = access.rate
    if rate is not None:
        exempt = ""
        if rate.allow:
            yield f"acl unlimited_source src -f {_listed(made, options, rate.allow)}"
            exempt = " !unlimited_source"
        yield "stick-table type ipv6 size 50k expire 60s store http_req_rate(1s),gpc0_rate(10s),gpc1_rate(60s),conn_cur"
        yield "http-request track-sc0 src"
        yield "http-request sc-inc-gpc0(0)"
        yield "http-request sc-inc-gpc1(0)"
        refuse = f"http-request deny deny_status {_denying(rate.status)} if {{ "
        if rate.per_second:
            yield f"{refuse}sc_http_req_rate(0) gt {rate.per_second * (1 + rate.burst)} }}{exempt}"
            yield f"{refuse}sc_gpc0_rate(0) gt {rate.per_second * (10 + rate.burst)} }}{exempt}"
        if rate.per_minute:
            yield f"{refuse}sc_gpc1_rate(0) gt {rate.per_minute * (1 + rate.burst)} }}{exempt}"
        if rate.connections:
            yield f"{refuse}sc_conn_cur(0) gt {rate.connections} }}{exempt}"
    if access.auth is not None:
        listed = words.name("users", repr(access.auth.users))
        made.users[listed] = list(access.auth.users)
        yield f"acl known_user http_auth({listed})"
        if any(secret.startswith(LUA_HASHES) for _, secret in access.auth.users):
            yield f"acl known_user lua.basic_auth({listed}) -m bool"
        yield f"http-request auth realm {words.word(access.auth.realm)} unless known_user"
        yield "http-request del-header Authorization"
    if access.body_bytes:
        yield f"http-request deny deny_status 413 if {{ {_DECLARED_BYTES} gt {access.body_bytes} }}"


def _denying(status: int) -> int:
    return status if status in (400, 401, 403, 404, 408, 410, 413, 425, 429, 500, 502, 503, 504) else 503


def _listed(made: Section, options: Options, ranges: tuple[str, ...]) -> str:
    name = f"{words.name('sources', *ranges)}.lst"
    made.files[name] = "".join(f"{ipaddress.ip_network(text, strict=False)}\n" for text in ranges)
    return f"{options.files}/{name}"


def _cors(cors: Cors | None) -> Iterator[str]:
    if cors is None:
        return
    yield "http-request set-var(txn.origin) req.hdr(origin)"
    exact = [origin for origin in cors.origins if "*" not in origin]
    anybody = "*" in cors.origins
    for origin in exact:
        yield f"acl known_origin var(txn.origin) -m str -i {words.pattern(origin)}"
    for origin in cors.origins:
        if "*" in origin and origin != "*":
            expression = "[^/]*".join(map(re.escape, origin.split("*")))
            yield f"acl known_origin var(txn.origin) -m reg -i {words.pattern(f'^{expression}$')}"
    if anybody:
        yield "acl known_origin var(txn.origin) -m found"
    # "*" may not stand beside credentials (Fetch standard): then the origin that asks is named.
    origin = "*" if anybody and not cors.credentials else "%[var(txn.origin)]"
    answers = [("Access-Control-Allow-Origin", origin)]
    if cors.credentials:
        answers.append(("Access-Control-Allow-Credentials", "true"))
    preflight = list(answers)
    for header, values in (
        ("Access-Control-Allow-Methods", cors.methods),
        ("Access-Control-Allow-Headers", cors.headers),
    ):
        if values:
            preflight.append((header, ", ".join(values)))
    if cors.max_age_seconds is not None:
        preflight.append(("Access-Control-Max-Age", str(cors.max_age_seconds)))
    if cors.exposed:
        answers.append(("Access-Control-Expose-Headers", ", ".join(cors.exposed)))
    headers = " ".join(f"hdr {header} {words.word(value)}" for header, value in preflight)
    yield "acl asks_first req.hdr(access-control-request-method) -m found"
    yield f"http-request return status 204 {headers} if METH_OPTIONS asks_first known_origin"
    for header, value in answers:
        yield f"http-response set-header {header} {words.word(value)} if known_origin"
    if origin != "*":
        yield "http-response add-header Vary Origin"


def _redirect(redirect: Redirect | None, matched: PathMatch) -> Iterator[str]:
    if redirect is None:
        return
    only = ""
    if redirect.only_path:
        yield f"acl redirected path -m str {words.pattern(redirect.only_path)}"
        only = " if redirected"
    if redirect.location:
        yield f"http-request redirect code {redirect.status} location {words.formatted(redirect.location)}{only}"
        return
    if redirect.path is not None:
        yield _replaced(redirect.path, matched) + only
    scheme = redirect.scheme or "%[var(txn.scheme)]"
    host = _percent(redirect.host) or "%[var(txn.host)]"
    rule = f"http-request redirect code {redirect.status} location "
    if redirect.port and not redirect.scheme and redirect.port in _USUAL.values():
        # Whether it has to be named, the listener knows.
        usual = next(scheme for scheme, port in _USUAL.items() if port == redirect.port)
        condition = f"{only or ' if'} {{ var(txn.scheme) -m str {usual} }}"
        yield f"{rule}{words.word(f'{scheme}://{host}%[pathq]')}{condition}"
    if redirect.port:
        port = "" if redirect.port == _USUAL.get(redirect.scheme) else f":{redirect.port}"
    else:
        port = "" if redirect.scheme or ":" in redirect.host else "%[var(txn.port)]"
    yield f"{rule}{words.word(f'{scheme}://{host}{port}%[pathq]')}{only}"


_USUAL = {"http": 80, "https": 443}


def _percent(text: str) -> str:
    return text.replace("%", "%%")


def _replaced(edit: PathEdit, matched: PathMatch) -> str:
    value = _percent(edit.value)
    if edit.kind == "full":
        return f"http-request set-path {words.word(value)}"
    if edit.kind == "captures":
        value = re.sub(r"\$([1-9])", r"\\\1", value)
        flag = "(?i)" if matched.ignore_case else ""
        expression = f"^(?:{matched.value}).*$" if matched.kind == "regex" else "^.*$"
        return f"http-request replace-path {words.word(words.LIMITED + flag + expression)} {words.word(value)}"
    prefix, instead = re.escape(prefix_key(matched).rstrip("/")), value.rstrip("/")
    if not instead:
        return f"http-request replace-path {words.word(f'^{prefix}/?(.*)$')} {words.word('/' + chr(92) + '1')}"
    return f"http-request replace-path {words.word(f'^{prefix}(.*)$')} {words.word(instead + chr(92) + '1')}"


def _rewrite(route: Route) -> Iterator[str]:
    rewrite = route.rewrite
    if rewrite is None:
        return
    if rewrite.path is not None:
        yield _replaced(rewrite.path, route.match.path)
    if rewrite.host:
        yield f"http-request set-header Host {words.formatted(rewrite.host)}"


def _edits(request: tuple[HeaderEdit, ...] = (), response: tuple[HeaderEdit, ...] = ()) -> Iterator[str]:
    for rules, edits in (("http-request", request), ("http-response", response)):
        # What the program answers itself (a redirect, "no backend") passes these alone.
        for edit in edits:
            for name in edit.remove:
                yield f"{rules} del-header {name}"
            for name, value in edit.set:
                yield f"{rules} set-header {name} {words.formatted(value)}"
            for name, value in edit.add:
                yield f"{rules} add-header {name} {words.formatted(value)}"


def _patience(route: Route) -> Iterator[str]:
    times = route.timeouts
    if times.connect is not None:
        yield f"timeout connect {words.milliseconds(times.connect)}"
    limits = [each for each in (times.request, times.backend_request, times.read, times.send) if each]
    if limits:
        yield f"timeout server {words.milliseconds(min(limits))}"
    elif 0 in (times.request, times.backend_request, times.read):
        yield f"timeout server {words.milliseconds(0)}"
    if times.read:
        yield f"timeout tunnel {words.milliseconds(max(times.read, 3600.0))}"
    if route.retries is not None:
        yield f"retries {max(0, min(route.retries.attempts, 10))}"
        if route.retries.statuses:
            statuses = " ".join(str(each) for each in sorted(set(route.retries.statuses)))
            yield f"retry-on conn-failure empty-response {statuses}"


def _affinity(cookie: Affinity) -> Iterator[str]:
    attributes = [f"Path={cookie.path}"]
    if cookie.max_age_seconds is not None:
        attributes.append(f"Max-Age={cookie.max_age_seconds}")
    if cookie.same_site:
        attributes.append(f"SameSite={cookie.same_site}")
    words_ = [f"cookie {cookie.cookie} insert indirect nocache httponly dynamic"]
    if cookie.secure:
        words_.append("secure")
    if cookie.domain:
        words_.append(f"domain {cookie.domain}")
    words_ += [f"attr {words.word(attribute)}" for attribute in attributes]
    yield " ".join(words_)
    yield "dynamic-cookie-key sampan"


def to_name(endpoint: Endpoint, options: Options, *, tcp: bool) -> Iterator[str]:
    """Where a host name leads is asked for with each request, of a resolver that remembers: never while the program
    starts, for somebody's slow names would hold everybody's changes. Whatever the name says, nobody gets at what
    listens on the node for the node alone."""
    rule = "tcp-request content" if tcp else "http-request"
    yield f"{rule} do-resolve(txn.away,cluster,ipv4) str({endpoint.address})"
    yield f"acl away_own var(txn.away) -m ip {' '.join((*_OWN, *options.own))}"
    refuse = f"{rule} reject" if tcp else f"{rule} deny deny_status 503"
    yield f"{refuse} if away_own or !{{ var(txn.away) -m found }}"
    yield f"{rule} set-dst var(txn.away)"
    yield f"{rule} set-dst-port int({endpoint.port})"


#: This host, loopback, link-local (clouds' metadata), groups; the same inside of IPv6.
_OWN = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/96", "::ffff:0:0/96", "fe80::/10", "ff00::/8")


def server_options(backend: Backend, made: Section, options: Options) -> str:
    """What stands behind the address of each of a section's servers."""
    found: list[str] = []
    if backend.protocol == "h2c":
        found.append("proto h2")
    elif backend.protocol in ("https", "h2"):
        tls = backend.tls
        found.append("ssl")
        if tls.ca or tls.system_ca:
            if tls.ca:
                name = f"{words.name('ca', tls.ca)}.pem"
                made.files[name] = tls.ca
                found.append(f"verify required ca-file {options.files}/{name}")
            else:
                found.append("verify required ca-file @system-ca")
            if tls.server_name:
                found.append(f"verifyhost {tls.server_name}")
        else:
            found.append("verify none")
        if tls.server_name:
            found.append(f"sni str({tls.server_name})")
        found.append("alpn h2" if backend.protocol == "h2" else "alpn http/1.1")
        if tls.client_pem:
            name = f"{words.name('client', tls.client_pem)}.pem"
            made.files[name] = tls.client_pem
            found.append(f"crt {options.files}/{name}")
    return " ".join(found)
