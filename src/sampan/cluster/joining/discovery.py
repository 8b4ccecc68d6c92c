"""Whether a cluster is the one that a person means, as kubeadm decides it. Pure.

Who joins knows an address, a token and a hash of the CA's public key. The cluster publishes, for everybody to read,
ConfigMap ``kube-public/cluster-info``: a kubeconfig without credentials, signed with each token. The signature shows
that the writer knows the token, the hash that the CA is the right one though somebody else has the token.
Source: kubeadm "token-based discovery with CA pinning"; RFC 7515, appendix F; RFC 7469, 2.4 (pins).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sampan.api import bootstraptokens
from sampan.api.reading import part, parts, text, text_map
from sampan.api.types import Obj
from sampan.cluster.errors import ClusterError
from sampan.controllers.bootstrap.tokens import KUBECONFIG, SIGNATURE_PREFIX, detached_signature
from sampan.records import dataclass

_PIN = re.compile(r"sha256:[0-9a-f]{64}")
#: Nobody's list of authorities is longer.
_MOST_BYTES = 256 * 1024

_ANOTHER_TOKEN = "`sampan token create --print-join-command`, where the control plane is, prints another command"


class NotSigned(ClusterError):
    """The cluster does not know the token: yet, any more, or at all."""


@dataclass(frozen=True, slots=True)
class Token:
    identity: str
    secret: str

    def __str__(self) -> str:
        return f"{self.identity}.{self.secret}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cluster's API is, and whom to believe there."""

    server: str
    ca_pem: bytes


def parse_token(written: str) -> Token:
    """Raises ClusterError."""
    try:
        return Token(*bootstraptokens.parse(written))
    except ValueError as error:
        raise ClusterError(str(error), fix=f"copy it whole; {_ANOTHER_TOKEN}") from None


def check_pins(pins: Sequence[str], *, unsafe: bool) -> None:
    """Raises ClusterError for what is no pin, and for none where nobody said that none will do."""
    for pin in pins:
        if not _PIN.fullmatch(pin.lower()):
            raise ClusterError(
                f'--discovery-token-ca-cert-hash {pin!r} is not of the form "sha256:<64 hexadecimal digits>"',
                fix=f"copy it whole; {_ANOTHER_TOKEN}",
            )
    if not pins and not unsafe:
        raise ClusterError(
            "using token-based discovery without --discovery-token-ca-cert-hash can be unsafe: whoever has the token "
            "could pass for the cluster",
            fix="give the hash, or pass --discovery-token-unsafe-skip-ca-verification flag to continue",
        )


def pin_of(certificate: x509.Certificate) -> str:
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return f"sha256:{hashlib.sha256(key).hexdigest()}"


def verify(cluster_info: Obj, token: Token, pins: Sequence[str]) -> Place:
    """The place that the ConfigMap tells of, if the token signed it and a pin fits. Raises ClusterError; NotSigned."""
    data = text_map(cluster_info, "data")
    config = data.get(KUBECONFIG)
    if not config:
        raise ClusterError(
            f"there is no {KUBECONFIG} key in the cluster-info ConfigMap: this API server isn't set up for token "
            "bootstrapping",
            fix="`sampan init phase bootstrap-token`, where the control plane is",
        )
    signature = data.get(SIGNATURE_PREFIX + token.identity)
    if signature is None:
        raise NotSigned(
            f'could not find a JWS signature in the cluster-info ConfigMap for token ID "{token.identity}": the token '
            "is not of this cluster, or it has expired",
            fix=_ANOTHER_TOKEN,
        )
    expected = detached_signature(config, token.identity, token.secret)
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        raise ClusterError(
            "failed to verify JWS signature of received cluster info object, can't trust this API server: the token's "
            f'ID "{token.identity}" is known to it and its secret is another',
            fix=f"copy the token whole; {_ANOTHER_TOKEN}",
        )
    place = read_place(config, "the cluster-info ConfigMap")
    if pins:
        pinned(place.ca_pem, pins)
    return place


def pinned(ca_pem: bytes, pins: Sequence[str]) -> bytes:
    """Those of a bundle that have a pin, in PEM. Raises ClusterError: there is none."""
    wanted = {pin.lower() for pin in pins}
    had = {pin_of(certificate): certificate for certificate in authorities(ca_pem)}
    found = [certificate for pin, certificate in had.items() if pin in wanted]
    if not found:
        shown = ", ".join(f'"{pin}"' for pin in had)
        raise ClusterError(
            f"cluster CA found in cluster-info ConfigMap is invalid: none of the public keys {shown} are pinned",
            fix="somebody else answers at this address, or the hash is another cluster's: compare it with "
            "`sampan token create --print-join-command` where the control plane is",
        )
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in found)


def authorities(pem: bytes) -> list[x509.Certificate]:
    """Raises ClusterError."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ClusterError(f"the cluster's CA cannot be read: {error}", fix="mend cluster-info, or its file") from error
    return list(found)


def read_place(written: str, where: str) -> Place:
    """Of a kubeconfig: the cluster that is current, or the only one. Raises ClusterError."""
    server, ca_pem = "", b""
    try:
        config = yaml.safe_load(written) if len(written) <= _MOST_BYTES else None
        cluster = part(_chosen(config), "cluster")
        server = text(cluster, "server").rstrip("/")
        ca_pem = base64.b64decode(text(cluster, "certificate-authority-data"), validate=True)
    except (yaml.YAMLError, binascii.Error, RecursionError):
        pass
    if not server.startswith("https://") or not ca_pem:
        raise ClusterError(
            f"{where} holds no kubeconfig with a server (https://...) and certificate-authority-data",
            fix="take that of a running cluster: `sampan init` and kubeadm write it",
        )
    authorities(ca_pem)
    return Place(server, ca_pem)


def _chosen(config: Any) -> Obj:
    clusters = list(parts(config, "clusters"))
    current = text(config, "current-context")
    for context in parts(config, "contexts"):
        if current and text(context, "name") == current:
            wanted = text(part(context, "context"), "cluster")
            clusters = [each for each in clusters if text(each, "name") == wanted]
    return clusters[0] if clusters else {}
