"""Who may use the node API: client certificates and delegated decisions (upstream kubelet webhook authn/authz).

A certificate of the client CA gives user and groups; a bearer token is asked about with TokenReview. Every request
is asked about with SubjectAccessReview on ``nodes/<subresource>`` of this node. Answers are kept for a short time.
Anonymous requests are refused. Nothing here knows what the requests do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Generic, TypeVar

from sampan.api import resources
from sampan.api.errors import Forbidden, Unauthorized
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node.api.tls import Subject
from sampan.records import dataclass

MASTERS = "system:masters"
_TOKEN_SECONDS = 120.0
_ALLOWED_SECONDS = 300.0
_DENIED_SECONDS = 30.0
_CACHE_ENTRIES = 1024

#: requests that run or reach something in a pod: reading verbs never suffice (api-semantics: nodes/proxy equals root)
_ACTING = ("exec", "attach", "portForward", "run")
_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Attributes:
    """``subresources`` in the order they are tried: one that is allowed suffices (KEP-2862)."""

    verb: str
    subresources: tuple[str, ...]


def request_attributes(method: str, path: str) -> Attributes:
    """Pure."""
    first = path.strip("/").split("/", 1)[0]
    verb = "create" if first in _ACTING else _VERBS.get(method, "get")
    if first in ("stats", "metrics"):
        return Attributes(verb, (first,))
    fine = {"pods": "pods", "runningpods": "pods", "healthz": "healthz", "configz": "configz"}.get(first)
    return Attributes(verb, (fine, "proxy") if fine else ("proxy",))


def certificate_user(subject: Subject) -> User:
    """Common name and organizations of a verified certificate. Raises Unauthorized when it has no name."""
    names = [value for kind, value in subject if kind == "commonName"]
    if not names or not names[0]:
        raise Unauthorized("Unauthorized")
    groups = (value for kind, value in subject if kind == "organizationName")
    return User(names[0], (*groups, "system:authenticated"))


class _Cache(Generic[Value]):
    """Values that go stale; the oldest makes room when it is full."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._entries: dict[object, tuple[float, Value]] = {}

    def get(self, key: object) -> Value | None:
        expires, value = self._entries.get(key, (0.0, None))
        return value if expires > self._now() else None

    def put(self, key: object, value: Value, seconds: float) -> None:
        self._entries.pop(key, None)
        if len(self._entries) >= _CACHE_ENTRIES:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (self._now() + seconds, value)


class DelegatedAuth:
    """``now`` is the event loop's clock."""

    def __init__(self, client: Client, node_name: str, now: Callable[[], float]) -> None:
        self._client = client
        self._node_name = node_name
        self._users: _Cache[User] = _Cache(now)
        self._decisions: _Cache[bool] = _Cache(now)

    async def authenticate(self, subject: Subject | None, authorization: str) -> User:
        """``subject``: of a client certificate that TLS verified. Raises Unauthorized, ApiError."""
        if subject is not None:
            return certificate_user(subject)
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("Unauthorized")
        return await self._token_user(token)

    async def authorize(self, user: User, attributes: Attributes) -> None:
        """Raises Forbidden in the kubelet's words, ApiError when nobody can be asked."""
        if MASTERS in user.groups:
            return
        for subresource in attributes.subresources:
            if await self._is_allowed(user, attributes.verb, subresource):
                return
        tried = " ".join(attributes.subresources)
        raise Forbidden(
            f"Forbidden (user={user.name}, verb={attributes.verb}, resource=nodes, subresource(s)=[{tried}])"
        )

    async def _token_user(self, token: str) -> User:
        key = hashlib.sha256(token.encode()).digest()  # the token itself is nowhere kept
        if (known := self._users.get(key)) is not None:
            return known
        review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": token}}
        status = (await self._client.create(resources.TOKEN_REVIEWS, review)).get("status") or {}
        if not status.get("authenticated"):
            raise Unauthorized("Unauthorized")
        found = status.get("user") or {}
        extra = {name: tuple(values) for name, values in (found.get("extra") or {}).items()}
        user = User(found.get("username", ""), tuple(found.get("groups") or ()), found.get("uid", ""), extra)
        self._users.put(key, user, _TOKEN_SECONDS)
        return user

    async def _is_allowed(self, user: User, verb: str, subresource: str) -> bool:
        key = (user, verb, subresource)
        known = self._decisions.get(key)
        if known is not None:
            return known
        spec: Obj = {
            "user": user.name,
            "groups": list(user.groups),
            "resourceAttributes": {
                "verb": verb,
                "version": "v1",
                "resource": "nodes",
                "subresource": subresource,
                "name": self._node_name,
            },
        }
        if user.uid:
            spec["uid"] = user.uid
        if user.extra:
            spec["extra"] = {name: list(values) for name, values in user.extra.items()}
        review = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec}
        status = (await self._client.create(resources.SUBJECT_ACCESS_REVIEWS, review)).get("status") or {}
        allowed = bool(status.get("allowed"))
        self._decisions.put(key, allowed, _ALLOWED_SECONDS if allowed else _DENIED_SECONDS)
        return allowed
