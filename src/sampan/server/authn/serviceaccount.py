"""ServiceAccount tokens: signature, time, audience, and that everything the token is bound to still exists.

A token is verified once. After that it is known by its hash. Every change of an object that it stands on (the account,
and the pod, secret or node it is bound to) has it judged again, so deleting any of them ends the token at once; and so
does the passing of some seconds, whatever was told of changes. Upstream: pkg/serviceaccount.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sampan.api.clock import Clock, parse_time
from sampan.api.resources import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.authn import jwt, legacy
from sampan.server.authn.uses import TokenUses
from sampan.server.identity import AUTHENTICATED_GROUP, account_groups, user_name
from sampan.server.reader import ObjectReader
from sampan.server.request import UserInfo

_EXTRA_PREFIX = "authentication.kubernetes.io/"
#: an object on its way out keeps its tokens this long, so that a pod can use its own while it shuts down
_DELETION_LEEWAY = timedelta(seconds=60)
_CLOCK_SKEW_SECONDS = 60
KNOWN_TOKENS = 4096
KNOWN_BYTES = 32 * 1024 * 1024
#: what a known token takes: of claims in many small pieces some ten times what they are in JSON
_ENTRY_BYTES, _BYTES_A_CHARACTER = 1500, 8
#: as upstream's cache of tokens
JUDGED_AGAIN_SECONDS = 10.0
#: no header of a request is longer, and no token of ours nearly as long
LONGEST_TOKEN = 16 * 1024


class TokenRefused(Exception):
    """A token of ours that is not good (any more). The text is for TokenReview, never for the caller."""


_Object = tuple[Resource, str, str]  # with namespace and name


@dataclass(slots=True)
class _Known:
    """A token that was good. It still is between ``not_before`` and ``not_after`` (seconds since the epoch) if nothing
    that it stands on has changed; if something has, ``claims`` are looked at again, but not the signature."""

    claims: Obj
    user: UserInfo
    audiences: tuple[str, ...]
    not_before: float
    not_after: float
    #: what it stands on, at which revision; 0: only the store knew it
    standing: tuple[tuple[_Object, int], ...]
    changed: bool = False
    bytes: int = 0
    #: what everybody who uses it is told
    warning: str = ""


class ServiceAccountTokens:
    """Judges tokens. ``audiences`` are the API server's own.

    Invariants: ``_known`` holds at most ``KNOWN_TOKENS`` and about ``KNOWN_BYTES``, by hash: the tokens themselves are
    kept nowhere. ``_on`` is its inverse by the objects they stand on; the changes of their resources are followed.
    """

    def __init__(
        self,
        keys: Sequence[jwt.VerifyingKey],
        issuers: Sequence[str],
        audiences: Sequence[str],
        reader: ObjectReader,
        clock: Clock,
        uses: TokenUses | None = None,
    ) -> None:
        self._keys, self._issuers, self.audiences = tuple(keys), frozenset(issuers), tuple(audiences)
        self._reader, self._clock = reader, clock
        self._uses = uses or TokenUses(clock)
        self._known: dict[bytes, _Known] = {}
        self._bytes = 0
        self._on: dict[_Object, dict[bytes, None]] = {}
        self._followed: dict[Resource, Callable[[], None]] = {}

    def stop(self) -> None:
        for unsubscribe in self._followed.values():
            unsubscribe()
        self._followed.clear()
        for digest in tuple(self._known):
            self._forget(digest)

    def check_now(self, token: str) -> UserInfo | None:
        """The user of a token for this server that is known and still good; None: only ``check`` can tell."""
        known = self._recall(_digest(token))
        if known is None or known.warning or not _intersection(known.audiences, self.audiences):
            return None
        return known.user

    def warning(self, token: str) -> str:
        """What whoever uses this token, which was found good just now, is to be told; "": nothing."""
        known = self._known.get(_digest(token))
        return known.warning if known is not None else ""

    async def check(self, token: str, audiences: Sequence[str]) -> tuple[UserInfo, tuple[str, ...]] | None:
        """The user and which of ``audiences`` the token is good for; None when it is not of our issuer.

        Raises TokenRefused.
        """
        if len(token) > LONGEST_TOKEN:
            return None
        digest = _digest(token)
        known = self._recall(digest)
        if known is None:
            stale = self._forget(digest)
            claims = stale.claims if stale is not None else self._verify(token)
            if claims is None:
                return None
            known = await self._judge(claims, token)
            known.bytes = _ENTRY_BYTES + _BYTES_A_CHARACTER * len(token)
            self._remember(digest, known)
        granted = _intersection(known.audiences, audiences)
        if not granted:
            raise TokenRefused("token audiences are invalid for the target audiences")
        return known.user, granted

    def _recall(self, digest: bytes) -> _Known | None:
        known = self._known.get(digest)
        if known is None or known.changed:
            return None
        if not known.not_before <= self._clock.now().timestamp() <= known.not_after:
            return None
        return known

    def _remember(self, digest: bytes, known: _Known) -> None:
        """Unless something changed while the token was being judged."""
        for (resource, _, _), _ in known.standing:
            self._follow(resource)
        if not all(revision and self._reader.revision(*on) == revision for on, revision in known.standing):
            return
        self._forget(digest)  # another request may have been quicker
        self._known[digest] = known
        self._bytes += known.bytes
        while len(self._known) > KNOWN_TOKENS or self._bytes > KNOWN_BYTES:
            self._forget(next(iter(self._known)))
        if digest not in self._known:
            return
        for on, _ in known.standing:
            self._on.setdefault(on, {})[digest] = None

    def _forget(self, digest: bytes) -> _Known | None:
        known = self._known.pop(digest, None)
        if known is None:
            return None
        self._bytes -= known.bytes
        for on, _ in known.standing:
            tokens = self._on.get(on, {})
            tokens.pop(digest, None)
            if not tokens:
                self._on.pop(on, None)
        return known

    def _follow(self, resource: Resource) -> None:
        if resource in self._followed:
            return

        def changed(_event: EventType, obj: Obj, _previous: Obj | None, _revision: int) -> None:
            meta = obj["metadata"]
            for digest in self._on.get((resource, meta.get("namespace", ""), meta["name"]), ()):
                self._known[digest].changed = True

        self._followed[resource] = self._reader.subscribe(resource, changed, keep=False)

    def _verify(self, token: str) -> Obj | None:
        """The claims of a token of ours, None of another's. Raises TokenRefused."""
        stated = jwt.unverified_claims(token)
        issuer = stated.get("iss") if stated is not None else None
        if not isinstance(issuer, str) or (issuer != legacy.ISSUER and issuer not in self._issuers):
            return None
        try:
            return jwt.verify(token, self._keys)
        except jwt.BadToken as error:
            raise TokenRefused(str(error)) from error

    async def _judge(self, claims: Obj, token: str) -> _Known:
        """Raises TokenRefused."""
        if claims.get("iss") == legacy.ISSUER:
            try:
                return await self._judge_legacy(claims, token)
            except legacy.Refused as error:
                raise TokenRefused(str(error)) from error
        now = self._clock.now().timestamp()
        not_before, not_after = _number(claims.get("nbf"), 0.0) - _CLOCK_SKEW_SECONDS, _number(claims.get("exp"), -1.0)
        if now > not_after:
            raise TokenRefused("service account token has expired")
        if now < not_before:
            raise TokenRefused("service account token is not valid yet")
        user, standing, ends = await self._user(claims)
        ends = min(ends, now + JUDGED_AGAIN_SECONDS)
        audiences = claims.get("aud")
        listed = [audiences] if isinstance(audiences, str) else audiences if isinstance(audiences, list) else []
        return _Known(claims, user, tuple(map(str, listed)), not_before, min(not_after, ends), standing)

    async def _judge_legacy(self, claims: Obj, token: str) -> _Known:
        """Of a token that stands in a Secret and never expires. Raises legacy.Refused."""
        told = legacy.stated(claims)
        now = self._clock.now().timestamp()
        secret, held_at = await self._current(SECRETS, told.namespace, told.secret)
        if secret is None or not legacy.holds(token, secret):  # the cache may be a moment behind
            secret, held_at = await self._reader.fresh(SECRETS, told.namespace, told.secret), 0
        legacy.require_held(token, secret)
        account, stands_at = await self._current(SERVICE_ACCOUNTS, told.namespace, told.account)
        legacy.require_account(told, account)
        assert secret is not None and account is not None
        if legacy.is_marked_invalid(secret):
            self._uses.used(secret, "invalid_legacy_auto_token_uses")
            raise legacy.Refused(legacy.marked_invalid(secret, told.account))
        automatic = legacy.is_auto_generated(secret, account)
        self._uses.used(secret, f"legacy_{'auto' if automatic else 'manual'}_token_uses")
        groups = (*account_groups(told.namespace), AUTHENTICATED_GROUP)
        user = UserInfo(user_name(told.namespace, told.account), groups, told.uid, {})
        standing = (
            ((SECRETS, told.namespace, told.secret), held_at),
            ((SERVICE_ACCOUNTS, told.namespace, told.account), stands_at),
        )
        until = now + JUDGED_AGAIN_SECONDS
        warning = legacy.AUTO_GENERATED if automatic else ""
        return _Known(claims, user, self.audiences, 0.0, until, standing, warning=warning)

    async def _current(self, resource: Resource, namespace: str, name: str) -> tuple[Obj | None, int]:
        """The object and its revision; of one that the cache does not have yet 0."""
        revision = self._reader.revision(resource, namespace, name)
        found = self._reader.get(resource, namespace, name)
        return (found, revision) if found is not None else (await self._reader.fresh(resource, namespace, name), 0)

    async def _user(self, claims: Obj) -> tuple[UserInfo, tuple[tuple[_Object, int], ...], float]:
        """Who the token is, what it stands on at which revision, and when that goes."""
        private = claims.get("kubernetes.io")
        if not isinstance(private, dict):
            raise TokenRefused("token has no private claims")
        namespace = str(private.get("namespace", ""))
        account = _reference(private, "serviceaccount")
        if claims.get("sub") != user_name(namespace, account["name"]):
            raise TokenRefused("sub and private claims differ")
        wanted: list[tuple[Resource, str, dict[str, str], str]] = [
            (SERVICE_ACCOUNTS, namespace, account, "service account")
        ]
        extra: dict[str, tuple[str, ...]] = {}
        if claims.get("jti"):
            extra[_EXTRA_PREFIX + "credential-id"] = (f"JTI={claims['jti']}",)
        if "secret" in private:
            wanted.append((SECRETS, namespace, _reference(private, "secret"), "secret"))
        if "pod" in private:
            pod = _reference(private, "pod")
            wanted.append((PODS, namespace, pod, "pod"))
            extra |= {_EXTRA_PREFIX + "pod-name": (pod["name"],), _EXTRA_PREFIX + "pod-uid": (pod["uid"],)}
        if "node" in private:
            node = _reference(private, "node")
            if "pod" not in private:  # beside a pod the node is information only
                wanted.append((NODES, "", node, "node"))
            extra[_EXTRA_PREFIX + "node-name"] = (node["name"],)
            if node["uid"]:
                extra[_EXTRA_PREFIX + "node-uid"] = (node["uid"],)
        groups = (*account_groups(namespace), AUTHENTICATED_GROUP)
        user = UserInfo(user_name(namespace, account["name"]), groups, account["uid"], extra)
        standing, ends = [], float("inf")
        for resource, where, reference, what in wanted:
            revision, until = await self._require(resource, where, reference, what)
            standing.append(((resource, where, reference["name"]), revision))
            ends = min(ends, until)
        return user, tuple(standing), ends

    async def _require(
        self, resource: Resource, namespace: str, reference: dict[str, str], what: str
    ) -> tuple[int, float]:
        """The revision at which the object is as the token says, and until when it counts. Raises TokenRefused."""
        revision = self._reader.revision(resource, namespace, reference["name"])
        found = self._reader.get(resource, namespace, reference["name"])
        if found is None or found["metadata"].get("uid") != reference["uid"]:
            # A token may be used in the instant after its object was made, before the cache has it.
            revision = 0
            found = await self._reader.fresh(resource, namespace, reference["name"])
        if found is None:
            raise TokenRefused(f"{what} {namespace}/{reference['name']} has been deleted")
        if found["metadata"].get("uid") != reference["uid"]:
            raise TokenRefused(f"{what} UID ({found['metadata'].get('uid')}) does not match claim ({reference['uid']})")
        deleted = found["metadata"].get("deletionTimestamp")
        if not deleted:
            return revision, float("inf")
        until = (parse_time(deleted) + _DELETION_LEEWAY).timestamp()
        if until < self._clock.now().timestamp():
            raise TokenRefused(f"{what} {namespace}/{reference['name']} has been deleted")
        return revision, until


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _number(value: Any, missing: float) -> float:
    return float(value) if isinstance(value, int | float) else missing


def _reference(private: Obj, key: str) -> dict[str, str]:
    value = private.get(key)
    if not isinstance(value, dict):
        raise TokenRefused(f"token has no {key} claim")
    return {"name": str(value.get("name", "")), "uid": str(value.get("uid", ""))}


def _intersection(claimed: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    return tuple(audience for audience in wanted if audience in claimed)
