"""CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who may approve, sign and ask for what."""

from __future__ import annotations

import base64
import binascii

from cryptography import x509
from cryptography.x509.oid import NameOID

from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.admission.base import Plugin, is_for, refuse
from sampan.server.attributes import AdmissionAttributes, AuthorizationAttributes, Authorizer

_GROUP = "certificates.k8s.io"
_REQUESTS = frozenset({(_GROUP, "certificatesigningrequests")})
_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


async def _may(authorizer: Authorizer, attributes: AdmissionAttributes, verb: str, signer: str) -> bool:
    """Allowed for this signer by name, or for all of its domain."""
    domain = signer.partition("/")[0] + "/*"
    for name in (signer, domain):
        question = AuthorizationAttributes(attributes.user, verb, _GROUP, "*", "signers", name=name)
        if (await authorizer.authorize(question)).allowed:
            return True
    return False


def _signer(obj: Obj | None) -> str:
    return text(part(obj, "spec"), "signerName")


def _is_request(attributes: AdmissionAttributes, subresource: str) -> bool:
    kind = attributes.kind
    return (kind.group, kind.plural) == (_GROUP, "certificatesigningrequests") and attributes.subresource == subresource


class CertificateApproval(Plugin):
    name = "CertificateApproval"
    resources = _REQUESTS

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.operation != "UPDATE" or not _is_request(attributes, "approval"):
            return
        signer = _signer(attributes.old)
        if not await _may(self._authorizer, attributes, "approve", signer):
            raise refuse(attributes, f'user not permitted to approve requests with signerName "{signer}"')


class CertificateSigning(Plugin):
    name = "CertificateSigning"
    resources = _REQUESTS

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.operation != "UPDATE" or not _is_request(attributes, "status"):
            return
        new, old = part(attributes.obj, "status"), part(attributes.old, "status")
        if new.get("certificate") == old.get("certificate") and new.get("conditions") == old.get("conditions"):
            return
        signer = _signer(attributes.old)
        if not await _may(self._authorizer, attributes, "sign", signer):
            raise refuse(attributes, f'user not permitted to sign requests with signerName "{signer}"')


class CertificateSubjectRestriction(Plugin):
    name = "CertificateSubjectRestriction"
    resources = _REQUESTS

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not is_for(attributes, "certificatesigningrequests", "CREATE", group=_GROUP):
            return
        if _signer(attributes.obj) != _CLIENT_SIGNER:
            return
        try:
            subject = parse_request(text(part(attributes.obj, "spec"), "request"))
        except BadRequestText as error:
            raise refuse(attributes, f"failed to parse CSR: {error}") from None
        if "system:masters" in subject.organizations:
            detail = f"use of {_CLIENT_SIGNER} signer with system:masters group is not allowed"
            raise refuse(attributes, detail)


class ClusterTrustBundleAttest(Plugin):
    """Who publishes a signer's roots speaks for the signer."""

    name = "ClusterTrustBundleAttest"
    resources = frozenset({(_GROUP, "clustertrustbundles")})

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if not is_for(attributes, "clustertrustbundles", "CREATE", "UPDATE", group=_GROUP):
            return
        new, old = (part(obj, "spec") for obj in (attributes.obj, attributes.old))
        if attributes.operation == "UPDATE" and new == old:
            return
        signer = text(new, "signerName")
        if signer and not await _may(self._authorizer, attributes, "attest", signer):
            raise refuse(attributes, f'user not permitted to attest for signerName "{signer}"')


class BadRequestText(Exception):
    """Not a certificate request. The text is for its author."""


@dataclass(frozen=True, slots=True)
class Subject:
    common_name: str
    organizations: tuple[str, ...]


def parse_request(encoded: str) -> Subject:
    """The subject of a PKCS#10 request in PEM in base64. Raises BadRequestText."""
    try:
        pem = base64.b64decode(encoded)
    except (binascii.Error, ValueError):
        pem = b""
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in pem:
        raise BadRequestText("PEM block type must be CERTIFICATE REQUEST")
    try:
        subject = x509.load_pem_x509_csr(pem).subject
        names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        organizations = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    except (ValueError, TypeError):
        raise BadRequestText("malformed certificate request") from None
    # As Go reads it: of several common names the last counts.
    return Subject(str(names[-1].value) if names else "", tuple(str(entry.value) for entry in organizations))
