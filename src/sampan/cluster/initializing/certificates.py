"""What of the PKI goes to other machines: the hash of the CA that a joiner checks; the control plane's keys, sealed.

The keys travel in Secret ``kube-system/kubeadm-certs``, each value encrypted with a *certificate key* that only people
pass on (AES-256-GCM, the nonce before the text), as kubeadm has it (phases/copycerts, util/crypto). Pure but for
reading and writing the files.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sampan.api.types import Obj
from sampan.cluster.errors import ClusterError

SECRET_NAME, SECRET_NAMESPACE = "kubeadm-certs", "kube-system"
KEY_BYTES, _NONCE_BYTES = 32, 12
#: How long they stay in the cluster (the token that owns them).
LIFE_SECONDS = 2 * 3600.0
TOKEN_DESCRIPTION = "Proxy for managing TTL for the kubeadm-certs secret"
#: Below the PKI's directory; what a control plane shares with the next one.
SHARED = ("ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.pub", "sa.key")
SHARED_ETCD = ("etcd/ca.crt", "etcd/ca.key")
_MOST_BYTES = 1 << 16


def public_key_hash(pem: bytes) -> str:
    """``sha256:`` and the hash of the public key, as ``--discovery-token-ca-cert-hash`` has it. Raises ValueError."""
    key = x509.load_pem_x509_certificate(pem).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def new_key(random_bytes: Callable[[int], bytes]) -> str:
    return random_bytes(KEY_BYTES).hex()


def parse_key(text: str) -> bytes:
    """Raises ClusterError."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ClusterError(
            "the certificate key is not 64 hexadecimal digits", fix="`sampan certs certificate-key` prints one"
        )
    return key


def seal(files: Mapping[str, bytes], key: bytes, random_bytes: Callable[[int], bytes], owner: Obj) -> Obj:
    """The Secret of these files. ``owner``: the Secret of the token that it goes with."""
    data = {}
    for name, content in files.items():
        nonce = random_bytes(_NONCE_BYTES)
        data[name.replace("/", "-")] = base64.b64encode(nonce + AESGCM(key).encrypt(nonce, content, None)).decode()
    meta = owner["metadata"]
    reference = {"apiVersion": "v1", "kind": "Secret", "name": meta["name"], "uid": meta["uid"], "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET_NAME, "namespace": SECRET_NAMESPACE, "ownerReferences": [reference]},
        "type": "Opaque",
        "data": data,
    }


def unseal(secret: Obj, key: bytes, *, etcd: bool) -> dict[str, bytes]:
    """The files by their names below the PKI's directory. ``etcd``: with those of its CA. Raises ClusterError."""
    found = {}
    for name in (*SHARED, *(SHARED_ETCD if etcd else ())):
        text = (secret.get("data") or {}).get(name.replace("/", "-"))
        if not text:
            raise ClusterError(f"Secret {SECRET_NAME} has no {name}", fix=_AGAIN)
        try:
            sealed = base64.b64decode(text, validate=True)
            found[name] = AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (binascii.Error, InvalidTag, ValueError):
            raise ClusterError(
                f"{name} of Secret {SECRET_NAME} cannot be decrypted: the certificate key is another one's", fix=_AGAIN
            ) from None
    return found


_AGAIN = "on a control plane: `sampan init phase upload-certs --upload-certs` prints the key of a new one"


def read_shared(pki: Path) -> dict[str, bytes]:
    """What there is of the files that control planes share; etcd's CA only where it is here. Raises ClusterError."""
    found = {}
    for name in (*SHARED, *SHARED_ETCD):
        path = pki / name
        if name in SHARED_ETCD and not path.exists():
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ClusterError(
                f"cannot read {path}: {error.strerror}", fix="put it there, or let `sampan init` make the certificates"
            ) from error
        if len(content) > _MOST_BYTES:
            raise ClusterError(f"{path} is no certificate or key: it is too long", fix="put the right file there")
        found[name] = content
    return found
