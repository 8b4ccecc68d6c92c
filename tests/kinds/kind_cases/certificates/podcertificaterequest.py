"""PodCertificateRequest (certificates.k8s.io/v1)."""

from __future__ import annotations

from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from kind_harness import GONE, SUBDOMAIN, Cause, Invalid, KindCases, Row, Update, invalid, not_supported, required
from kind_keys import KEY, OTHER, certificate_pem, encoded, request_der
from kind_texts import IMMUTABLE

_STUB = encoded(request_der(KEY))
_RSA = encoded(request_der(rsa.generate_private_key(65537, 2048)))
_CURVE = encoded(request_der(ec.generate_private_key(ec.SECP256K1())))
_MINIMAL = {
    "signerName": "ex.io/web",
    "podName": "p", "podUID": "pu", "serviceAccountName": "s", "serviceAccountUID": "su", "nodeName": "n",
    "nodeUID": "nu", "stubPKCS10Request": _STUB,
}  # fmt: skip
_FULL = {**_MINIMAL, "maxExpirationSeconds": 91 * 86400, "unverifiedUserAnnotations": {"ex.io/a": "b", "ex.io/B": "c"}}
_C = "status.conditions"
_T = "2026-11-21T12:00:00Z"
_TERMINAL = "immutable after PodCertificateRequest is issued, denied, or failed"


def _condition(kind: str, status: str = "True") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": "Because", "lastTransitionTime": _T}


def _issued(**changes: object) -> dict[str, object]:
    status = {
        "certificateChain": certificate_pem(KEY, authority=False),
        "notBefore": _T,
        "notAfter": "2026-11-22T12:00:00Z",
        "beginRefreshAt": "2026-11-22T06:00:00Z",
        "conditions": [_condition("Issued")],
    }
    return {"status": {key: value for key, value in {**status, **changes}.items() if value is not None}}


def _status(text: str) -> Cause:
    return Cause("FieldValueInvalid", "status", f"Invalid value: {text}")


def _quoted(chain: str) -> str:
    """As Go's ``%q``."""
    return '"' + chain.replace("\n", "\\n") + '"'


_SHORT = certificate_pem(KEY, authority=False, life=timedelta(minutes=59))
_FOREIGN = certificate_pem(OTHER, authority=False)

CASES = KindCases(
    api_version="certificates.k8s.io/v1",
    kind="PodCertificateRequest",
    plural="podcertificaterequests",
    minimal={"metadata": {"name": "a"}, "spec": _MINIMAL},
    minimal_stored={"spec": {**_MINIMAL, "maxExpirationSeconds": 86400}, "status": {}},
    full={"metadata": {"name": "a"}, "spec": _FULL, "status": {"notBefore": _T}},
    full_stored={"spec": _FULL, "status": {}},
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
        Invalid("no signer", {"spec.signerName": ""}, [required("spec.signerName")]),
        Invalid(
            "a pod with capitals, an account and a node without names",
            {"spec.podName": "P", "spec.serviceAccountName": "", "spec.nodeName": ""},
            [
                invalid("spec.podName", '"P"', SUBDOMAIN),
                invalid("spec.serviceAccountName", '""', SUBDOMAIN),
                invalid("spec.nodeName", '""', SUBDOMAIN),
            ],
        ),
        Invalid(
            "no identities",
            {"spec.podUID": "", "spec.serviceAccountUID": "u" * 129, "spec.nodeUID": ""},
            [
                invalid("spec.podUID", '""', "must not be empty"),
                Cause("FieldValueTooLong", "spec.serviceAccountUID", "Too long: may not be more than 128 bytes"),
                invalid("spec.nodeUID", '""', "must not be empty"),
            ],
        ),
        Invalid(
            "for minutes",
            {"spec.maxExpirationSeconds": 3599},
            [invalid("spec.maxExpirationSeconds", "3599", "must be in the range [3600, 7862400]")],
        ),
        Invalid(
            "for years",
            {"spec.maxExpirationSeconds": 7862401},
            [invalid("spec.maxExpirationSeconds", "7862401", "must be in the range [3600, 7862400]")],
        ),
        Invalid(
            "for days, of a signer of Kubernetes",
            {"spec.signerName": "kubernetes.io/kube-apiserver-client-pod", "spec.maxExpirationSeconds": 86401},
            [invalid("spec.maxExpirationSeconds", "86401", "must be in the range [3600, 86400]")],
            together=True,
        ),
        Invalid(
            "words for the signer without a domain",
            {"spec.unverifiedUserAnnotations": {"a": "b"}},
            [
                invalid(
                    "spec.unverifiedUserAnnotations",
                    '"a"',
                    'must be a domain-prefixed key (such as "acme.io/foo")',
                )
            ],
        ),
        Invalid("no request", {"spec.stubPKCS10Request": ""}, [required("spec.stubPKCS10Request")]),
        Invalid(
            "a request that is none",
            {"spec.stubPKCS10Request": "aGVsbG8="},
            [invalid("spec.stubPKCS10Request", '"aGVsbG8="', "must be a valid PKCS#10 request")],
        ),
        Invalid(
            "a key that is too short",
            {"spec.stubPKCS10Request": _RSA},
            [invalid("spec.stubPKCS10Request", '"2048-bit modulus"', "RSA keys must have modulus size 3072 or 4096")],
            together=True,
        ),
        Invalid(
            "a key on another curve, of nobody",
            {"spec.stubPKCS10Request": _CURVE, "spec.podUID": ""},
            [
                invalid("spec.podUID", '""', "must not be empty"),
                invalid(
                    "spec.stubPKCS10Request",
                    '"curve secp256k1"',
                    "elliptic public keys must use curve P256 or P384",
                ),
            ],
            together=True,
        ),
    ],
    updates=[
        Update("labels", {"metadata.labels": {"a": "b"}}, allowed=True),
        Update(
            "another pod",
            {"spec.podName": "q"},
            [
                invalid(
                    "spec",
                    '{"SignerName":"ex.io/web","PodName":"q","PodUID":"pu","ServiceAccountName":"s",'
                    '"ServiceAccountUID":"su","NodeName":"n","NodeUID":"nu","MaxExpirationSeconds":86400,'
                    f'"PKIXPublicKey":null,"ProofOfPossession":null,"StubPKCS10Request":"{_STUB}",'
                    '"UnverifiedUserAnnotations":null}',
                    IMMUTABLE,
                )
            ],
            on="minimal",
        ),
        Update("issued", _issued(), allowed=True, through="status"),
        Update("denied", {_C: [_condition("Denied")]}, allowed=True, through="status"),
        Update(
            "denied, with a certificate",
            _issued(conditions=[_condition("Denied")]),
            [_status("non-condition status fields must be empty when denying or failing the PodCertificateRequest")],
            through="status",
        ),
        Update(
            "denied and then issued",
            _issued(),
            [_status(_TERMINAL)],
            before={_C: [_condition("Denied")]},
            through="status",
        ),
        Update(
            "nothing said of it",
            {"status.notBefore": _T},
            [_status('status is immutable unless transitioning to "Issued", "Denied", or "Failed"')],
            through="status",
        ),
        Update(
            "denied and failed",
            {_C: [_condition("Denied"), _condition("Failed")]},
            [
                invalid(
                    f"{_C}.[1].type",
                    '"Failed"',
                    'There may be at most one condition with type "Issued", "Denied", or "Failed"',
                )
            ],
            through="status",
        ),
        Update(
            "something else, and not denied",
            {_C: [_condition("Seen"), _condition("Denied", "False")]},
            [
                not_supported(f"{_C}.[0].type", '"Seen"', "Issued", "Denied", "Failed"),
                not_supported(f"{_C}.[1].status", '"False"', "True"),
            ],
            through="status",
        ),
        Update(
            "for no reason",
            {_C: [{"type": "Denied", "status": "True", "lastTransitionTime": _T, "reason": ""}]},
            [required(f"{_C}[0].reason", "must be set")],
            through="status",
        ),
        Update(
            "issued without a certificate",
            _issued(certificateChain=None),
            [
                invalid(
                    "status.certificateChain", '""', "issued certificate chain must contain at least one certificate"
                )
            ],
            through="status",
        ),
        Update(
            "issued for another key",
            _issued(certificateChain=_FOREIGN),
            [
                invalid(
                    "status.certificateChain",
                    _quoted(_FOREIGN),
                    "leaf certificate was not issued to the requested public key",
                )
            ],
            through="status",
        ),
        Update(
            "issued without times",
            _issued(notBefore=None, beginRefreshAt=None),
            [
                required("status.notBefore", "must be present and consistent with the issued certificate"),
                required("status.beginRefreshAt", "must be present and in the range [notbefore+10min, notafter-10min]"),
            ],
            through="status",
        ),
        Update(
            "issued for another time",
            _issued(notAfter="2026-11-23T12:00:00Z"),
            [
                invalid(
                    "status.notAfter",
                    '"2026-11-23T12:00:00Z"',
                    "must be set to the NotAfter time encoded in the leaf certificate",
                )
            ],
            through="status",
        ),
        Update(
            "issued for minutes",
            _issued(certificateChain=_SHORT, notAfter="2026-11-21T12:59:00Z", beginRefreshAt="2026-11-21T12:30:00Z"),
            [invalid("status.certificateChain", "3540000000000", "leaf certificate lifetime must be >= 1 hour")],
            through="status",
        ),
        Update(
            "to be renewed too late",
            _issued(beginRefreshAt="2026-11-22T11:51:00Z"),
            [
                invalid(
                    "status.beginRefreshAt",
                    '"2026-11-22T11:51:00Z"',
                    "must be at least 10 minutes before status.notAfter",
                )
            ],
            through="status",
        ),
    ],
    rows=[
        Row("asked", {}, ["a", "p", "s", "n", "ex.io/web", "Pending", "<none>"]),
        Row("issued", _issued(), ["a", "p", "s", "n", "ex.io/web", "Issued", "<none>"]),
        Row(
            "denied, in other words",
            {"status": {"conditions": [_condition("Denied")]}},
            ["a", "p", "s", "n", "ex.io/web", "Denied", "ex.io/B=c,ex.io/a=b"],
            on="full",
        ),
        Row("without status", {"status": GONE}, ["a", "p", "s", "n", "ex.io/web", "Pending", "<none>"]),
    ],
)
