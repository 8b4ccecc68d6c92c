"""What etcd's refusals mean to a caller. Pure: a code and a text in, a class out.

``Again``: the same call may be sent to the next member, for all calls of this package may be repeated. Everything else
is an answer, and another member would give the same.
"""

from __future__ import annotations

from typing import Final

from sampan.store.protocol import StoreError, StoreUnavailable, ValueTooLarge


class Again(StoreError):
    """No answer, or none that counts: no leader, a member that stops, a deadline. Never leaves this package."""


class BadToken(StoreError):
    """The token of user and password is no longer known. Never leaves this package."""


class PastRevision(StoreError):
    """The asked-for revision is compacted. Never leaves this package."""


class LaterRevision(StoreError):
    """The asked-for revision has not happened. Never leaves this package."""


_AGAIN: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL", "ABORTED", "UNKNOWN"})


def judge(code: str, text: str) -> StoreError:
    """``code``: gRPC's name of it, ``text``: etcd's words."""
    if "required revision has been compacted" in text:
        return PastRevision(text)
    if "required revision is a future revision" in text:
        return LaterRevision(text)
    if "database space exceeded" in text:
        return StoreUnavailable(
            "etcd is full (alarm NOSPACE): compact and defragment it, or raise its quota, then disarm the alarm"
        )
    if "corrupt cluster" in text:
        return StoreUnavailable("etcd found its members' data to differ (alarm CORRUPT): restore it from a backup")
    if "request is too large" in text or (code == "RESOURCE_EXHAUSTED" and "larger than max" in text):
        return ValueTooLarge("etcdserver: request is too large")
    if "invalid auth token" in text:
        return BadToken(text)
    if "too many requests" in text:
        return Again(text)
    if code in {"PERMISSION_DENIED", "UNAUTHENTICATED"} or "authentication failed" in text or "user name" in text:
        return StoreUnavailable(f"etcd refuses this server: {text}; check its user, or its client certificate")
    if code in _AGAIN:
        return Again(text or code)
    return StoreUnavailable(f"etcd refuses the call: {code}: {text}")
