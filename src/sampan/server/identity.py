"""How users are named: the groups that say whether anybody knows who asks, and the users that are service accounts."""

from __future__ import annotations

from dataclasses import replace

from sampan.server.request import UserInfo

AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"
USER_PREFIX = "system:serviceaccount:"
ALL_ACCOUNTS_GROUP = "system:serviceaccounts"


def with_authenticated(user: UserInfo) -> UserInfo:
    """``system:authenticated`` is added to whoever is not marked otherwise (upstream: AuthenticatedGroupAdder)."""
    if AUTHENTICATED_GROUP in user.groups or UNAUTHENTICATED_GROUP in user.groups:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED_GROUP))


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
