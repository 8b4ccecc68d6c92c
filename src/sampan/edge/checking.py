"""What of a plane cannot be had, by the object that asked for it; and the plane without it. Pure.

What anybody may write ends here: a route whose text no proxy could take safely (a line break in a header, an
expression that may take exponential time) is told of, and its neighbours stay. Its requests are answered with 503, so
that no other route takes them, for what is wrong may be who was to be let in. One whose path or conditions are wrong is
left out.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from sampan.edge.model import (
    Backend,
    HeaderEdit,
    Listener,
    Match,
    Owner,
    PathMatch,
    Plane,
    Route,
    TlsRoute,
    VirtualHost,
)
from sampan.records import dataclass

_HEADER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
_PARAMETER_NAME = _HEADER_NAME
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?", re.ASCII)
_METHOD = re.compile(r"[A-Z-]{1,32}", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9!#$&*+.^_|~-]{1,128}", re.ASCII)
#: What can be put into a header, or an address: all that prints, and spaces inside.
_PRINTING = re.compile(r"[\x20-\x7e\x80-\U0010ffff]*")
_PATH = re.compile(r"[\x21-\x7e\x80-\U0010ffff]*")
_LONGEST = 4096
_RETRIED = frozenset((401, 403, 404, 408, 425, 500, 501, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class Problem:
    owner: Owner
    text: str


def check(plane: Plane) -> tuple[Plane, list[Problem]]:
    """The plane without what cannot be had, and why."""
    problems: list[Problem] = []
    known: dict[int, Route | None] = {}
    listeners = tuple(_listener(listener, problems, known) for listener in plane.listeners)
    return Plane(listeners), problems


def _listener(listener: Listener, problems: list[Problem], known: dict[int, Route | None]) -> Listener:
    """``known``: what routes became, by their identity; listeners have most of them in common."""
    hosts = [
        VirtualHost(host.name, tuple(_possible(host.routes, problems, known)), host.deep)
        for host in listener.hosts
        if not host.name or _HOST.fullmatch(host.name)
    ]
    tls = tuple(route for route in listener.tls_routes if _fits(route, problems))
    certificates = tuple(
        dataclasses.replace(each, hosts=tuple(filter(_HOST.fullmatch, each.hosts))) if each.hosts else each
        for each in listener.certificates
        if not each.hosts or any(map(_HOST.fullmatch, each.hosts))
    )
    return dataclasses.replace(listener, hosts=tuple(hosts), tls_routes=tls, certificates=certificates)


def _possible(routes: Iterable[Route], problems: list[Problem], known: dict[int, Route | None]) -> Iterator[Route]:
    for route in routes:
        if id(route) not in known:
            instead = None
            if _fits(route, problems):
                instead = route
            elif next(_match(route.match), None) is None:
                instead = Route(route.name, route.owner, route.match, fault_status=503, age=route.age)
            known[id(route)] = instead
        found = known[id(route)]
        if found is not None:
            yield found


def _fits(route: Route | TlsRoute, problems: list[Problem]) -> bool:
    faults = _route(route) if isinstance(route, Route) else _tls_route(route)
    text = next(faults, "")
    if text and Problem(route.owner, text) not in problems[-8:]:
        problems.append(Problem(route.owner, text))
    return not text


def _tls_route(route: TlsRoute) -> Iterator[str]:
    if route.host and not _HOST.fullmatch(route.host):
        yield f"host {_shown(route.host)} is no host name"
    for share in route.backends:
        yield from _backend(share.backend)


def _route(route: Route) -> Iterator[str]:
    yield from _match(route.match)
    yield from _edit(route.request_headers)
    yield from _edit(route.response_headers)
    for share in route.backends:
        yield from _edit(share.request_headers)
        yield from _edit(share.response_headers)
        yield from _backend(share.backend)
        if not 0 <= share.weight <= 1_000_000:
            yield f"weight {share.weight} is not from 0 to 1000000"
    yield from _ways(route)
    yield from _access(route)
    if route.retries is not None:
        for status in route.retries.statuses:
            if status not in _RETRIED:
                yield f"answers of status {status} cannot be tried again"
    if not 200 <= route.fault_status <= 599:
        yield f"status {route.fault_status} cannot be answered"


def _match(match: Match) -> Iterator[str]:
    yield from _path(match.path)
    if match.method and not _METHOD.fullmatch(match.method):
        yield f"method {_shown(match.method)} is none"
    for what, wanted in (
        *(("header", each) for each in match.headers),
        *(("parameter", each) for each in match.queries),
        *(("cookie", each) for each in match.cookies),
    ):
        if not (_HEADER_NAME if what == "header" else _PARAMETER_NAME).fullmatch(wanted.name):
            yield f"{what} name {_shown(wanted.name)} is not letters, digits, dots, dashes and underscores"
        if wanted.kind == "regex":
            yield from expression_faults(wanted.value)
        elif not _printing(wanted.value):
            yield f"value {_shown(wanted.value)} of {what} {wanted.name} has characters that do not print"


def _path(path: PathMatch) -> Iterator[str]:
    if path.kind == "regex":
        yield from expression_faults(path.value)
        return
    if not path.value.startswith("/") or not _PATH.fullmatch(path.value) or len(path.value) > _LONGEST:
        yield f"path {_shown(path.value)} is none: it begins with / and has no spaces or control characters"


def expression_faults(text: str) -> Iterator[str]:
    """What is wrong with a regular expression of a user's; it must be one to RE2, and not repeat what repeats."""
    if len(text) > _LONGEST or not _printing(text):
        yield f"expression {_shown(text)} has characters that do not print, or is too long"
        return
    import re2  # late: few clusters have expressions

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(text, options)
    except re2.error:
        yield f"expression {_shown(text)} is not valid"
        return
    if _repeats_repetitions(text):
        yield f"expression {_shown(text)} repeats a repetition without bounds, which may take exponential time"


def _repeats_repetitions(text: str) -> bool:
    from re import _parser  # type: ignore[attr-defined]  # the standard library's own parser of expressions

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _nested(_parser.parse(text), inside=False)
    except (re.error, RecursionError, OverflowError):
        return True  # RE2's alone: nothing is known of it


def _nested(parsed: Any, *, inside: bool) -> bool:
    for item in parsed:
        operator, argument = item
        name = str(operator)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            _, most, body = argument
            unbounded = int(most) > 100
            if (unbounded and inside) or _nested(body, inside=inside or unbounded):
                return True
        inner: list[Any] = []
        if name == "SUBPATTERN":
            inner = [argument[-1]]
        elif name == "BRANCH":
            inner = list(argument[1])
        elif name in ("ASSERT", "ASSERT_NOT"):
            inner = [argument[1]]
        if any(_nested(each, inside=inside) for each in inner):
            return True
    return False


def _edit(edit: HeaderEdit) -> Iterator[str]:
    for name in (*(name for name, _ in (*edit.set, *edit.add)), *edit.remove):
        if not _HEADER_NAME.fullmatch(name):
            yield f"header name {_shown(name)} is not letters, digits, dots, dashes and underscores"
    for name, value in (*edit.set, *edit.add):
        if not _printing(value):
            yield f"value {_shown(value)} of header {name} has characters that do not print"


def _ways(route: Route) -> Iterator[str]:
    """Redirect, rewrite, mirrors, CORS."""
    redirect, rewrite = route.redirect, route.rewrite
    for what, text in (
        ("address", redirect.location if redirect else ""),
        ("path", redirect.path.value if redirect and redirect.path else ""),
        ("path", rewrite.path.value if rewrite and rewrite.path else ""),
        ("path", redirect.only_path if redirect else ""),
    ):
        if not _PATH.fullmatch(text) or "\\" in text or len(text) > _LONGEST:
            yield f"{what} {_shown(text)} has spaces, backslashes or characters that do not print"
    for host in (redirect.host if redirect else "", rewrite.host if rewrite else ""):
        if host and (not _HOST.fullmatch(host.partition(":")[0]) or not re.fullmatch(r"[^:]*(:\d{1,5})?", host)):
            yield f"host {_shown(host)} is no host name"
    if redirect and (redirect.scheme not in ("", "http", "https") or redirect.status not in (301, 302, 303, 307, 308)):
        yield f"a redirect by {_shown(redirect.scheme)} with status {redirect.status} cannot be made"
    for mirror in route.mirrors:
        yield from _backend(mirror.backend)
        if not 0 <= mirror.percent <= mirror.hundred or not 0 < mirror.hundred <= 1 << 30:
            yield f"{mirror.percent} of {mirror.hundred} requests cannot be mirrored"
    if route.cors is not None:
        words = (*route.cors.methods, *route.cors.headers, *route.cors.exposed)
        for text in words:
            if not _TOKEN.fullmatch(text):
                yield f"{_shown(text)} is no name of a header or method"
        for text in route.cors.origins:
            if not re.fullmatch(r"\*|[A-Za-z0-9:/._\-*\[\]]{1,256}", text, re.ASCII):
                yield f"{_shown(text)} is no origin"


def _access(route: Route) -> Iterator[str]:
    access = route.access
    rate_allows = access.rate.allow if access.rate else ()
    for text in (*access.sources, *access.denied_sources, *rate_allows):
        try:
            if "%" in text:  # a scope may be any text, with new lines too
                raise ValueError
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield f"{_shown(text)} is no range of addresses"
    if access.auth is not None:
        if not _printing(access.auth.realm) or '"' in access.auth.realm or len(access.auth.realm) > 256:
            yield f"realm {_shown(access.auth.realm)} has quotes or characters that do not print"
        for user, secret in access.auth.users:
            if not re.fullmatch(r"[^\s:\\\"'#]{1,128}", user) or not re.fullmatch(r"[!-~]{1,256}", secret):
                yield f"user {_shown(user)} cannot be known: a name has neither spaces nor quotes"


def _backend(backend: Backend | None) -> Iterator[str]:
    if backend is None:
        return
    for endpoint in backend.endpoints:
        if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,253}", endpoint.address) or not 0 < endpoint.port < 65536:
            yield f"endpoint {_shown(endpoint.address)} port {endpoint.port} of {backend.name} is none"
    if backend.tls.server_name and not _HOST.fullmatch(backend.tls.server_name):
        yield f"host {_shown(backend.tls.server_name)} is no host name"
    cookie = backend.affinity
    if cookie is None:
        return
    if not _HEADER_NAME.fullmatch(cookie.cookie):
        yield f"cookie name {_shown(cookie.cookie)} is not letters, digits, dots, dashes and underscores"
    for text in (cookie.path, cookie.domain, cookie.same_site):
        if not re.fullmatch(r"[A-Za-z0-9/._~-]{0,256}", text):
            yield f"{_shown(text)} cannot be an attribute of a cookie"


def _printing(text: str) -> bool:
    return len(text) <= _LONGEST and _PRINTING.fullmatch(text) is not None


def _shown(text: str) -> str:
    """In quotes, on one line, bounded."""
    shown = "".join(character if character.isprintable() else "?" for character in text[:80])
    return f'"{shown}"' + ("..." if len(text) > 80 else "")
