"""What each built-in signer gives and refuses, and what a certificate of it says."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from sampan.api.resources import CERTIFICATE_SIGNING_REQUESTS
from sampan.client.keys import ObjectKey
from sampan.controllers.certificates import requests
from sampan.controllers.certificates.approving import AGAIN_SECONDS, CertificateApprover
from sampan.controllers.certificates.authority import Authority, Refused
from sampan.controllers.certificates.signing import outcome, wants_signature

START = datetime(2026, 1, 1, 1, tzinfo=UTC)
CLIENT = ("digital signature", "key encipherment", "client auth")
SERVING = ("digital signature", "key encipherment", "server auth")
NODE = ("system:node:n1", ("system:nodes",))
YEAR = timedelta(days=365)


@pytest.fixture
def authority(ca: Any) -> Authority:
    return Authority.read(ca.certificate, ca.key, YEAR)


def certificate_of(csr: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(base64.b64decode(csr["status"]["certificate"]))


@pytest.mark.parametrize(
    ("signer", "subject", "names", "usages", "said"),
    [
        (requests.KUBELET_CLIENT, NODE, (), CLIENT, ""),
        (requests.KUBELET_CLIENT, NODE, (), ("client auth", "digital signature"), ""),
        (requests.KUBELET_CLIENT, ("system:node:n1", ()), (), CLIENT, "subject organization is not system:nodes"),
        (
            requests.KUBELET_CLIENT, ("system:node:n1", ("system:nodes", "system:masters")), (), CLIENT,
            "subject organization is not system:nodes",
        ),
        (
            requests.KUBELET_CLIENT, ("admin", ("system:nodes",)), (), CLIENT,
            "subject common name does not begin with system:node:",
        ),
        (requests.KUBELET_CLIENT, NODE, ("n1",), CLIENT, "DNS subjectAltNames are not allowed"),
        (requests.KUBELET_CLIENT, NODE, ("a@b.io",), CLIENT, "Email subjectAltNames are not allowed"),
        (requests.KUBELET_CLIENT, NODE, ("10.0.0.1",), CLIENT, "IP subjectAltNames are not allowed"),
        (requests.KUBELET_CLIENT, NODE, ("spiffe://a/b",), CLIENT, "URI subjectAltNames are not allowed"),
        (
            requests.KUBELET_CLIENT, NODE, (), SERVING,
            "usages did not match [client auth digital signature key encipherment]",
        ),
        (requests.KUBELET_SERVING, NODE, ("n1", "10.0.0.1"), SERVING, ""),
        (requests.KUBELET_SERVING, NODE, (), SERVING, "DNS or IP subjectAltName is required"),
        (requests.KUBELET_SERVING, NODE, ("n1", "a@b.io"), SERVING, "Email subjectAltNames are not allowed"),
        (requests.KUBELET_SERVING, NODE, ("n1", "spiffe://a/b"), SERVING, "URI subjectAltNames are not allowed"),
        (
            requests.KUBELET_SERVING, NODE, ("n1",), CLIENT,
            "usages did not match [digital signature key encipherment server auth]",
        ),
        (requests.API_SERVER_CLIENT, ("jane", ("dev",)), ("jane.io",), CLIENT, ""),
        (
            requests.API_SERVER_CLIENT, ("jane", ()), (), ("client auth", "server auth"),
            "invalid usage for client certificate: server auth",
        ),
        (
            requests.API_SERVER_CLIENT, ("jane", ()), (), ("digital signature",),
            "missing required usage for client certificate: client auth",
        ),
        (requests.LEGACY_UNKNOWN, ("what.ever", ()), ("what.ever",), SERVING, ""),
    ],
)  # fmt: skip
def test_a_signer_gives_or_says_why_not(
    authority: Authority,
    request_of: Callable[..., bytes],
    csr_of: Callable[..., Any],
    signer: str,
    subject: tuple[str, tuple[str, ...]],
    names: tuple[str, ...],
    usages: tuple[str, ...],
    said: str,
) -> None:
    csr = csr_of(request_of(*subject, names), signer, usages, [{"type": "Approved", "status": "True"}])
    assert wants_signature(csr)
    found = outcome(csr, lambda: authority, START)
    if said:
        assert found["status"]["conditions"][1:] == [
            {
                "type": "Failed",
                "status": "True",
                "reason": "SignerValidationFailure",
                "message": said,
                "lastUpdateTime": "2026-01-01T01:00:00Z",
            }
        ]
        assert "certificate" not in found["status"]
    else:
        assert certificate_of(found).subject.rfc4514_string().startswith(f"CN={subject[0]}")
    assert not wants_signature(found)


@pytest.mark.parametrize(
    ("conditions", "signer"),
    [
        ((), requests.API_SERVER_CLIENT),
        (("Denied",), requests.API_SERVER_CLIENT),
        (("Approved", "Failed"), requests.API_SERVER_CLIENT),
        (("Approved",), "example.com/mine"),
    ],
)
def test_what_is_not_approved_has_failed_or_is_somebody_elses_is_left_alone(
    csr_of: Callable[..., Any], conditions: tuple[str, ...], signer: str
) -> None:
    listed = [{"type": kind, "status": "True"} for kind in conditions]
    assert not wants_signature(csr_of(b"", signer, CLIENT, listed))


def test_a_certificate_holds_what_was_asked_for_and_nothing_the_requester_may_not_choose(
    authority: Authority, request_of: Callable[..., bytes]
) -> None:
    wants_to_be_ca = x509.BasicConstraints(ca=True, path_length=None)
    pem = request_of("jane", ("dev",), ("jane.io", "10.0.0.1"), extensions=[wants_to_be_ca])
    request = x509.load_pem_x509_csr(pem)
    made = x509.load_pem_x509_certificate(authority.sign(request, ("client auth", "digital signature"), None, START))
    made.verify_directly_issued_by(authority.certificate)
    assert made.subject == request.subject
    assert made.public_key() == request.public_key()
    get = made.extensions.get_extension_for_class
    basic, usage, purposes = get(x509.BasicConstraints), get(x509.KeyUsage), get(x509.ExtendedKeyUsage)
    assert (basic.critical, basic.value.ca) == (True, False)
    assert (usage.critical, usage.value.digital_signature, usage.value.key_encipherment) == (True, True, False)
    assert list(purposes.value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    names = get(x509.SubjectAlternativeName)
    assert (names.critical, [str(name.value) for name in names.value]) == (False, ["jane.io", "10.0.0.1"])
    signer_key = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert get(x509.AuthorityKeyIdentifier).value.key_identifier == signer_key


@pytest.mark.parametrize(
    ("seconds", "lives"),
    [
        (None, YEAR - timedelta(minutes=5)),
        (10**8, YEAR - timedelta(minutes=5)),
        (3600, timedelta(hours=1)),  # backdating is no part of a short life
        (60, timedelta(minutes=10)),
        (8 * 3600, timedelta(hours=8) - timedelta(minutes=5)),
    ],
)
def test_a_certificate_lives_as_long_as_asked_within_bounds(
    authority: Authority, request_of: Callable[..., bytes], seconds: int | None, lives: timedelta
) -> None:
    request = x509.load_pem_x509_csr(request_of())
    made = x509.load_pem_x509_certificate(authority.sign(request, CLIENT, seconds, START))
    assert made.not_valid_before_utc == START - timedelta(minutes=5)
    assert made.not_valid_after_utc == START + lives


def test_no_certificate_outlives_its_ca_and_none_is_made_after_it(
    authority: Authority, request_of: Callable[..., bytes]
) -> None:
    request, end = x509.load_pem_x509_csr(request_of()), START + timedelta(days=1000)
    made = x509.load_pem_x509_certificate(authority.sign(request, CLIENT, None, end - timedelta(days=3)))
    assert made.not_valid_after_utc == end
    with pytest.raises(Refused, match="expired in the past"):
        authority.sign(request, CLIENT, None, end)


@pytest.mark.parametrize(
    ("usages", "bits"),
    [
        (("cert sign", "crl sign"), b"\x03\x02\x01\x06"),
        (("decipher only", "digital signature"), b"\x03\x03\x07\x80\x80"),
    ],
)
def test_every_usage_that_the_api_knows_is_written_as_its_bit(
    authority: Authority, request_of: Callable[..., bytes], usages: tuple[str, ...], bits: bytes
) -> None:
    """RFC 5280, 4.2.1.3; also where a library of certificates finds the combination odd."""
    made = authority.sign(x509.load_pem_x509_csr(request_of()), usages, None, START)
    assert bits in x509.load_pem_x509_certificate(made).tbs_certificate_bytes


def test_an_unknown_usage_signs_nothing(authority: Authority, request_of: Callable[..., bytes]) -> None:
    with pytest.raises(Refused, match=r"unrecognized usage values: \[flying\]"):
        authority.sign(x509.load_pem_x509_csr(request_of()), ("flying", "client auth"), None, START)


def test_a_request_that_its_key_has_not_signed_is_refused(
    authority: Authority, request_of: Callable[..., bytes]
) -> None:
    """Whoever asks must hold the key: or else they would get a certificate for somebody else's."""
    lines = request_of("jane").splitlines()
    broken = base64.b64decode(b"".join(lines[1:-1]))
    broken = broken[:-4] + bytes(4)
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.b64encode(broken) + b"\n-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(Refused, match="unable to verify certificate request signature"):
        authority.sign(x509.load_pem_x509_csr(pem), CLIENT, None, START)


@pytest.mark.parametrize("pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", b"x" * 100_000])  # fmt: skip  # noqa: E501
def test_what_is_no_request_is_told_apart(csr_of: Callable[..., Any], pem: bytes) -> None:
    with pytest.raises(requests.Unreadable):
        requests.read(csr_of(pem, requests.API_SERVER_CLIENT, CLIENT))


def test_a_request_with_one_extension_twice_is_told_apart(csr_of: Callable[..., Any]) -> None:
    names = x509.Extension(
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME, False, x509.SubjectAlternativeName([x509.DNSName("a")])
    )
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]), [names, names])
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    with pytest.raises(requests.Unreadable):
        requests.read(csr_of(request.public_bytes(serialization.Encoding.PEM), requests.LEGACY_UNKNOWN, []))


async def test_whether_somebody_may_have_a_nodes_certificate_is_asked_again(
    api: Any, context: Any, running: Any, csr_of: Callable[..., Any], request_of: Callable[..., bytes]
) -> None:
    """The right may be given after the request was made, and nothing tells of it."""
    usages = ["digital signature", "client auth"]
    node = request_of("system:node:a", ["system:nodes"])
    api.add(CERTIFICATE_SIGNING_REQUESTS, csr_of(node, requests.KUBELET_CLIENT, usages))
    other = csr_of(request_of("jane"), requests.KUBELET_CLIENT, usages, name="other")
    api.add(CERTIFICATE_SIGNING_REQUESTS, other)

    class NobodyMay:
        async def raw(self, method: str, path: str, body: Any) -> Any:
            return {"status": {"allowed": False}}

    approver = CertificateApprover(dataclasses.replace(context, client_for=lambda name: NobodyMay()))
    async with running():
        assert (await approver.sync(ObjectKey("", "r"))).requeue_after_seconds == AGAIN_SECONDS
        assert (await approver.sync(ObjectKey("", "other"))).requeue_after_seconds is None
