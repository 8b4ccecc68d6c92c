"""What a certificate request asks for, and which of the built-in signers may give it. Pure.

Sources: the certificates.k8s.io API ("Kubernetes signers"), ``pkg/apis/certificates/helpers.go``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.records import dataclass

API_SERVER_CLIENT: Final = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT: Final = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING: Final = "kubernetes.io/kubelet-serving"
LEGACY_UNKNOWN: Final = "kubernetes.io/legacy-unknown"

_NODES: Final = "system:nodes"
_NODE_PREFIX: Final = "system:node:"
_SIGNATURE, _ENCIPHERMENT = "digital signature", "key encipherment"
_CLIENT, _SERVER = "client auth", "server auth"
#: A key that only signs (ECDSA, Ed25519) enciphers nothing.
_CLIENT_USAGES: Final = (frozenset({_SIGNATURE, _ENCIPHERMENT, _CLIENT}), frozenset({_SIGNATURE, _CLIENT}))
_SERVING_USAGES: Final = (frozenset({_SIGNATURE, _ENCIPHERMENT, _SERVER}), frozenset({_SIGNATURE, _SERVER}))

#: what the library says of bytes that are none, or not one that anybody may use
_NO_REQUEST: Final = (
    ValueError,
    binascii.Error,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

#: Nothing asks for a certificate with more text than this (PEM, bytes).
LONGEST_REQUEST: Final = 64 * 1024


class Unreadable(Exception):
    """``spec.request`` is no certificate request; the text says why."""


class NotAllowed(Exception):
    """The signer does not give such certificates; the text is the ``Failed`` condition's message."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as far as anybody has to judge it. ``names``: how many alternative names of each kind it has."""

    request: x509.CertificateSigningRequest
    common_name: str
    organizations: tuple[str, ...]
    names: Mapping[str, int]


def read(csr: Obj) -> Asked:
    """The PKCS#10 request (RFC 2986) in ``spec.request``, base64 of PEM. Raises Unreadable."""
    encoded = text(part(csr, "spec"), "request")
    if len(encoded) > LONGEST_REQUEST * 4 // 3:
        raise Unreadable(f"the request is longer than {LONGEST_REQUEST} bytes")
    try:
        pem = base64.b64decode(encoded, validate=True)
        request = x509.load_pem_x509_csr(pem)
        subject = request.subject
        common = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        organizations = tuple(str(name.value) for name in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
        # The last one counts where there are several, as for whoever reads the certificate with Go.
        common_name = str(common[-1].value) if common else ""
        return Asked(request, common_name, organizations, _names(request))
    except _NO_REQUEST as error:
        raise Unreadable(str(error)) from error


def _names(request: x509.CertificateSigningRequest) -> Mapping[str, int]:
    try:
        found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return {}
    kinds: tuple[tuple[str, type[Any]], ...] = (
        ("DNS", x509.DNSName),
        ("Email", x509.RFC822Name),
        ("IP", x509.IPAddress),
        ("URI", x509.UniformResourceIdentifier),
    )
    return {name: sum(isinstance(general, kind) for general in found) for name, kind in kinds}


def usages(csr: Obj) -> tuple[str, ...]:
    listed = part(csr, "spec").get("usages")
    return tuple(usage for usage in listed if isinstance(usage, str)) if isinstance(listed, list) else ()


def check_kubelet_client(asked: Asked, wanted: Collection[str]) -> None:
    """A node's certificate towards the API server. Raises NotAllowed."""
    _require_node_organization(asked)
    _refuse_names(asked, "DNS", "Email", "IP", "URI")
    _require_node_name(asked)
    _require_usages(wanted, _CLIENT_USAGES)


def check_kubelet_serving(asked: Asked, wanted: Collection[str]) -> None:
    """The certificate of a node's own API. Raises NotAllowed."""
    _require_node_organization(asked)
    if not asked.names.get("DNS") and not asked.names.get("IP"):
        raise NotAllowed("DNS or IP subjectAltName is required")
    _refuse_names(asked, "Email", "URI")
    _require_usages(wanted, _SERVING_USAGES)
    _require_node_name(asked)


def check_api_server_client(asked: Asked, wanted: Collection[str]) -> None:
    """Anybody's certificate towards the API server. Raises NotAllowed."""
    for usage in wanted:
        if usage not in (_SIGNATURE, _ENCIPHERMENT, _CLIENT):
            raise NotAllowed(f"invalid usage for client certificate: {usage}")
    if _CLIENT not in wanted:
        raise NotAllowed(f"missing required usage for client certificate: {_CLIENT}")


def _anything(asked: Asked, wanted: Collection[str]) -> None:
    """No promise is made of what this signer signs."""


#: Each raises NotAllowed.
CHECKS: Final[Mapping[str, Callable[[Asked, Collection[str]], None]]] = MappingProxyType(
    {
        KUBELET_SERVING: check_kubelet_serving,
        KUBELET_CLIENT: check_kubelet_client,
        API_SERVER_CLIENT: check_api_server_client,
        LEGACY_UNKNOWN: _anything,
    }
)


def is_node_client(csr: Obj, asked: Asked) -> bool:
    """Whether a node's client certificate is asked for, by whomever."""
    if text(part(csr, "spec"), "signerName") != KUBELET_CLIENT:
        return False
    try:
        check_kubelet_client(asked, usages(csr))
    except NotAllowed:
        return False
    return True


def is_true(csr: Obj, kind: str) -> bool:
    """Whether it has the condition, and that holds."""
    found = parts(part(csr, "status"), "conditions")
    return any(condition.get("type") == kind and condition.get("status") == "True" for condition in found)


def has(csr: Obj, kind: str) -> bool:
    return any(condition.get("type") == kind for condition in parts(part(csr, "status"), "conditions"))


def with_condition(csr: Obj, condition: Obj) -> Obj:
    """A copy with one condition more."""
    status = part(csr, "status")
    return {**csr, "status": {**status, "conditions": [*parts(status, "conditions"), condition]}}


def _require_node_organization(asked: Asked) -> None:
    if asked.organizations != (_NODES,):
        raise NotAllowed("subject organization is not system:nodes")


def _require_node_name(asked: Asked) -> None:
    if not asked.common_name.startswith(_NODE_PREFIX):
        raise NotAllowed("subject common name does not begin with system:node:")


def _refuse_names(asked: Asked, *kinds: str) -> None:
    for kind in kinds:
        if asked.names.get(kind):
            raise NotAllowed(f"{kind} subjectAltNames are not allowed")


def _require_usages(wanted: Collection[str], allowed: tuple[frozenset[str], ...]) -> None:
    if frozenset(wanted) not in allowed:
        raise NotAllowed(f"usages did not match [{' '.join(sorted(allowed[0]))}]")
