"""Issues ServiceAccount tokens (TokenRequest) and publishes what is needed to verify them (OIDC discovery, JWKS).

Used by the REST core for ``serviceaccounts/token`` and by discovery for the two well-known documents. Signing is the
only slow step (about a millisecond with RSA); nothing is stored: a token lives as long as what it is bound to.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import orjson

from sampan.api import errors
from sampan.api.clock import Clock, Random, format_time
from sampan.api.resources import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from sampan.api.types import Obj
from sampan.server.authn.jwt import SigningKey, VerifyingKey
from sampan.server.authn.serviceaccount import user_name
from sampan.server.reader import ObjectReader
from sampan.server.request import Response

_MINIMUM_SECONDS = 600
_DEFAULT_SECONDS = 3600
_MAXIMUM_SECONDS = 1 << 32

#: (kind, apiVersion) of what a token may be bound to, and the claim that says so
_BOUND: dict[tuple[str, str], tuple[Resource, str]] = {
    ("Pod", "v1"): (PODS, "pod"),
    ("Secret", "v1"): (SECRETS, "secret"),
    ("Node", "v1"): (NODES, "node"),
}


class TokenIssuer:
    """``audiences``: what a token is for when its request names none: the API server itself."""

    def __init__(
        self, key: SigningKey, issuer: str, audiences: Sequence[str], reader: ObjectReader, clock: Clock, random: Random
    ) -> None:
        self._key, self._issuer, self._audiences = key, issuer, tuple(audiences)
        self._reader, self._clock, self._random = reader, clock, random

    async def issue(self, namespace: str, name: str, request: Obj) -> Obj:
        """The TokenRequest with its status filled. Raises NotFound, Conflict, BadRequest, Invalid."""
        account = await self._reader.fresh(SERVICE_ACCOUNTS, namespace, name)
        if account is None:
            raise errors.not_found("serviceaccounts", name)
        spec: Obj = dict(request.get("spec") or {})
        seconds = _expiration_seconds(spec.get("expirationSeconds"), name)
        audiences = spec.get("audiences") or list(self._audiences)
        claims = self._claims(account, audiences, seconds)
        reference = spec.get("boundObjectRef")
        if reference:
            claims["kubernetes.io"] |= await self._bound_claims(reference, namespace, name)
        expires = format_time(self._clock.now() + timedelta(seconds=seconds))
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": format_time(self._clock.now())},
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": reference or None,
            },
            "status": {"token": self._key.sign(claims), "expirationTimestamp": expires},
        }

    def _claims(self, account: Obj, audiences: list[str], seconds: int) -> Obj:
        meta = account["metadata"]
        now = int(self._clock.now().timestamp())
        return {
            "aud": audiences,
            "exp": now + seconds,
            "iat": now,
            "iss": self._issuer,
            "jti": str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            "kubernetes.io": {
                "namespace": meta["namespace"],
                "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
            },
            "nbf": now,
            "sub": user_name(meta["namespace"], meta["name"]),
        }

    async def _bound_claims(self, reference: Obj, namespace: str, account: str) -> Obj:
        kind, version = reference.get("kind", ""), reference.get("apiVersion", "")
        if (kind, version) not in _BOUND:
            raise errors.BadRequest(
                f'cannot bind token for serviceaccount "{account}" to object of type {version}, Kind={kind}'
            )
        resource, claim = _BOUND[kind, version]
        name = reference.get("name", "")
        found = await self._reader.fresh(resource, namespace if resource.namespaced else None, name)
        if found is None:
            raise errors.not_found(resource.plural, name)
        uid = found["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != uid:
            detail = f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. The object might have been deleted and then recreated"  # noqa: E501 - upstream's sentence
            raise errors.conflict(resource.plural, name, detail=detail)
        claims: Obj = {claim: {"name": name, "uid": uid}}
        if resource is PODS:
            if (found["spec"].get("serviceAccountName") or "default") != account:
                raise errors.BadRequest(
                    f'cannot bind token for serviceaccount "{account}" '
                    "to pod running with different serviceaccount name."
                )
            claims |= self._node_claim(found)
        return claims

    def _node_claim(self, pod: Obj) -> Obj:
        """The pod's node is in the token for information; a node that is gone is left out."""
        name = pod["spec"].get("nodeName")
        node = self._reader.get(NODES, None, name) if name else None
        return {"node": {"name": name, "uid": node["metadata"]["uid"]}} if node else {}


def _expiration_seconds(value: Any, name: str) -> int:
    if value is None:
        return _DEFAULT_SECONDS
    seconds = int(value)
    field = "spec.expirationSeconds"
    if seconds < _MINIMUM_SECONDS:
        fault = errors.invalid(field, seconds, "may not specify a duration less than 10 minutes")
    elif seconds > _MAXIMUM_SECONDS:
        fault = errors.invalid(field, seconds, "may not specify a duration larger than 2^32 seconds")
    else:
        return seconds
    raise errors.invalid_object("TokenRequest", name, [fault], "authentication.k8s.io")


class OpenIdDocuments:
    """``/.well-known/openid-configuration`` and ``/openid/v1/jwks``: constant for the life of the keys."""

    def __init__(self, issuer: str, jwks_uri: str, keys: Sequence[VerifyingKey]) -> None:
        algorithms = sorted({key.algorithm for key in keys})
        self._configuration = orjson.dumps(
            {
                "issuer": issuer,
                "jwks_uri": jwks_uri,
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": algorithms,
            }
        )
        self._jwks = orjson.dumps({"keys": [key.jwk() for key in keys]})

    def configuration(self) -> Response:
        return _document(self._configuration, "application/json")

    def jwks(self) -> Response:
        return _document(self._jwks, "application/jwk-set+json")


def _document(body: bytes, content_type: str) -> Response:
    etag = f'"{hashlib.sha256(body).hexdigest()}"'
    return Response(200, body, content_type, {"Cache-Control": "public, max-age=3600", "ETag": etag})
