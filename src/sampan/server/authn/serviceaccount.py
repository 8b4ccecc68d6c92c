"""ServiceAccount tokens: signature, time, audience, and that everything the token is bound to still exists.

A verified signature is remembered; time and bound objects are looked at on every request, so that deleting the pod,
the secret or the account ends the token at once. Upstream: pkg/serviceaccount.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sampan.api.clock import Clock, parse_time
from sampan.api.resources import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from sampan.api.types import Obj
from sampan.server.authn import jwt
from sampan.server.reader import ObjectReader
from sampan.server.request import UserInfo

USER_PREFIX = "system:serviceaccount:"
ALL_ACCOUNTS_GROUP = "system:serviceaccounts"
_EXTRA_PREFIX = "authentication.kubernetes.io/"
#: an object on its way out keeps its tokens this long, so that a pod can use its own while it shuts down
_DELETION_LEEWAY = timedelta(seconds=60)
_CLOCK_SKEW_SECONDS = 60
_CACHE_SIZE = 4096


class TokenRefused(Exception):
    """A token of ours that is not good (any more). The text is for TokenReview, never for the caller."""


def user_name(namespace: str, name: str) -> str:
    return f"{USER_PREFIX}{namespace}:{name}"


def account_groups(namespace: str) -> tuple[str, ...]:
    return (ALL_ACCOUNTS_GROUP, f"{ALL_ACCOUNTS_GROUP}:{namespace}")


def split_user_name(name: str) -> tuple[str, str] | None:
    """(namespace, name) of ``system:serviceaccount:NS:NAME``, or None."""
    parts = name.removeprefix(USER_PREFIX).split(":")
    if not name.startswith(USER_PREFIX) or len(parts) != 2 or not all(parts):
        return None
    return parts[0], parts[1]


class ServiceAccountTokens:
    """Judges tokens. ``audiences`` are the API server's own."""

    def __init__(
        self,
        keys: Sequence[jwt.VerifyingKey],
        issuers: Sequence[str],
        audiences: Sequence[str],
        reader: ObjectReader,
        clock: Clock,
    ) -> None:
        self._keys, self._issuers, self.audiences = tuple(keys), frozenset(issuers), tuple(audiences)
        self._reader, self._clock = reader, clock
        self._verified: OrderedDict[str, Obj] = OrderedDict()

    async def check(self, token: str, audiences: Sequence[str]) -> tuple[UserInfo, tuple[str, ...]] | None:
        """The user and which of ``audiences`` the token is good for; None when it is not of our issuer.

        Raises TokenRefused.
        """
        claims = self._claims(token)
        if claims is None:
            return None
        self._check_times(claims)
        granted = _intersection(claims.get("aud"), audiences)
        if not granted:
            raise TokenRefused(f"token audiences {claims.get('aud')!r} is invalid for the target audiences")
        return await self._user(claims), granted

    def _claims(self, token: str) -> Obj | None:
        known = self._verified.get(token)
        if known is not None:
            return known
        stated = jwt.unverified_claims(token)
        if stated is None or stated.get("iss") not in self._issuers:
            return None
        try:
            claims = jwt.verify(token, self._keys)
        except jwt.BadToken as error:
            raise TokenRefused(str(error)) from error
        self._verified[token] = claims
        if len(self._verified) > _CACHE_SIZE:
            self._verified.popitem(last=False)
        return claims

    def _check_times(self, claims: Obj) -> None:
        now = self._clock.now().timestamp()
        if now > _number(claims.get("exp"), -1.0):
            raise TokenRefused("service account token has expired")
        if now + _CLOCK_SKEW_SECONDS < _number(claims.get("nbf"), 0.0):
            raise TokenRefused("service account token is not valid yet")

    async def _user(self, claims: Obj) -> UserInfo:
        private = claims.get("kubernetes.io")
        if not isinstance(private, dict):
            raise TokenRefused("token has no private claims")
        namespace = str(private.get("namespace", ""))
        account = _reference(private, "serviceaccount")
        if claims.get("sub") != user_name(namespace, account["name"]):
            raise TokenRefused("sub and private claims differ")
        await self._require(SERVICE_ACCOUNTS, namespace, account, "service account")
        extra: dict[str, tuple[str, ...]] = {}
        if claims.get("jti"):
            extra[_EXTRA_PREFIX + "credential-id"] = (f"JTI={claims['jti']}",)
        if "secret" in private:
            await self._require(SECRETS, namespace, _reference(private, "secret"), "secret")
        if "pod" in private:
            pod = _reference(private, "pod")
            await self._require(PODS, namespace, pod, "pod")
            extra |= {_EXTRA_PREFIX + "pod-name": (pod["name"],), _EXTRA_PREFIX + "pod-uid": (pod["uid"],)}
        if "node" in private:
            node = _reference(private, "node")
            if "pod" not in private:  # beside a pod the node is information only
                await self._require(NODES, "", node, "node")
            extra |= {_EXTRA_PREFIX + "node-name": (node["name"],), _EXTRA_PREFIX + "node-uid": (node["uid"],)}
        return UserInfo(user_name(namespace, account["name"]), account_groups(namespace), account["uid"], extra)

    async def _require(self, resource: Resource, namespace: str, reference: dict[str, str], what: str) -> None:
        found = self._reader.get(resource, namespace, reference["name"])
        if found is None or found["metadata"].get("uid") != reference["uid"]:
            # A token may be used in the instant after its object was made, before the cache has it.
            found = await self._reader.fresh(resource, namespace, reference["name"])
        if found is None:
            raise TokenRefused(f"{what} {namespace}/{reference['name']} has been deleted")
        if found["metadata"].get("uid") != reference["uid"]:
            raise TokenRefused(f"{what} UID ({found['metadata'].get('uid')}) does not match claim ({reference['uid']})")
        deleted = found["metadata"].get("deletionTimestamp")
        if deleted and _passed(deleted, self._clock.now()):
            raise TokenRefused(f"{what} {namespace}/{reference['name']} has been deleted")


def _passed(deletion: str, now: datetime) -> bool:
    return parse_time(deletion) + _DELETION_LEEWAY < now


def _number(value: Any, missing: float) -> float:
    return float(value) if isinstance(value, int | float) else missing


def _reference(private: Obj, key: str) -> dict[str, str]:
    value = private.get(key)
    if not isinstance(value, dict):
        raise TokenRefused(f"token has no {key} claim")
    return {"name": str(value.get("name", "")), "uid": str(value.get("uid", ""))}


def _intersection(claimed: Any, wanted: Sequence[str]) -> tuple[str, ...]:
    listed = [claimed] if isinstance(claimed, str) else claimed if isinstance(claimed, list) else []
    return tuple(audience for audience in wanted if audience in listed)
