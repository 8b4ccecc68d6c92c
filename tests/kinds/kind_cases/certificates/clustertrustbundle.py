"""ClusterTrustBundle (certificates.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import SUBDOMAIN, Cause, Invalid, KindCases, Row, Update, invalid
from kind_keys import OTHER, certificate, certificate_pem, pem
from kind_texts import IMMUTABLE

_ANCHOR = certificate_pem()
_SIGNED = {"signerName": "ex.io/web", "trustBundle": f"A comment.\n{_ANCHOR}{certificate_pem(OTHER)}"}
_PREFIX = "ClusterTrustBundle for signerName ex.io/web must be named with prefix ex.io:web:"


def _bundle(text: str) -> Cause:
    return invalid("spec.trustBundle", '"<value omitted>"', text)


CASES = KindCases(
    api_version="certificates.k8s.io/v1",
    kind="ClusterTrustBundle",
    plural="clustertrustbundles",
    namespaced=False,
    minimal={"metadata": {"name": "roots"}, "spec": {"trustBundle": _ANCHOR}},
    minimal_stored={"spec": {"trustBundle": _ANCHOR}},
    full={"metadata": {"name": "ex.io:web:v1"}, "spec": _SIGNED},
    full_stored={"spec": _SIGNED},
    invalid=[
        Invalid(
            "a signer's name without signer",
            {"metadata.name": "ex.io:web:v1"},
            [
                invalid(
                    "metadata.name",
                    '"ex.io:web:v1"',
                    'ClusterTrustBundle without signer name must not have ":" in its name',
                )
            ],
            together=True,
            on="minimal",
        ),
        Invalid(
            "a signer's bundle under a name of its own",
            {"metadata.name": "roots"},
            [invalid("metadata.name", '"roots"', _PREFIX)],
            together=True,
        ),
        Invalid(
            "a signer's bundle with capitals",
            {"metadata.name": "ex.io:web:V1"},
            [invalid("metadata.name", '"ex.io:web:V1"', SUBDOMAIN)],
            together=True,
        ),
        Invalid(
            "a name with capitals", {"metadata.name": "R"}, [invalid("metadata.name", '"R"', SUBDOMAIN)], on="minimal"
        ),
        Invalid(
            "a signer without a path",
            {"metadata.name": "web:v1", "spec.signerName": "web"},
            [
                invalid(
                    "spec.signerName",
                    '"web"',
                    "must be a fully qualified domain and path of the form 'example.com/signer-name'",
                )
            ],
        ),
        Invalid("no anchor", {"spec.trustBundle": ""}, [_bundle("at least one trust anchor must be provided")]),
        Invalid(
            "an anchor twice",
            {"spec.trustBundle": _ANCHOR + certificate_pem(OTHER) + _ANCHOR},
            # the same certificate: an encoding of its own would be another
            [_bundle("duplicate trust anchor (indices [0 2])")],
            together=True,
        ),
        Invalid(
            "what is no certificate, and what is no authority",
            {
                "spec.trustBundle": pem(b"k", "PRIVATE KEY")
                + pem(b"junk", "CERTIFICATE")
                + certificate_pem(authority=False)
                + certificate_pem(authority=None)
                + pem(certificate(), "CERTIFICATE", "Proc-Type: 4\n\n")
            },
            [
                _bundle("entry 0 has bad block type: PRIVATE KEY"),
                _bundle("entry 1 does not parse as X.509"),
                _bundle("entry 2 does not have the CA bit set"),
                _bundle("entry 3 does not have the CA bit set"),
                _bundle("entry 4 has PEM block headers"),
            ],
        ),
        Invalid(
            "too long",
            {"spec.trustBundle": "x" * 1048577},
            [Cause("FieldValueTooLong", "spec.trustBundle", "Too long: may not be more than 1048576 bytes")],
        ),
    ],
    updates=[
        Update("other anchors", {"spec.trustBundle": certificate_pem(OTHER)}, allowed=True),
        Update("no anchors", {"spec.trustBundle": "x"}, [_bundle("at least one trust anchor must be provided")]),
        Update(
            "another signer",
            {"spec.signerName": "ex.io/other"},
            [
                invalid(
                    "metadata.name",
                    '"ex.io:web:v1"',
                    "ClusterTrustBundle for signerName ex.io/other must be named with prefix ex.io:other:",
                ),
                invalid("spec.signerName", '"ex.io/other"', IMMUTABLE),
            ],
        ),
    ],
    rows=[Row("nobody's", {}, ["roots", "<none>"]), Row("a signer's", {}, ["ex.io:web:v1", "ex.io/web"], on="full")],
)
