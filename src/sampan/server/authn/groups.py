"""The two groups that say whether anybody knows who asks. Declarations, and the one rule about them."""

from __future__ import annotations

from dataclasses import replace

from sampan.server.request import UserInfo

AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"


def with_authenticated(user: UserInfo) -> UserInfo:
    """``system:authenticated`` is added to whoever is not marked otherwise (upstream: AuthenticatedGroupAdder)."""
    if AUTHENTICATED_GROUP in user.groups or UNAUTHENTICATED_GROUP in user.groups:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED_GROUP))
