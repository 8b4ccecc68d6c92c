"""One Ingress as values: its rules as routes, its certificates, its faults. Pure.

``Look`` gives what it refers to, and remembers what was asked for: an Ingress is read again when one of those changes,
and Secrets are followed by these names alone.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Literal

from sampan.api.reading import part, parts, text, text_map, texts
from sampan.api.types import Obj
from sampan.edge import certificates
from sampan.edge.certificates import BadCertificate
from sampan.edge.ingress import wishes as wishing
from sampan.edge.ingress.wishes import Canary, Wishes
from sampan.edge.model import (
    Access,
    Affinity,
    Backend,
    BackendTls,
    BasicAuth,
    Certificate,
    Endpoint,
    HeaderEdit,
    Match,
    Owner,
    PathEdit,
    PathMatch,
    Redirect,
    Retries,
    Rewrite,
    Route,
    TlsRoute,
    Weighted,
)
from sampan.edge.services import endpoints_of, is_external, is_own, port_of
from sampan.records import dataclass

#: Of one Ingress: aliases times paths are quickly more than anybody's memory.
MOST_RULES = 2_000
#: Of a Secret that was not asked for yet: whatever needs it comes when it is there.
Unknown = Literal["unknown"]


@dataclass(slots=True)
class Look:
    """What the cluster has, by namespace and name. ``secrets``, ``services``: what was asked for."""

    service: Callable[[str, str], Obj | None]
    slices: Callable[[str, str], Sequence[Obj]]
    secret: Callable[[str, str], Obj | Unknown | None]
    services_asked: set[tuple[str, str]] = field(default_factory=set)
    secrets_asked: set[tuple[str, str]] = field(default_factory=set)

    def at_service(self, namespace: str, name: str) -> Obj | None:
        self.services_asked.add((namespace, name))
        return self.service(namespace, name)

    def at_secret(self, namespace: str, name: str) -> Obj | Unknown | None:
        self.secrets_asked.add((namespace, name))
        return self.secret(namespace, name)


@dataclass(frozen=True, slots=True)
class Ruled:
    """A route of a host. ``default``: for what no path of the host takes. ``more``: routes beside it, of a canary."""

    host: str
    route: Route
    default: bool = False
    to_https: bool = True
    force_https: bool = False
    canary: Canary | None = None
    passthrough: TlsRoute | None = None
    more: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """``faults``: reasons and messages of Events. ``age`` sorts the oldest first."""

    owner: Owner
    age: tuple[str, str, str]
    rules: tuple[Ruled, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()


def read(ingress: Obj, look: Look) -> Read:
    reader = _Reader(ingress, look)
    rules = tuple(reader.rules())
    found = tuple(reader.certificates())
    return Read(reader.owner, reader.age, rules, found, tuple(dict.fromkeys(reader.faults)))


def owner_of(ingress: Obj) -> Owner:
    meta = ingress["metadata"]
    return Owner("networking.k8s.io/v1", "Ingress", meta.get("namespace", ""), meta["name"], meta.get("uid", ""))


class _Reader:
    def __init__(self, ingress: Obj, look: Look) -> None:
        meta = ingress["metadata"]
        self.owner = owner_of(ingress)
        self.namespace: str = self.owner.namespace
        self.age = (text(meta, "creationTimestamp"), self.namespace, self.owner.name)
        self.faults: list[tuple[str, str]] = []
        self._spec = part(ingress, "spec")
        self._look = look
        self._wishes = wishing.read(text_map(meta, "annotations"))
        self.faults += [("AnnotationRefused", fault) for fault in self._wishes.faults]
        self._access = self._guard()
        self._backends: dict[str, Backend | None] = {}
        self._number = 0

    def fault(self, reason: str, message: str) -> None:
        self.faults.append((reason, message))

    # Rules

    def rules(self) -> list[Ruled]:
        found: list[Ruled] = []
        rules = parts(self._spec, "rules")
        default = self._spec.get("defaultBackend")
        hosts: list[str] = []
        for rule in rules:
            host = text(rule, "host").lower()
            names = [host, *(self._wishes.aliases if host else ())]
            hosts += names[: max(0, MOST_RULES - len(hosts))]
            for path, name in itertools.product(parts(part(rule, "http"), "paths"), names):
                if len(found) >= MOST_RULES:
                    break
                found += self._path(name, path)
        if len(found) >= MOST_RULES:
            self.fault("TooManyRules", f"of its hosts (aliases too) and paths the first {MOST_RULES} are served")
        if isinstance(default, dict):
            route = self._route(PathMatch("prefix", "/"), default)
            names = list(dict.fromkeys((*hosts, "")))[-MOST_RULES:]
            found += [self._ruled(host, route, default=True) for host in names]
        return found

    def _path(self, host: str, value: Obj) -> list[Ruled]:
        match = self._path_match(value)
        backend = part(value, "backend")
        if self._wishes.ssl_passthrough and host:
            backends = self._shares(backend)
            name = f"{self.namespace}/{self.owner.name}/{host}"
            route = Route(name, self.owner, Match(match), backends)
            return [Ruled(host, route, passthrough=TlsRoute(name, self.owner, host, backends))]
        found = [self._ruled(host, self._route(match, backend))]
        if self._wishes.app_root and match.value == "/" and not self._wishes.redirect:
            # nginx asks before it looks for a path: only "/" itself leads on.
            root = Redirect(302, location=self._wishes.app_root)
            route = Route(self._name(), self.owner, Match(PathMatch("exact", "/")), redirect=root, age=self._age())
            found.append(self._ruled(host, route))
        if self._wishes.www_redirect and host and "*" not in host:
            other = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
            route = Route(self._name(), self.owner, redirect=Redirect(308, host=host), age=self._age())
            if match.value == "/":
                found.append(self._ruled(other, route))
        return found

    def _path_match(self, value: Obj) -> PathMatch:
        path, kind = text(value, "path") or "/", text(value, "pathType")
        if self._wishes.use_regex or ("$" in self._wishes.rewrite and kind != "Exact"):
            return PathMatch("regex", path, ignore_case=True)
        if kind == "Exact":
            return PathMatch("exact", path)
        return PathMatch("prefix" if kind == "Prefix" else "begins", path)

    def _ruled(self, host: str, route: Route, *, default: bool = False) -> Ruled:
        wishes = self._wishes
        return Ruled(host, route, default, wishes.ssl_redirect, wishes.force_ssl_redirect, wishes.canary)

    def _name(self) -> str:
        self._number += 1
        return f"{self.namespace}/{self.owner.name}/{self._number}"

    def _age(self) -> tuple[str, str, int]:
        return self.age[0], f"{self.namespace}/{self.owner.name}", self._number

    def _route(self, match: PathMatch, backend: Obj) -> Route:
        wishes = self._wishes
        name = self._name()
        if wishes.closed:
            return Route(name, self.owner, Match(match), fault_status=503, age=self._age())
        redirect = Redirect(wishes.redirect_status, location=wishes.redirect) if wishes.redirect else None
        rewrite = _rewrite(wishes, match)
        headers = (("X-Forwarded-Prefix", wishes.forwarded_prefix),) if wishes.forwarded_prefix else ()
        return Route(
            name,
            self.owner,
            Match(match),
            () if redirect else self._shares(backend),
            redirect=redirect,
            rewrite=rewrite,
            request_headers=HeaderEdit(set=headers),
            cors=wishes.cors,
            access=self._access,
            timeouts=wishes.timeouts,
            retries=Retries(wishes.tries) if wishes.tries is not None else None,
            age=self._age(),
        )

    # Back ends

    def _shares(self, backend: Obj) -> tuple[Weighted, ...]:
        if backend.get("resource") is not None:
            resource = part(backend, "resource")
            shown = f"{text(resource, 'kind')} {text(resource, 'name')}"
            self.fault("ResourceBackend", f"a resource as a back end ({shown}) cannot be served; only a Service can")
            return ()
        service = part(backend, "service")
        port = part(service, "port")
        wanted: str | int = text(port, "name") or port.get("number") or 0
        found = self._backend(text(service, "name"), wanted)
        return (Weighted(found),) if found is not None else ()

    def _backend(self, name: str, wanted: str | int) -> Backend | None:
        label = f"{self.namespace}/{name}:{wanted}"
        if label not in self._backends:
            self._backends[label] = self._new_backend(label, name, wanted)
        return self._backends[label]

    def _new_backend(self, label: str, name: str, wanted: str | int) -> Backend | None:
        service = self._look.at_service(self.namespace, name)
        if service is None:
            self.fault(
                "ServiceNotFound", f"there is no Service {self.namespace}/{name}; its paths are answered with 503"
            )
            return None
        port = port_of(service, wanted)
        if port is None:
            self.fault("PortNotFound", f"Service {self.namespace}/{name} has no port {wanted}")
            return None
        if is_external(service) and is_own(service):
            self.fault(
                "ServiceRefused", f"Service {self.namespace}/{name} leads to the node itself, by its external name"
            )
        wishes = self._wishes
        endpoints: tuple[Endpoint, ...] = ()
        if wishes.by_service and not is_external(service):
            address = text(part(service, "spec"), "clusterIP")
            label += "@service"  # its endpoints come and go unseen
            endpoints = (Endpoint(address, port.number),) if address not in ("", "None") else ()
        else:
            endpoints = endpoints_of(service, self._look.slices(self.namespace, name), port)
        protocol = wishes.protocol or _APP_PROTOCOLS.get(port.protocol.lower(), "http")
        cookie = wishes.cookie
        affinity = None
        if cookie is not None:
            affinity = Affinity(
                cookie.name, cookie.path or "/", cookie.domain, cookie.max_age_seconds, cookie.secure, cookie.same_site
            )
        return Backend(label, endpoints, protocol, self._backend_tls(protocol), affinity)  # type: ignore[arg-type]

    def _backend_tls(self, protocol: str) -> BackendTls:
        wishes = self._wishes
        if protocol not in ("https", "h2"):
            return BackendTls()
        client, authority = "", ""
        if wishes.tls_secret:
            namespace, name = self._named(wishes.tls_secret)
            secret = self._secret(namespace, name)
            if secret is not None:
                try:
                    client = "".join(certificates.pair(secret))
                    authority = certificates.authorities(secret) if wishes.tls_verify else ""
                except BadCertificate as error:
                    self.fault("SecretRefused", f"Secret {namespace}/{name} {error}")
        return BackendTls(wishes.tls_name, authority, wishes.tls_verify and not authority, client)

    # Secrets

    def _named(self, name: str) -> tuple[str, str]:
        """ "namespace/name" of an annotation; another namespace's Secret is nobody's here."""
        namespace, separator, rest = name.rpartition("/")
        return (namespace, rest) if separator else (self.namespace, name)

    def _secret(self, namespace: str, name: str) -> Obj | None:
        if namespace != self.namespace:
            self.fault("SecretRefused", f"Secret {namespace}/{name} is in another namespace")
            return None
        found = self._look.at_secret(namespace, name)
        if found is None:
            self.fault("SecretNotFound", f"there is no Secret {namespace}/{name}")
        return found if isinstance(found, dict) else None

    def _guard(self) -> Access:
        wishes = self._wishes
        auth = None
        if wishes.auth is not None:
            auth = BasicAuth(wishes.auth.realm or "Authentication Required", self._users(wishes.auth))
        return Access(wishes.sources, wishes.denied_sources, auth, wishes.rate, wishes.body_bytes)

    def _users(self, auth: wishing.Auth) -> tuple[tuple[str, str], ...]:
        namespace, name = self._named(auth.secret)
        secret = self._secret(namespace, name)
        if secret is None:
            return ()
        found: dict[str, str] = {}
        try:
            if auth.by_key:
                found = {user: certificates.value(secret, user).strip() for user in part(secret, "data")}
            else:
                lines = certificates.value(secret, "auth").splitlines()
                found = dict(line.strip().split(":", 1) for line in lines if ":" in line and line[:1] != "#")
        except BadCertificate as error:
            self.fault("SecretRefused", f"Secret {namespace}/{name} {error}")
        usable = {user: secret for user, secret in found.items() if _is_cheap_hash(secret) and _USER.fullmatch(user)}
        for user in sorted(found.keys() - usable.keys()):
            shown = user if user.isprintable() else "one"
            self.fault(
                "SecretRefused",
                f"user {shown[:80]} of Secret {namespace}/{name} has no hash that htpasswd would make, "
                f"or one that takes too long (bcrypt above cost {_MOST_COST}, SHA above {_MOST_ROUNDS} rounds)",
            )
        return tuple(sorted(usable.items()))

    def certificates(self) -> list[Certificate]:
        found: list[Certificate] = []
        hosts = [text(rule, "host").lower() for rule in parts(self._spec, "rules")]
        for tls in parts(self._spec, "tls"):
            name = text(tls, "secretName")
            if not name or self._wishes.ssl_passthrough:
                continue
            names = tuple(host.lower() for host in texts(tls, "hosts")) or tuple(filter(None, hosts))
            secret = self._look.at_secret(self.namespace, name)
            if isinstance(secret, str):
                continue
            if secret is None:
                text_ = f"there is no Secret {self.namespace}/{name}; the default certificate is shown"
                self.fault("SecretNotFound", text_)
                continue
            try:
                chain, key = certificates.pair(secret)
            except BadCertificate as error:
                self.fault("SecretRefused", f"Secret {self.namespace}/{name} {error}; the default certificate is shown")
                continue
            found.append(Certificate(f"{self.namespace}/{name}", chain, key, tuple(dict.fromkeys(names))))
        return found


_APP_PROTOCOLS = {"kubernetes.io/h2c": "h2c", "grpc": "h2c", "https": "https"}
_USER = re.compile(r"[^\s:\\\"'#]{1,128}")
#: MD5 of Apache and of crypt, SHA-1, bcrypt, SHA-256 and SHA-512, with what they cost
_HASH = re.compile(
    r"\$(?:apr1|1)\$[!-#%-~]{0,8}\$[./0-9A-Za-z]{22}"
    r"|\{SHA\}[+/0-9A-Za-z]{27}="
    r"|\$2[aby]\$(?P<cost>\d\d)\$[./0-9A-Za-z]{53}"
    r"|\$[56]\$(?:rounds=(?P<rounds>\d{1,9})\$)?[!-#%-~]{0,16}\$(?:[./0-9A-Za-z]{43}|[./0-9A-Za-z]{86})",
    re.ASCII,
)
#: A thread of the proxy reckons for so long at each request, and everybody's connections wait: about 0.2 s.
_MOST_COST, _MOST_ROUNDS = 12, 100_000


def _is_cheap_hash(text: str) -> bool:
    found = _HASH.fullmatch(text)
    return found is not None and int(found["cost"] or 0) <= _MOST_COST and int(found["rounds"] or 0) <= _MOST_ROUNDS


def _rewrite(wishes: Wishes, match: PathMatch) -> Rewrite | None:
    path = None
    if wishes.rewrite:
        path = PathEdit("captures" if match.kind == "regex" else "full", wishes.rewrite)
    return Rewrite(wishes.upstream_host, path) if path is not None or wishes.upstream_host else None
