"""What the annotations of an Ingress ask for: those of ingress-nginx that people use. Pure.

Nothing is passed on unread. What is known and wrong, and what is not known, becomes a fault (``Wishes.faults``), told
by an Event; where it was to keep people out, the Ingress keeps everybody out (``Wishes.closed``) instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, TypeVar

from sampan.edge.model import Cors, Rate, Timeouts
from sampan.records import dataclass

PREFIX = "nginx.ingress.kubernetes.io/"

_SIZE = re.compile(r"(\d{1,12})([kKmMgG]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
#: the program takes no number beyond 2**63 - 1, and no longer bodies either
_MOST_BYTES = 10**18
_SECONDS = re.compile(r"(\d{1,7})(ms|s|m|h)?")
_SECOND_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PROTOCOLS = {"HTTP": "http", "AUTO_HTTP": "http", "HTTPS": "https", "GRPC": "h2c", "GRPCS": "h2"}

#: They tune buffers and connections of nginx, and change no answer.
_WITHOUT_EFFECT = frozenset({
    "affinity-canary-behavior", "affinity-mode", "client-body-buffer-size", "connection-proxy-header", "disable-lua",
    "enable-access-log", "enable-rewrite-log", "http2-push-preload", "preserve-trailing-slash", "proxy-buffer-size",
    "proxy-buffering", "proxy-buffers-number", "proxy-busy-buffers-size", "proxy-http-version",
    "proxy-max-temp-file-size", "proxy-next-upstream", "proxy-next-upstream-timeout", "proxy-request-buffering",
    "session-cookie-change-on-failure", "session-cookie-conditional-samesite-none", "session-cookie-expires",
    "ssl-ciphers", "ssl-prefer-server-ciphers",
})  # fmt: skip
#: They keep people out in a way that is not known here.
_GUARDS = frozenset({
    "auth-url", "auth-tls-secret", "auth-tls-verify-client", "auth-tls-match-cn", "auth-signin", "auth-snippet",
    "enable-modsecurity", "enable-owasp-core-rules", "modsecurity-snippet", "enable-global-auth", "satisfy",
})  # fmt: skip
_SNIPPETS = frozenset({
    "configuration-snippet", "server-snippet", "stream-snippet", "auth-snippet", "modsecurity-snippet",
})  # fmt: skip

_NONE: tuple[str, ...] = ()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Canary:
    header: str = ""
    header_value: str = ""
    header_pattern: str = ""
    cookie: str = ""
    weight: int = 0
    total: int = 100


@dataclass(frozen=True, slots=True)
class Cookie:
    name: str = "INGRESSCOOKIE"
    path: str = ""
    domain: str = ""
    max_age_seconds: int | None = None
    secure: bool = False
    same_site: str = ""


@dataclass(frozen=True, slots=True)
class Auth:
    secret: str
    realm: str = ""
    #: names and hashes are the keys and values of the Secret, instead of the lines of its "auth"
    by_key: bool = False


@dataclass(slots=True)
class Wishes:
    faults: list[str] = field(default_factory=list)
    closed: bool = False
    rewrite: str = ""
    use_regex: bool = False
    ssl_redirect: bool = True
    force_ssl_redirect: bool = False
    ssl_passthrough: bool = False
    body_bytes: int = 0
    timeouts: Timeouts = Timeouts()
    tries: int | None = None
    redirect: str = ""
    redirect_status: int = 301
    app_root: str = ""
    auth: Auth | None = None
    rate: Rate | None = None
    sources: tuple[str, ...] = ()
    denied_sources: tuple[str, ...] = ()
    canary: Canary | None = None
    #: "": as the Service's port says
    protocol: str = ""
    cookie: Cookie | None = None
    cors: Cors | None = None
    aliases: tuple[str, ...] = ()
    upstream_host: str = ""
    forwarded_prefix: str = ""
    www_redirect: bool = False
    #: the Service's own address instead of its endpoints
    by_service: bool = False
    tls_name: str = ""
    tls_secret: str = ""
    tls_verify: bool = False


class _Reader:
    def __init__(self, annotations: Mapping[str, Any], wishes: Wishes) -> None:
        self._left = {
            key.removeprefix(PREFIX): value.strip()
            for key, value in annotations.items()
            if key.startswith(PREFIX) and isinstance(value, str)
        }
        self._wishes = wishes

    def take(self, name: str, parse: Callable[[str], T], default: T, *, guards: bool = False) -> T:
        """``guards``: what cannot be read keeps everybody out."""
        text = self._left.pop(name, "")
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self._wishes.faults.append(f"annotation {PREFIX}{name}: {error}")
            self._wishes.closed |= guards
            return default

    def text(self, name: str) -> str:
        return self.take(name, str, "")

    def finish(self) -> None:
        for name in sorted(self._left):
            if name in _WITHOUT_EFFECT:
                continue
            if name in _SNIPPETS:
                text = "is refused: nobody may write the proxy's configuration"
            else:
                text = "is not known here"
            if name in _GUARDS:
                self._wishes.closed = True
                text += "; as it is to keep people out, all requests are answered with 503"
            self._wishes.faults.append(f"annotation {PREFIX}{name} {text}")


def read(annotations: Mapping[str, Any]) -> Wishes:
    wishes = Wishes()
    if not any(key.startswith(PREFIX) for key in annotations):
        return wishes
    reader = _Reader(annotations, wishes)
    _paths(reader, wishes)
    _guards(reader, wishes)
    _service(reader, wishes)
    wishes.cors = _cors(reader)
    wishes.canary = _canary(reader)
    reader.finish()
    return wishes


def _paths(reader: _Reader, wishes: Wishes) -> None:
    wishes.rewrite = reader.text("rewrite-target")
    wishes.use_regex = reader.take("use-regex", _flag, False)
    wishes.ssl_redirect = reader.take("ssl-redirect", _flag, True)
    wishes.force_ssl_redirect = reader.take("force-ssl-redirect", _flag, False)
    wishes.ssl_passthrough = reader.take("ssl-passthrough", _flag, False)
    wishes.app_root = reader.take("app-root", _absolute, "")
    temporal = reader.take("temporal-redirect", _address, "")
    permanent = reader.take("permanent-redirect", _address, "")
    temporal_status = reader.take("temporal-redirect-code", _redirect_status, 302)
    permanent_status = reader.take("permanent-redirect-code", _redirect_status, 301)
    wishes.redirect = temporal or permanent
    wishes.redirect_status = temporal_status if temporal else permanent_status
    wishes.aliases = reader.take("server-alias", _words, _NONE)
    wishes.www_redirect = reader.take("from-to-www-redirect", _flag, False)


def _guards(reader: _Reader, wishes: Wishes) -> None:
    wishes.body_bytes = reader.take("proxy-body-size", _size, 0)
    if wishes.body_bytes:
        wishes.faults.append(
            f"annotation {PREFIX}proxy-body-size limits bodies that declare their length; one sent in chunks, or by "
            "HTTP/2 without a length, is not limited"
        )
    allowed = reader.take("whitelist-source-range", _words, _NONE, guards=True)
    wishes.sources = reader.take("allowlist-source-range", _words, allowed, guards=True)
    wishes.denied_sources = reader.take("denylist-source-range", _words, _NONE, guards=True)
    second = reader.take("limit-rps", _count, 0)
    minute = reader.take("limit-rpm", _count, 0)
    connections = reader.take("limit-connections", _count, 0)
    burst = reader.take("limit-burst-multiplier", _count, 5)
    spared = reader.take("limit-whitelist", _words, _NONE)
    spared = reader.take("limit-allowlist", _words, spared)
    if second or minute or connections:
        wishes.rate = Rate(second, minute, connections, burst, spared)
    kind = reader.text("auth-type")
    secret, realm, form = reader.text("auth-secret"), reader.text("auth-realm"), reader.text("auth-secret-type")
    if kind == "basic" and secret:
        wishes.auth = Auth(secret, realm, by_key=form == "auth-map")
    elif kind or secret:
        wishes.closed = True
        wishes.faults.append(
            f"annotation {PREFIX}auth-type: only basic is known, and it needs auth-secret; "
            "all requests are answered with 503"
        )


def _service(reader: _Reader, wishes: Wishes) -> None:
    wishes.timeouts = Timeouts(
        connect=reader.take("proxy-connect-timeout", _seconds, None),
        read=reader.take("proxy-read-timeout", _seconds, None),
        send=reader.take("proxy-send-timeout", _seconds, None),
    )
    wishes.tries = reader.take("proxy-next-upstream-tries", _tries, None)
    wishes.protocol = reader.take("backend-protocol", _protocol, "")
    wishes.upstream_host = reader.text("upstream-vhost")
    wishes.forwarded_prefix = reader.text("x-forwarded-prefix")
    wishes.by_service = reader.take("service-upstream", _flag, False)
    wishes.tls_secret = reader.text("proxy-ssl-secret")
    wishes.tls_verify = reader.take("proxy-ssl-verify", _on, False)
    name, shown = reader.text("proxy-ssl-name"), reader.take("proxy-ssl-server-name", _on, False)
    wishes.tls_name = name if shown or wishes.tls_verify else ""
    kind = reader.text("affinity")
    cookie = Cookie(
        name=reader.text("session-cookie-name") or Cookie().name,
        path=reader.text("session-cookie-path"),
        domain=reader.text("session-cookie-domain"),
        max_age_seconds=reader.take("session-cookie-max-age", _optional_count, None),
        secure=reader.take("session-cookie-secure", _flag, False),
        same_site=reader.text("session-cookie-samesite"),
    )
    if kind == "cookie":
        wishes.cookie = cookie
    elif kind:
        wishes.faults.append(f"annotation {PREFIX}affinity: only cookie is known")


def _cors(reader: _Reader) -> Cors | None:
    wanted = reader.take("enable-cors", _flag, False)
    cors = Cors(
        origins=reader.take("cors-allow-origin", _words, ("*",)),
        methods=reader.take("cors-allow-methods", _words, ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS")),
        headers=reader.take("cors-allow-headers", _words, _CORS_HEADERS),
        exposed=reader.take("cors-expose-headers", _words, _NONE),
        credentials=reader.take("cors-allow-credentials", _flag, True),
        max_age_seconds=reader.take("cors-max-age", _count, 1728000),
    )
    return cors if wanted else None


_CORS_HEADERS = (
    "DNT", "Keep-Alive", "User-Agent", "X-Requested-With", "If-Modified-Since", "Cache-Control", "Content-Type",
    "Range", "Authorization",
)  # fmt: skip


def _canary(reader: _Reader) -> Canary | None:
    wanted = reader.take("canary", _flag, False)
    canary = Canary(
        header=reader.text("canary-by-header"),
        header_value=reader.text("canary-by-header-value"),
        header_pattern=reader.text("canary-by-header-pattern"),
        cookie=reader.text("canary-by-cookie"),
        weight=reader.take("canary-weight", _count, 0),
        total=max(1, reader.take("canary-weight-total", _count, 100)),
    )
    return canary if wanted else None


# Values: ValueError says what is expected


def _flag(text: str) -> bool:
    if text.lower() in ("true", "1", "t"):
        return True
    if text.lower() in ("false", "0", "f"):
        return False
    raise ValueError("true or false is expected")


def _on(text: str) -> bool:
    return text.lower() == "on" or (text.lower() != "off" and _flag(text))


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError("a whole number is expected")
    return int(text)


def _optional_count(text: str) -> int | None:
    return _count(text)


def _tries(text: str) -> int | None:
    return max(0, _count(text) - 1)


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError("a size such as 8m is expected")
    return min(int(found[1]) * _UNITS[found[2].lower()], _MOST_BYTES)


def _seconds(text: str) -> float | None:
    found = _SECONDS.fullmatch(text)
    if found is None:
        raise ValueError("a number of seconds is expected")
    return int(found[1]) * _SECOND_UNITS[found[2] or "s"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (word.strip() for word in text.split(","))))


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("a path that begins with / is expected")
    return text


def _address(text: str) -> str:
    if not re.match(r"(https?://|/)", text):
        raise ValueError("an address that begins with http://, https:// or / is expected")
    return text


def _redirect_status(text: str) -> int:
    status = _count(text)
    if status not in (301, 302, 303, 307, 308):
        raise ValueError("301, 302, 303, 307 or 308 is expected")
    return status


def _protocol(text: str) -> str:
    if text.upper() not in _PROTOCOLS:
        raise ValueError(f"one of {', '.join(sorted(_PROTOCOLS))} is expected")
    return _PROTOCOLS[text.upper()]
