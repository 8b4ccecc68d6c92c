"""What becomes of a Secret that holds a token of an account, by when it was used last. Pure.

Only tokens that were made for their account (it names the Secret) and that no pod uses are touched: first marked
invalid, which a person can take back, and deleted when nobody did for the same time again. Days are compared as texts,
as upstream does (``legacy_serviceaccount_token_cleaner.go``).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from sampan.api.clock import parse_day, parse_time
from sampan.api.reading import part, parts, text
from sampan.api.types import Obj

SECRET_TYPE: Final = "kubernetes.io/service-account-token"
LAST_USED: Final = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE: Final = "kubernetes.io/legacy-token-invalid-since"
ACCOUNT_NAME: Final = "kubernetes.io/service-account.name"
ACCOUNT_UID: Final = "kubernetes.io/service-account.uid"
_DATE: Final = "%Y-%m-%d"

Action = Literal["mark", "delete"]


class Times(NamedTuple):
    """Of one look: now, and before which moment and day a token must have been made and used to be old."""

    now: datetime
    made_before: datetime

    @property
    def used_before(self) -> str:
        return self.made_before.strftime(_DATE)

    @property
    def today(self) -> str:
        return self.now.strftime(_DATE)


def times(now: datetime, tracked_since: str, period: timedelta) -> Times | None:
    """None: uses have not been written down for long enough. Raises ValueError: ``tracked_since`` is no day."""
    began = parse_day(tracked_since)
    # Told as a difference: days at the end of time have none after them. It may have been the end of that day.
    return None if now - began < period + timedelta(days=1) else Times(now, now - period)


def plan(secret: Obj, account: Obj | None, mounted: Collection[str], times: Times) -> Action | None:
    """``account``: the one that the Secret names; ``mounted``: Secrets that pods of its namespace use."""
    meta = part(secret, "metadata")
    if not is_old(secret, times) or account is None or not _belongs(meta, account):
        return None
    if text(meta, "name") in mounted:
        return None
    invalid_since = text(part(meta, "labels"), INVALID_SINCE)
    if not _is_day(invalid_since):
        return "mark"
    return "delete" if invalid_since < times.used_before else None


def is_old(secret: Obj, times: Times) -> bool:
    """A token that was made and used long ago. One whose day of use cannot be read is not old."""
    meta = part(secret, "metadata")
    if secret.get("type") != SECRET_TYPE or meta.get("deletionTimestamp"):
        return False
    try:
        if parse_time(text(meta, "creationTimestamp")) >= times.made_before:
            return False
    except ValueError:
        return False
    labels = part(meta, "labels")
    if LAST_USED not in labels:
        return True
    used = text(labels, LAST_USED)
    return _is_day(used) and used < times.used_before


def account_of(secret: Obj) -> str:
    return text(part(part(secret, "metadata"), "annotations"), ACCOUNT_NAME)


def _belongs(meta: Obj, account: Obj) -> bool:
    uid = text(part(meta, "annotations"), ACCOUNT_UID)
    if uid and uid != text(part(account, "metadata"), "uid"):
        return False
    return any(text(reference, "name") == text(meta, "name") for reference in parts(account, "secrets"))


def _is_day(value: str) -> bool:
    try:
        return bool(parse_day(value))
    except ValueError:
        return False
