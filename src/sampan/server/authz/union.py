"""Asks authorizers in order: the first that allows or denies decides, as upstream's ``--authorization-mode`` list."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.server.attributes import AuthorizationAttributes, Authorizer, Decision

PRIVILEGED_GROUP = "system:masters"
_PRIVILEGED, _NO = Decision(True), Decision(False)


class UnionAuthorizer:
    """``system:masters`` is always allowed: the way back in when policy itself is broken."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    def decide_now(self, attributes: AuthorizationAttributes) -> Decision | None:
        if PRIVILEGED_GROUP in attributes.user.groups:
            return _PRIVILEGED
        reasons = ""
        for authorizer in self._authorizers:
            decision = authorizer.decide_now(attributes)
            if decision is None or decision.allowed or decision.denied:
                return decision
            if decision.reason:
                reasons = f"{reasons}\n{decision.reason}" if reasons else decision.reason
        return Decision(False, reasons) if reasons else _NO

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        decided = self.decide_now(attributes)
        if decided is not None:
            return decided
        reasons: list[str] = []
        for authorizer in self._authorizers:
            decision = await authorizer.authorize(attributes)
            if decision.allowed or decision.denied:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, "\n".join(reasons))
