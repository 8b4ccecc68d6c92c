"""Users from request headers, on the word of a proxy whose certificate a CA of its own has signed (front proxy).

Two CAs sign certificates that this server takes, and each for one purpose: the clients' CA for who somebody is, the
front proxy's for who may say so. TLS verifies a certificate against both, so here it is told which of them signed.
Spec: k8s.io/apiserver request/headerrequest and request/x509.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from sampan.api.clock import Clock
from sampan.records import dataclass
from sampan.server.authn.x509 import for_clients
from sampan.server.config import ServerConfig
from sampan.server.identity import with_authenticated
from sampan.server.request import Request, UserInfo

_MOST_KNOWN: Final = 1024
_LONGEST_KNOWN: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontProxyConfig:
    """``--requestheader-*``. ``allowed_names``: common names of proxies; none: whatever the CA signed."""

    client_ca: Path
    allowed_names: tuple[str, ...] = ()
    username_headers: tuple[str, ...] = ("X-Remote-User",)
    uid_headers: tuple[str, ...] = ()
    group_headers: tuple[str, ...] = ("X-Remote-Group",)
    extra_prefixes: tuple[str, ...] = ("X-Remote-Extra-",)


def front_proxy(config: ServerConfig) -> FrontProxy | None:
    """None: nobody may say who asks. Raises OSError, ValueError."""
    if config.requestheader_client_ca is None:
        return None
    settings = FrontProxyConfig(
        client_ca=config.requestheader_client_ca,
        allowed_names=config.requestheader_allowed_names,
        username_headers=config.requestheader_username_headers,
        uid_headers=config.requestheader_uid_headers,
        group_headers=config.requestheader_group_headers,
        extra_prefixes=config.requestheader_extra_headers_prefix,
    )
    return FrontProxy(settings, config.client_ca, config.clock)


@dataclass(frozen=True, slots=True)
class _Known:
    """What a certificate is good for. ``proxy``: until when its word counts, from when."""

    client: bool
    proxy: tuple[datetime, datetime] | None


class FrontProxy:
    """Invariant: ``_known`` says of certificates that TLS has verified what they are good for, as the CA files were
    when they were read last."""

    def __init__(self, config: FrontProxyConfig, client_ca: Path | None, clock: Clock) -> None:
        """Raises OSError, ValueError."""
        self._config, self._client_ca, self._clock = config, client_ca, clock
        self._usernames = _lower(config.username_headers)
        self._uids = _lower(config.uid_headers)
        self._groups = _lower(config.group_headers)
        self._prefixes = _lower(config.extra_prefixes)
        self.reload()

    def reload(self) -> None:
        """Takes the CA files as they are now. Raises OSError, ValueError, and then keeps what it had."""
        proxies = x509.load_pem_x509_certificates(self._config.client_ca.read_bytes())
        clients = x509.load_pem_x509_certificates(self._client_ca.read_bytes()) if self._client_ca is not None else []
        self._proxies, self._clients = proxies, clients
        self._known: dict[bytes, _Known] = {}

    def published(self) -> dict[str, str]:
        """What extension API servers are told, so that they believe the same proxies: their ConfigMap's keys."""
        config = self._config
        lists = {
            "requestheader-allowed-names": config.allowed_names,
            "requestheader-username-headers": config.username_headers,
            "requestheader-uid-headers": config.uid_headers,
            "requestheader-group-headers": config.group_headers,
            "requestheader-extra-headers-prefix": config.extra_prefixes,
        }
        if not config.uid_headers:
            del lists["requestheader-uid-headers"]
        encoded = {key: orjson.dumps(names).decode() for key, names in lists.items()}
        return {"requestheader-client-ca-file": config.client_ca.read_text(), **encoded}

    def is_plain_client_now(self, request: Request, der: bytes) -> bool:
        """The certificate is known to be a client's own, and nobody claims to ask for somebody else."""
        known = self._known.get(der)
        return known is not None and known.client and not any(name in request.headers for name in self._usernames)

    def is_client(self, der: bytes) -> bool:
        """Whether the certificate may say who somebody is."""
        return self._look_at(der).client

    def authenticate(self, request: Request, der: bytes) -> UserInfo | None:
        """Whom the headers name; None: nobody, or the certificate has no say in that."""
        proxy = self._look_at(der).proxy
        if proxy is None or not proxy[0] <= self._clock.now() <= proxy[1]:
            return None
        name = _first(request, self._usernames)
        if not name:
            return None
        groups = tuple(value for header in self._groups for value in request.header_values(header))
        extra = {
            unquote(header.removeprefix(prefix)): tuple(request.header_values(header))
            for prefix in self._prefixes
            for header in request.headers
            if header.startswith(prefix) and header != prefix
        }
        return with_authenticated(UserInfo(name, groups, _first(request, self._uids), extra))

    def drop_headers(self, request: Request) -> None:
        """Nobody behind authentication sees what only the proxy may say."""
        names = {*self._usernames, *self._uids, *self._groups}
        if names.isdisjoint(request.headers) and not any(h.startswith(self._prefixes) for h in request.headers):
            return
        dropped: Callable[[str], bool] = lambda name: name in names or name.startswith(self._prefixes)  # noqa: E731
        request.keep_headers(lambda name, value: None if dropped(name) else value)

    def _look_at(self, der: bytes) -> _Known:
        found = self._known.get(der)
        if found is None:
            found = self._judge(der)
            if len(der) <= _LONGEST_KNOWN:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[der] = found
        return found

    def _judge(self, der: bytes) -> _Known:
        try:
            certificate = x509.load_der_x509_certificate(der)
        except ValueError:  # stricter than the TLS library that let it pass
            return _Known(False, None)
        by_proxies = _signed_by(certificate, self._proxies)
        # Below a CA that may have none below it everything else that TLS has verified is the other CA's.
        others = not by_proxies and all(_signs_leaves_only(authority) for authority in self._proxies)
        client = _signed_by(certificate, self._clients) or (others and bool(self._clients))
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        allowed = self._config.allowed_names
        good = by_proxies and for_clients(certificate)
        if good and allowed:
            good = bool(names) and str(names[0].value) in allowed
        valid = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return _Known(client, valid if good else None)


def _lower(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


def _first(request: Request, names: Sequence[str]) -> str:
    return next((value for name in names for value in request.header_values(name) if value), "")


def _signed_by(certificate: x509.Certificate, authorities: Sequence[x509.Certificate]) -> bool:
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def _signs_leaves_only(authority: x509.Certificate) -> bool:
    try:
        return authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    except (x509.ExtensionNotFound, ValueError):
        return False
