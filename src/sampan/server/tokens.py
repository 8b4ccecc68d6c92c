"""Issues ServiceAccount tokens (TokenRequest) and publishes what is needed to verify them (OIDC discovery, JWKS).

Used by the REST core for ``serviceaccounts/token`` and by discovery for the two well-known documents. Signing is the
only slow step (about a millisecond with RSA); nothing is stored: a token lives as long as what it is bound to.
``lasting`` makes those that ``secrettokens`` puts into Secrets.
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
from sampan.api.pods.status import node_name
from sampan.api.reading import part, text
from sampan.api.resources import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from sampan.api.types import Obj
from sampan.server.authn import legacy
from sampan.server.authn.jwt import SigningKey, VerifyingKey
from sampan.server.identity import user_name
from sampan.server.reader import ObjectReader
from sampan.server.request import Response

_MINIMUM_SECONDS = 600
_DEFAULT_SECONDS = 3600
_MAXIMUM_SECONDS = 1 << 32
_GROUP = "authentication.k8s.io"

#: kinds of the core group that a token may be bound to, and the claim that says so
_BOUND: dict[str, tuple[Resource, str]] = {"Pod": (PODS, "pod"), "Secret": (SECRETS, "secret"), "Node": (NODES, "node")}


class TokenIssuer:
    """``audiences``: what a token is for when its request names none: the API server itself."""

    def __init__(
        self, key: SigningKey, issuer: str, audiences: Sequence[str], reader: ObjectReader, clock: Clock, random: Random
    ) -> None:
        self._key, self._issuer, self._audiences = key, issuer, tuple(audiences)
        self._reader, self._clock, self._random = reader, clock, random

    async def issue(self, namespace: str, name: str, request: Obj) -> Obj:
        """The TokenRequest with its status filled. Raises NotFound, Conflict, BadRequest, Invalid."""
        stated = part(request, "metadata")
        _require_own(stated, "name", name, "must match the service account name if specified", name)
        _require_own(stated, "namespace", namespace, "must match the service account namespace if specified", name)
        account = await self._reader.fresh(SERVICE_ACCOUNTS, namespace, name)
        if account is None:
            raise errors.not_found("serviceaccounts", name)
        account_uid = account["metadata"]["uid"]
        if stated.get("uid") and stated["uid"] != account_uid:
            detail = f"the UID in the token request ({stated['uid']}) does not match the UID of the service account ({account_uid})"  # noqa: E501 - upstream's sentence
            raise errors.conflict("TokenRequest", name, _GROUP, detail)
        spec: Obj = dict(request.get("spec") or {})
        seconds = _expiration_seconds(spec.get("expirationSeconds"))
        audiences = spec.get("audiences") or list(self._audiences)
        claims = self._claims(account, audiences, seconds)
        reference = spec.get("boundObjectRef")
        if reference:
            claims["kubernetes.io"] |= await self._bound_claims(reference, namespace, name)
        expires = format_time(self._clock.now() + timedelta(seconds=seconds))
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": account_uid,
            "creationTimestamp": format_time(self._clock.now()),
        }
        return {
            "kind": "TokenRequest",
            "apiVersion": f"{_GROUP}/v1",
            "metadata": metadata,
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": reference or None,
            },
            "status": {"token": self._key.sign(claims), "expirationTimestamp": expires},
        }

    def lasting(self, account: Obj, secret_name: str) -> str:
        """A token that is good as long as that Secret of the account's namespace holds it."""
        return self._key.sign(legacy.claims_of(account, secret_name))

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
        kind, version = reference.get("kind") or "", reference.get("apiVersion") or ""
        if kind not in _BOUND or "/" in version:
            raise errors.BadRequest(f"cannot bind token to object of type {version}, Kind={kind}")
        resource, claim = _BOUND[kind]
        name = reference.get("name") or ""
        found = await self._reader.fresh(resource, namespace if resource.namespaced else None, name)
        if found is None:
            raise errors.not_found(resource.plural, name)
        if resource is PODS and text(part(found, "spec"), "serviceAccountName") != account:
            # Exactly: a mirror pod has no account, not the default one.
            raise errors.BadRequest(
                f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.'
            )
        uid = found["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != uid:
            detail = f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. The object might have been deleted and then recreated"  # noqa: E501 - upstream's sentence
            raise errors.conflict(kind, name, detail=detail)
        claims: Obj = {claim: {"name": name, "uid": uid}}
        return claims | self._node_claim(found) if resource is PODS else claims

    def _node_claim(self, pod: Obj) -> Obj:
        """The pod's node is in the token for information; of a node that is gone only the name."""
        name = node_name(pod)
        node = self._reader.get(NODES, None, name) if name else None
        if node is not None:
            return {"node": {"name": name, "uid": node["metadata"]["uid"]}}
        return {"node": {"name": name}} if name else {}


def _require_own(stated: Obj, key: str, wanted: str, detail: str, account: str) -> None:
    """Raises Invalid."""
    if stated.get(key) and stated[key] != wanted:
        fault = errors.invalid(f"metadata.{key}", stated[key], detail)
        raise errors.invalid_object("TokenRequest", account, [fault], _GROUP)


def _expiration_seconds(value: Any) -> int:
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
    raise errors.invalid_object("TokenRequest", "", [fault], _GROUP)


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
