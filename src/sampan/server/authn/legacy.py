"""Tokens that stand in Secrets of type ``kubernetes.io/service-account-token`` and never expire (upstream: "legacy").

Pure: their claims, and what an account and a Secret as they are make of them. Such a token is good as long as its
Secret holds it and no label there says that it is invalid; whoever uses one that was made for its account, and not by
hand, is warned. ``serviceaccount`` asks, ``uses`` writes down the day of use. Upstream: pkg/serviceaccount/legacy.go.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.server.identity import split_user_name, user_name

ISSUER: Final = "kubernetes/serviceaccount"
SECRET_TYPE: Final = "kubernetes.io/service-account-token"
LAST_USED: Final = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE: Final = "kubernetes.io/legacy-token-invalid-since"
AUTO_GENERATED: Final = (
    "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated "
    "secret-based tokens."
)
_DATE: Final = "%Y-%m-%d"
_NAMESPACE, _SECRET, _ACCOUNT, _UID = (
    f"kubernetes.io/serviceaccount/{name}"
    for name in ("namespace", "secret.name", "service-account.name", "service-account.uid")
)


class Refused(Exception):
    """The token is not good (any more)."""


class Stated(NamedTuple):
    """What the claims say that the token is."""

    namespace: str
    secret: str
    account: str
    uid: str


def claims_of(account: Obj, secret_name: str) -> Obj:
    meta = account["metadata"]
    return {
        "iss": ISSUER,
        _NAMESPACE: meta["namespace"],
        _SECRET: secret_name,
        _ACCOUNT: meta["name"],
        _UID: meta["uid"],
        "sub": user_name(meta["namespace"], meta["name"]),
    }


def stated(claims: Mapping[str, object]) -> Stated:
    """Raises Refused."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise Refused("sub claim is missing")
    found: list[str] = []
    for key, name in (
        (_NAMESPACE, "namespace"),
        (_SECRET, "secretName"),
        (_ACCOUNT, "serviceAccountName"),
        (_UID, "serviceAccountUID"),
    ):
        value = claims.get(key)
        if not isinstance(value, str) or not value:
            raise Refused(f"{name} claim is missing")
        found.append(value)
    told = Stated(*found)
    if split_user_name(subject) != (told.namespace, told.account):
        raise Refused("sub claim is invalid")
    return told


def require_held(token: str, secret: Obj | None) -> None:
    """That the Secret is there and holds the token. Raises Refused."""
    if secret is None or text(part(secret, "metadata"), "deletionTimestamp"):
        raise Refused("Token has been invalidated")
    if not holds(token, secret):
        raise Refused("Token does not match server's copy")


def holds(token: str, secret: Obj) -> bool:
    try:
        held = base64.b64decode(text(part(secret, "data"), "token"), validate=True)
    except (binascii.Error, ValueError):
        return False
    return held == token.encode(errors="replace")


def require_account(told: Stated, account: Obj | None) -> None:
    """Raises Refused."""
    if account is None:
        raise Refused(f'serviceaccounts "{told.account}" not found')
    meta = part(account, "metadata")
    if text(meta, "deletionTimestamp"):
        raise Refused(f"ServiceAccount {told.namespace}/{told.account} has been deleted")
    if text(meta, "uid") != told.uid:
        raise Refused(f"ServiceAccount UID ({text(meta, 'uid')}) does not match claim ({told.uid})")


def is_marked_invalid(secret: Obj) -> bool:
    return bool(text(part(part(secret, "metadata"), "labels"), INVALID_SINCE))


def marked_invalid(secret: Obj, account: str) -> str:
    """Why such a token is refused."""
    meta = part(secret, "metadata")
    namespace = text(meta, "namespace")
    return (
        f"the token in secret {namespace}/{text(meta, 'name')} for service account {namespace}/{account} has been "
        "marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the "
        f"'{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
    )


def is_auto_generated(secret: Obj, account: Obj) -> bool:
    """The account names the Secret among its own."""
    name = text(part(secret, "metadata"), "name")
    return any(text(reference, "name") == name for reference in parts(account, "secrets"))


def day_of_use(secret: Obj, now: datetime) -> str | None:
    """What the Secret's label should say of a use at this moment; None: it does. Tomorrow is good as well: another
    server's clock may be ahead."""
    said = text(part(part(secret, "metadata"), "labels"), LAST_USED)
    today, tomorrow = (moment.strftime(_DATE) for moment in (now, now + timedelta(days=1)))
    return None if said in (today, tomorrow) else today
