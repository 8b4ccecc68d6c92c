"""ServiceAccount tokens for pods, by TokenRequest, renewed at 80 % of their life (upstream pkg/kubelet/token).

``ClientTokens`` keeps each token until it is due, so that agents restarting containers do not ask again. Every token
is bound to its pod: it dies with it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from sampan.api import resources
from sampan.api.clock import Clock, parse_time
from sampan.api.errors import ApiError
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.records import dataclass

_RENEW_AT_SHARE = 0.8
_MAX_AGE = timedelta(hours=24)
_RETRY_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Token:
    value: str
    renew_at: datetime
    expires_at: datetime | None = None


class TokenSource(Protocol):
    async def token(self, pod: Obj, audiences: tuple[str, ...], expiration_seconds: int) -> Token:
        """A token of the pod's service account, good at least until ``renew_at``. Raises ApiError."""
        ...

    def forget_pod(self, uid: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Held:
    token: Token
    expires_at: datetime


class ClientTokens:
    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._held: dict[str, dict[tuple[tuple[str, ...], int], _Held]] = {}

    async def token(self, pod: Obj, audiences: tuple[str, ...], expiration_seconds: int) -> Token:
        uid = pod["metadata"]["uid"]
        key = (audiences, expiration_seconds)
        held = self._held.get(uid, {}).get(key)
        now = self._clock.now()
        if held is not None and now < held.token.renew_at:
            return held.token
        try:
            fresh = await self._request(pod, audiences, expiration_seconds, now)
        except ApiError:
            if held is None or now >= held.expires_at:
                raise
            return Token(
                held.token.value, now + _RETRY_AFTER, held.expires_at
            )  # still good: the pod must not suffer from us
        self._held.setdefault(uid, {})[key] = fresh
        return fresh.token

    def forget_pod(self, uid: str) -> None:
        self._held.pop(uid, None)

    async def _request(self, pod: Obj, audiences: tuple[str, ...], expiration_seconds: int, now: datetime) -> _Held:
        meta = pod["metadata"]
        spec: Obj = {
            "expirationSeconds": expiration_seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]},
        }
        if audiences:
            spec["audiences"] = list(audiences)
        request = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"namespace": meta["namespace"]},
            "spec": spec,
        }
        account = pod["spec"].get("serviceAccountName") or "default"
        answer = await self._client.create(
            resources.SERVICE_ACCOUNTS, request, meta["namespace"], name=account, subresource="token"
        )
        expires_at = parse_time(answer["status"]["expirationTimestamp"])
        age = min((expires_at - now) * _RENEW_AT_SHARE, _MAX_AGE)
        return _Held(Token(answer["status"]["token"], now + age, expires_at), expires_at)
