"""Asks authorizers in order: the first that allows or denies decides, as upstream's ``--authorization-mode`` list."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.server.attributes import AuthorizationAttributes, Authorizer, Decision

PRIVILEGED_GROUP = "system:masters"
_PRIVILEGED = Decision(True)


class UnionAuthorizer:
    """``system:masters`` is always allowed: the way back in when policy itself is broken."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        if PRIVILEGED_GROUP in attributes.user.groups:
            return _PRIVILEGED
        reasons: list[str] = []
        for authorizer in self._authorizers:
            decision = await authorizer.authorize(attributes)
            if decision.allowed or decision.denied:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, "\n".join(reasons))
