"""Compact JSON Web Tokens (RFC 7515, 7519) in the two algorithms of ServiceAccount tokens, and their JWKS (RFC 7517).

Used by ``server.tokens`` (sign) and ``authn.serviceaccount`` (verify). Pure functions on keys and bytes: no clock, no
claim is judged here, only the signature. The algorithm comes from the key, never from the token, so a token cannot
choose how it is checked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from sampan.api.types import Obj
from sampan.records import dataclass

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_COORDINATE_BYTES = 32  # P-256


class BadToken(Exception):
    """Not a token, or not signed by one of the keys."""


def encode_segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_segment(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadToken("malformed token") from error


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key with its id (the key id of upstream: base64url of SHA-256 of the DER)."""

    public: PublicKey
    key_id: str
    algorithm: str

    @classmethod
    def of(cls, public: PublicKey) -> VerifyingKey:
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        algorithm = "RS256" if isinstance(public, rsa.RSAPublicKey) else "ES256"
        return cls(public, encode_segment(hashlib.sha256(der).digest()), algorithm)

    def verify(self, signature: bytes, signed: bytes) -> bool:
        try:
            if isinstance(self.public, rsa.RSAPublicKey):
                self.public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
                return True
            if len(signature) != 2 * _COORDINATE_BYTES:
                return False
            r, s = (int.from_bytes(part) for part in (signature[:_COORDINATE_BYTES], signature[_COORDINATE_BYTES:]))
            self.public.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
            return True
        except InvalidSignature:
            return False

    def jwk(self) -> Obj:
        """The key as one entry of a JWKS."""
        common = {"use": "sig", "kid": self.key_id, "alg": self.algorithm}
        if isinstance(self.public, rsa.RSAPublicKey):
            numbers = self.public.public_numbers()
            return {**common, "kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        point = self.public.public_numbers()
        x, y = (encode_segment(value.to_bytes(_COORDINATE_BYTES)) for value in (point.x, point.y))
        return {**common, "kty": "EC", "crv": "P-256", "x": x, "y": y}


def _number(value: int) -> str:
    return encode_segment(value.to_bytes((value.bit_length() + 7) // 8))


class SigningKey:
    """The cluster's ServiceAccount key."""

    def __init__(self, private: PrivateKey) -> None:
        self._private = private
        self.verifying = VerifyingKey.of(private.public_key())

    @classmethod
    def from_pem(cls, pem: bytes) -> SigningKey:
        """RSA or EC P-256. Raises ValueError for any other key."""
        key = serialization.load_pem_private_key(pem, password=None)
        if isinstance(key, rsa.RSAPrivateKey):
            return cls(key)
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            return cls(key)
        raise ValueError("the ServiceAccount key must be RSA or EC P-256")

    def sign(self, claims: Obj) -> str:
        header = {"alg": self.verifying.algorithm, "kid": self.verifying.key_id}
        signed = f"{encode_segment(orjson.dumps(header))}.{encode_segment(orjson.dumps(claims))}"
        return f"{signed}.{encode_segment(self._signature(signed.encode()))}"

    def _signature(self, signed: bytes) -> bytes:
        if isinstance(self._private, rsa.RSAPrivateKey):
            return self._private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        r, s = utils.decode_dss_signature(self._private.sign(signed, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)


def unverified_claims(token: str) -> Obj | None:
    """The claims as the bearer states them, to decide whose token it is; None when it is no JWT at all."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(decode_segment(parts[1]))
    except (BadToken, orjson.JSONDecodeError):
        return None
    return claims if isinstance(claims, dict) else None


def verify(token: str, keys: Sequence[VerifyingKey]) -> Obj:
    """The claims of a token that one of the keys signed. Raises BadToken."""
    parts = token.split(".")
    claims = unverified_claims(token)
    if claims is None:
        raise BadToken("malformed token")
    try:
        header = orjson.loads(decode_segment(parts[0]))
    except orjson.JSONDecodeError as error:
        raise BadToken("malformed token header") from error
    if not isinstance(header, dict):
        raise BadToken("malformed token header")
    signed, signature = f"{parts[0]}.{parts[1]}".encode(), decode_segment(parts[2])
    for key in keys:
        # A header without kid is tried against every key, as upstream does.
        meant = header.get("alg") == key.algorithm and header.get("kid", key.key_id) == key.key_id
        if meant and key.verify(signature, signed):
            return claims
    raise BadToken("no key matches the token's signature")
