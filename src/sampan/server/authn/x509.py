"""Users from client certificates: CN is the name, each O a group (upstream: CommonNameUserConversion).

The TLS layer has verified the chain; validity in time is checked again here on every request, because a connection may
outlive its certificate.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sampan.api.clock import Clock
from sampan.api.errors import Unauthorized
from sampan.server.identity import with_authenticated
from sampan.server.request import UserInfo

CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
_CACHE_BYTES = 4 * 1024 * 1024
_LONGEST_REMEMBERED = 64 * 1024
_ENTRY_BYTES = 1500  # name, groups and dates

_Parsed = tuple[UserInfo | None, datetime, datetime]


class CertificateAuthenticator:
    """Invariant: ``_parsed`` maps DER to what ``parse_certificate`` says of it, at most ``_CACHE_BYTES`` of it.

    A connection shows the same bytes with each request, so finding them again costs no hash and no comparison.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parsed: dict[bytes, _Parsed] = {}
        self._bytes = 0

    def authenticate_now(self, der: bytes) -> UserInfo | None:
        """Whom the certificate names; None: nobody. Raises Unauthorized."""
        parsed = self._parsed.get(der)
        if parsed is None:
            parsed = parse_certificate(der)
            self._remember(der, parsed)
        user, not_before, not_after = parsed
        if not not_before <= self._clock.now() <= not_after:
            raise Unauthorized("Unauthorized")
        return user

    def _remember(self, der: bytes, parsed: _Parsed) -> None:
        if len(der) > _LONGEST_REMEMBERED:
            return
        self._parsed[der] = parsed
        self._bytes += len(der) + _ENTRY_BYTES
        while self._bytes > _CACHE_BYTES:
            oldest = next(iter(self._parsed))
            del self._parsed[oldest]
            self._bytes -= len(oldest) + _ENTRY_BYTES


def parse_certificate(der: bytes) -> _Parsed:
    """Who the certificate names (None: nobody, or it is not meant for clients) and when it is valid.

    Raises Unauthorized.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
    except ValueError as error:  # stricter than the TLS library that let it pass
        raise Unauthorized("Unauthorized") from error
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    organizations = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    valid = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not names or not names[0].value or not for_clients(certificate):
        return None, *valid
    credential = f"X509SHA256={hashlib.sha256(der).hexdigest()}"
    groups = tuple(str(organization.value) for organization in organizations)
    user = UserInfo(str(names[0].value), groups, extra={CREDENTIAL_ID: (credential,)})
    return with_authenticated(user), *valid


def for_clients(certificate: x509.Certificate) -> bool:
    """It may be shown by a client, as far as it says what it is for."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage
