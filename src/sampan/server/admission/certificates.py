"""CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who may approve, sign and ask for what."""

from __future__ import annotations

import base64
import binascii

from cryptography import x509
from cryptography.x509.oid import NameOID

from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, is_for, refuse
from sampan.server.attributes import AdmissionAttributes, AuthorizationAttributes, Authorizer

_GROUP = "certificates.k8s.io"
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
    return str(((obj or {}).get("spec") or {}).get("signerName", ""))


def _is_request(attributes: AdmissionAttributes, subresource: str) -> bool:
    kind = attributes.kind
    return (kind.group, kind.plural) == (_GROUP, "certificatesigningrequests") and attributes.subresource == subresource


class CertificateApproval(Plugin):
    name = "CertificateApproval"

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

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.operation != "UPDATE" or not _is_request(attributes, "status"):
            return
        new, old = (attributes.obj or {}).get("status") or {}, (attributes.old or {}).get("status") or {}
        if new.get("certificate") == old.get("certificate") and new.get("conditions") == old.get("conditions"):
            return
        signer = _signer(attributes.old)
        if not await _may(self._authorizer, attributes, "sign", signer):
            raise refuse(attributes, f'user not permitted to sign requests with signerName "{signer}"')


class CertificateSubjectRestriction(Plugin):
    name = "CertificateSubjectRestriction"

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not is_for(attributes, "certificatesigningrequests", "CREATE", group=_GROUP):
            return
        if _signer(attributes.obj) == _CLIENT_SIGNER and "system:masters" in organizations(attributes.obj):
            detail = f"use of {_CLIENT_SIGNER} signer with system:masters group is not allowed"
            raise refuse(attributes, detail)


def organizations(obj: Obj) -> list[str]:
    """The O entries of the PKCS#10 request; none when it cannot be read, which is validation's to say."""
    try:
        request = x509.load_pem_x509_csr(base64.b64decode(obj["spec"].get("request", "")))
    except (ValueError, binascii.Error):
        return []
    return [str(entry.value) for entry in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
