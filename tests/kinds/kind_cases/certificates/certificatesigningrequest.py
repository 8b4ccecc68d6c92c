"""CertificateSigningRequest (certificates.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import (
    ANY,
    GONE,
    LABEL,
    Invalid,
    KindCases,
    Row,
    Update,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from kind_keys import certificate_pem, encoded, pem, request_der

_REQUEST = encoded(pem(request_der(), "CERTIFICATE REQUEST"))
_CERTIFICATE = encoded(certificate_pem())
_OTHER = encoded(certificate_pem(authority=False))
_KEY_FILE = encoded(pem(b"key", "PRIVATE KEY"))
_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip
_C = "status.conditions"
_WHO = {"groups": ["system:unauthenticated"], "username": "system:anonymous"}
_MINIMAL = {"request": _REQUEST, "signerName": "ex.io/web", "usages": ["server auth"]}
_FULL = {**_MINIMAL, "usages": ["digital signature", "client auth"], "expirationSeconds": 600}
_FORM = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
_BLOCK = "PEM block type must be CERTIFICATE REQUEST"


def _condition(kind: str, status: str = "True") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": "Because"}


CASES = KindCases(
    api_version="certificates.k8s.io/v1",
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    namespaced=False,
    minimal={"metadata": {"name": "a"}, "spec": _MINIMAL},
    minimal_stored={"spec": {**_MINIMAL, **_WHO}, "status": {}},
    full={
        "metadata": {"name": "Any:name_it"},
        "spec": {**_FULL, "username": "root", "uid": "1", "groups": ["system:masters"], "extra": {"a": ["b"]}},
        "status": {"conditions": [_condition("Approved")]},
    },
    full_stored={"spec": {**_FULL, **_WHO}, "status": {}},
    invalid=[
        Invalid(
            "a name with a slash", {"metadata.name": "a/b"}, [invalid("metadata.name", '"a/b"', "may not contain '/'")]
        ),
        Invalid("no request", {"spec.request": ""}, [invalid("spec.request", '""', _BLOCK)]),
        Invalid("a key", {"spec.request": _KEY_FILE}, [invalid("spec.request", f'"{_KEY_FILE}"', _BLOCK)]),
        Invalid("no usages", {"spec.usages": []}, [required("spec.usages")]),
        Invalid("an unknown usage", {"spec.usages.1": "fun"}, [not_supported("spec.usages[1]", '"fun"', *_USAGES)]),
        Invalid(
            "a usage twice",
            {"spec.usages.1": "digital signature"},
            [duplicate("spec.usages[1]", '"digital signature"')],
            together=True,
        ),
        Invalid(
            "an unknown usage twice",
            {"spec.usages": ["fun", "fun"]},
            [
                not_supported("spec.usages[0]", '"fun"', *_USAGES),
                not_supported("spec.usages[1]", '"fun"', *_USAGES),
                duplicate("spec.usages[1]", '"fun"'),
            ],
            together=True,
        ),
        Invalid("no signer", {"spec.signerName": ""}, [required("spec.signerName")]),
        Invalid(
            "a signer without a path",
            {"spec.signerName": "example.com"},
            [invalid("spec.signerName", '"example.com"', _FORM)],
        ),
        Invalid(
            "a signer of old",
            {"spec.signerName": "kubernetes.io/legacy-unknown"},
            [
                invalid(
                    "spec.signerName",
                    '"kubernetes.io/legacy-unknown"',
                    "the legacy signerName is not allowed via this API version",
                )
            ],
        ),
        Invalid(
            "a signer of a domain that is none",
            {"spec.signerName": "Local/web"},
            [
                invalid("spec.signerName", '"Local"', f'validating label "Local": {LABEL}'),
                invalid(
                    "spec.signerName", '"Local"', "should be a domain with at least two segments separated by dots"
                ),
            ],
        ),
        Invalid(
            "for minutes",
            {"spec.expirationSeconds": 599},
            [invalid("spec.expirationSeconds", "599", "may not specify a duration less than 600 seconds (10 minutes)")],
        ),
        Invalid(
            "nothing",
            {"spec": {"request": "", "usages": None, "signerName": ""}},
            [invalid("spec.request", '""', _BLOCK), required("spec.usages"), required("spec.signerName")],
            together=True,
        ),
    ],
    updates=[
        Update("labels", {"metadata.labels": {"a": "b"}, "spec.usages": ["any"]}, allowed=True),
        Update("approved", {_C: [_condition("Approved")]}, allowed=True, through="approval"),
        Update(
            "approved and denied",
            {_C: [_condition("Approved"), _condition("Denied")]},
            [invalid(_C, '"Denied"', "Approved and Denied conditions are mutually exclusive")],
            through="approval",
        ),
        Update(
            "approved twice",
            {_C: [_condition("Approved"), _condition("Approved")]},
            [duplicate(f"{_C}[1].type", '"Approved"')],
            through="approval",
        ),
        Update(
            "not approved",
            {_C: [_condition("Approved", "False")]},
            [not_supported(f"{_C}[0].status", '"False"', "True")],
            through="approval",
        ),
        Update(
            "a condition of no type and no status",
            {_C: [{"type": "", "status": "", "reason": "x"}]},
            [required(f"{_C}[0].type"), required(f"{_C}[0].status")],
            through="approval",
        ),
        Update(
            "approved by a signer",
            {_C: [_condition("Approved")]},
            [forbidden(_C, 'updates may not add a condition of type "Approved"')],
            through="status",
        ),
        Update("failed", {_C: [_condition("Failed")]}, allowed=True, through="status"),
        Update(
            "failed no more",
            {_C: GONE},
            [forbidden(_C, 'updates may not remove a condition of type "Failed"')],
            before={"status.conditions": [_condition("Failed")]},
            through="status",
        ),
        Update("signed", {"status.certificate": _CERTIFICATE}, allowed=True, through="status"),
        Update(
            "signed with a key",
            {"status.certificate": _KEY_FILE},
            [
                invalid(
                    "status.certificate",
                    '"<certificate data>"',
                    'only CERTIFICATE PEM blocks are allowed, found "PRIVATE KEY"',
                )
            ],
            through="status",
        ),
        Update(
            "signed with anything",
            {"status.certificate": encoded("hello")},
            [invalid("status.certificate", '"<certificate data>"', "must contain at least one CERTIFICATE PEM block")],
            through="status",
        ),
        Update(
            "signed twice",
            {"status.certificate": _OTHER},
            [forbidden("status.certificate", "updates may not modify existing certificate content")],
            before={"status.certificate": _CERTIFICATE},
            through="status",
        ),
    ],
    rows=[
        Row("asked", {}, ["a", "60m", "ex.io/web", "system:anonymous", "<none>", "Pending"]),
        Row(
            "for a time",
            {"spec.expirationSeconds": 86400},
            ["a", "60m", "ex.io/web", "system:anonymous", "24h", "Pending"],
        ),
        *(
            Row(
                shown,
                {"status": {"conditions": [_condition(kind) for kind in kinds], "certificate": certificate}},
                ["a", "60m", "ex.io/web", "system:anonymous", "<none>", shown],
            )
            for kinds, certificate, shown in (
                (["Approved"], "", "Approved"),
                (["Denied"], "", "Denied"),
                (["Approved", "Denied"], "", "Denied"),
                (["Approved", "Failed"], "", "Approved,Failed"),
                (["Approved"], _CERTIFICATE, "Approved,Issued"),
                ([], _CERTIFICATE, "Pending,Issued"),
            )
        ),
        Row("of nobody's", {"spec.signerName": ""}, ["a", "60m", "<none>", ANY, "<none>", "Pending"]),
    ],
)
