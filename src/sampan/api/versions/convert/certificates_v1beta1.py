"""certificates.k8s.io/v1beta1 and v1.

The signer of a CertificateSigningRequest could be guessed from what is asked (upstream:
``pkg/apis/certificates/v1beta1/defaults.go``, last served by 1.21). A PodCertificateRequest had a key and a proof
beside the request that holds both; they travel in an annotation.
"""

from __future__ import annotations

import base64
from typing import Final

from sampan.api.errors import FieldError
from sampan.api.types import Obj
from sampan.api.versions.convert.parts import OWN, annotate_json, part, parts, take_json

LEGACY: Final = "kubernetes.io/legacy-unknown"
KUBELET_CLIENT: Final = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING: Final = "kubernetes.io/kubelet-serving"
_NODES: Final = "system:nodes"
_NODE: Final = "system:node:"
_CLIENT_USAGES: Final = (
    frozenset(("digital signature", "client auth")),
    frozenset(("digital signature", "key encipherment", "client auth")),
)
_SERVING_USAGES: Final = (
    frozenset(("digital signature", "server auth")),
    frozenset(("digital signature", "key encipherment", "server auth")),
)

_KEY: Final = f"{OWN}certificates-v1beta1"
_KEY_FIELDS: Final = ("pkixPublicKey", "proofOfPossession")


def to_podcertificaterequest(request: Obj) -> Obj:
    spec = part(request, "spec")
    written = {key: spec.pop(key) for key in _KEY_FIELDS if key in spec}
    written = {key: value for key, value in written.items() if value is not None}
    if written:
        annotate_json(request, _KEY, written)
    return request


def from_podcertificaterequest(request: Obj) -> Obj:
    written, spec = take_json(request, _KEY), request.get("spec")
    if isinstance(written, dict) and isinstance(spec, dict):
        spec.update({key: written[key] for key in _KEY_FIELDS if isinstance(written.get(key), str)})
    return request


def default_certificatesigningrequest(request: Obj) -> None:
    spec = part(request, "spec")
    if not spec.get("usages"):
        spec["usages"] = ["digital signature", "key encipherment"]
    if not spec.get("signerName"):
        spec["signerName"] = _signer(spec)
    for condition in parts(part(request, "status"), "conditions"):
        if not condition.get("status"):
            condition["status"] = "True"


def tolerates_certificatesigningrequest(fault: FieldError) -> bool:
    """The signer of nobody was what most had."""
    return fault.field == "spec.signerName" and f'"{LEGACY}"' in fault.detail


def _signer(spec: Obj) -> str:
    usages = frozenset(usage for usage in spec.get("usages") or () if isinstance(usage, str))
    if usages not in (*_CLIENT_USAGES, *_SERVING_USAGES):
        return LEGACY
    name, organisations, has_names = _subject(str(spec.get("request") or ""))
    if not name.startswith(_NODE) or organisations != [_NODES]:
        return LEGACY
    if usages in _CLIENT_USAGES:
        return LEGACY if has_names else KUBELET_CLIENT
    return KUBELET_SERVING if has_names else LEGACY


def _subject(request: str) -> tuple[str, list[str], bool]:
    """Common name, organisations, and whether it names alternatives; of what is no request, nothing."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        parsed = x509.load_pem_x509_csr(base64.b64decode(request, validate=True))
        subject = parsed.subject
        names = [str(each.value) for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        organisations = [str(each.value) for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    except ValueError:
        return "", [], False
    try:
        parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        has_names = True
    except (x509.ExtensionNotFound, ValueError):
        has_names = False
    return (names[0] if names else ""), organisations, has_names
