"""What a Secret of type ``bootstrap.kubernetes.io/token`` says, and what is signed with it. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import datetime

import orjson

from sampan.api.bootstraptokens import NAMESPACE, TOKEN_TYPE, is_token, seconds_left, usage_of, value
from sampan.api.types import Obj

__all__ = [
    "NAMESPACE",
    "TOKEN_TYPE",
    "detached_signature",
    "is_token",
    "seconds_left",
    "signed_data",
    "signing_key",
    "value",
]

#: of a signature in the ConfigMap, before the token's id
SIGNATURE_PREFIX = "jws-kubeconfig-"
KUBECONFIG = "kubeconfig"
_NAME = re.compile(r"bootstrap-token-([a-z0-9]{6})")
#: shorter keys are filled up with zeros, as upstream's
_KEY_BYTES = 32


def signing_key(secret: Obj, now: datetime) -> tuple[str, str] | None:
    """Id and secret of a token that may sign now; None for any other."""
    named = _NAME.fullmatch(secret["metadata"]["name"])
    identity, key = value(secret, "token-id"), value(secret, "token-secret")
    if named is None or not key or named[1] != identity or seconds_left(secret, now) == 0:
        return None
    return (identity, key) if usage_of(secret, "signing") else None


def detached_signature(content: str, identity: str, key: str) -> str:
    """A JSON Web Signature (HS256) without what it signs (RFC 7515, appendix F)."""
    header = _encoded(orjson.dumps({"alg": "HS256", "kid": identity}))
    signed = f"{header}.{_encoded(content.encode())}"
    digest = hmac.digest(key.encode().ljust(_KEY_BYTES, b"\0"), signed.encode(), hashlib.sha256)
    return f"{header}..{_encoded(digest)}"


def signed_data(data: Mapping[str, str], secrets: Iterable[Obj], now: datetime) -> dict[str, str] | None:
    """The ConfigMap's data with a signature for each token that may sign, and no other; None: it is so already."""
    content = data.get(KUBECONFIG)
    if content is None:
        return None
    wanted = {key: each for key, each in data.items() if not key.startswith(SIGNATURE_PREFIX)}
    for secret in secrets:
        if (found := signing_key(secret, now)) is not None:
            wanted[SIGNATURE_PREFIX + found[0]] = detached_signature(content, *found)
    return None if wanted == dict(data) else wanted


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
