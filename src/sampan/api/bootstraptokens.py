"""Bootstrap tokens: how they are written, and the Secrets that hold them. Pure.

A token is ``<id>.<secret>``; its Secret ``kube-system/bootstrap-token-<id>`` is of type
``bootstrap.kubernetes.io/token``. The API server takes it for who asks (``server.authn.bootstraptokens``), the
bootstrap signer signs with it, the cleaner ends it, and ``sampan token`` and ``init`` make them. Upstream:
staging/src/k8s.io/cluster-bootstrap/token.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from sampan.api.clock import format_time, parse_time
from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.records import dataclass

TOKEN_TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
NAME_PREFIX = "bootstrap-token-"
USER_PREFIX = "system:bootstrap:"
GROUP = "system:bootstrappers"
#: of those who hold a token that ``init`` or ``token create`` made
NODE_GROUP = "system:bootstrappers:kubeadm:default-node-token"
USAGES = ("signing", "authentication")

TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
IDENTITY = re.compile(r"[a-z0-9]{6}")
EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
_USAGE_PREFIX = "usage-bootstrap-"


@dataclass(frozen=True, slots=True)
class Token:
    """``expires`` None: it has no end. ``groups`` beside ``system:bootstrappers``."""

    identity: str
    secret: str
    description: str = ""
    expires: datetime | None = None
    usages: tuple[str, ...] = USAGES
    groups: tuple[str, ...] = (NODE_GROUP,)

    @property
    def text(self) -> str:
        return f"{self.identity}.{self.secret}"

    @property
    def secret_name(self) -> str:
        return NAME_PREFIX + self.identity


def parse(token: str) -> tuple[str, str]:
    """Id and secret. Raises ValueError."""
    matched = TOKEN.fullmatch(token)
    if matched is None:
        raise ValueError(f'the bootstrap token {token!r} was not of the form "[a-z0-9]{{6}}.[a-z0-9]{{16}}"')
    return matched[1], matched[2]


def check_usages(usages: Sequence[str]) -> None:
    """Raises ValueError."""
    if unknown := [usage for usage in usages if usage not in USAGES]:
        raise ValueError(f"invalid bootstrap token usage {unknown[0]!r}: one of {', '.join(USAGES)}")


def check_groups(groups: Sequence[str]) -> None:
    """Raises ValueError."""
    for group in groups:
        if EXTRA_GROUP.fullmatch(group) is None:
            raise ValueError(f"bootstrap group {group!r} is invalid (must match \\A{EXTRA_GROUP.pattern}\\z)")


def secret_of(token: Token) -> Obj:
    """The Secret that makes it a token."""
    data = {
        "token-id": token.identity,
        "token-secret": token.secret,
        **({"description": token.description} if token.description else {}),
        **({"expiration": format_time(token.expires)} if token.expires is not None else {}),
        **{_USAGE_PREFIX + usage: "true" for usage in token.usages},
        **({"auth-extra-groups": ",".join(token.groups)} if token.groups else {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": token.secret_name, "namespace": NAMESPACE},
        "type": TOKEN_TYPE,
        "data": {key: base64.b64encode(each.encode()).decode() for key, each in data.items()},
    }


def read(secret: Obj) -> Token:
    """The token of a Secret, over or not. Raises ValueError for what upstream would not list either."""
    identity, key = value(secret, "token-id"), value(secret, "token-secret")
    if secret["metadata"]["name"] != NAME_PREFIX + identity:
        raise ValueError("bootstrap token name is not of the form 'bootstrap-token-<token-id>'")
    parse(f"{identity}.{key}")
    expiration = value(secret, "expiration")
    return Token(
        identity,
        key,
        value(secret, "description"),
        parse_time(expiration) if expiration else None,
        tuple(usage for usage in USAGES if usage_of(secret, usage)),
        tuple(sorted(filter(None, value(secret, "auth-extra-groups").split(",")))),
    )


def is_token(secret: Obj) -> bool:
    return secret.get("type") == TOKEN_TYPE and secret["metadata"].get("namespace") == NAMESPACE


def value(secret: Obj, key: str) -> str:
    """ "" for what is not there, or cannot be read."""
    try:
        return base64.b64decode(text(part(secret, "data"), key)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def usage_of(secret: Obj, usage: str) -> bool:
    return value(secret, _USAGE_PREFIX + usage) == "true"


def seconds_left(secret: Obj, now: datetime) -> float | None:
    """Until the token is over; 0: it is, or its end cannot be read. None: it has no end."""
    expiration = value(secret, "expiration")
    if not expiration:
        return None
    try:
        return max(0.0, (parse_time(expiration) - now).total_seconds())
    except ValueError:
        return 0.0


def groups_of(secret: Obj, identity: str, key: str, now: datetime) -> tuple[str, ...] | None:
    """The groups of who shows this id and secret; None: the Secret does not make that a token to ask with now."""
    meta: Mapping[str, object] = secret["metadata"]
    if not is_token(secret) or meta.get("deletionTimestamp") or value(secret, "token-id") != identity:
        return None
    if not hmac.compare_digest(value(secret, "token-secret").encode(), key.encode()):
        return None
    if seconds_left(secret, now) == 0 or not usage_of(secret, "authentication"):
        return None
    extra = value(secret, "auth-extra-groups")
    groups = {GROUP, *(extra.split(",") if extra else ())}
    if any(group != GROUP and EXTRA_GROUP.fullmatch(group) is None for group in groups):
        return None
    return tuple(sorted(groups))
