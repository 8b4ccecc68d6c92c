"""Nobody grants what they do not hold: checks on writes of roles and bindings (upstream: policybased storage).

An admission plugin that is always on. It validates after mutation, for every verb that writes, dry-run included.
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api import errors
from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin
from sampan.server.attributes import AdmissionAttributes, AuthorizationAttributes, Authorizer
from sampan.server.authz.messages import quote
from sampan.server.authz.rbac import RBAC_GROUP, RbacAuthorizer
from sampan.server.authz.rules import Rule, compact, count, not_held_whole, quote_list, rules_of, uncovered
from sampan.server.authz.union import PRIVILEGED_GROUP
from sampan.server.request import UserInfo
from sampan.server.threads import paced

_ROLES = frozenset({"roles", "clusterroles"})
_BINDINGS = frozenset({"rolebindings", "clusterrolebindings"})
#: how many single permissions are weighed one by one; the default role ``admin`` has a fifth of it
MOST_PERMISSIONS = 3000
_MOST_LINES = 200
#: of one permission with one rule; more are a thread's
_MANY_COMPARISONS = 2000


class RbacEscalationCheck(Plugin):
    name = "RBACEscalationCheck"
    resources = frozenset((RBAC_GROUP, plural) for plural in (*_ROLES, *_BINDINGS))

    def __init__(self, rbac: RbacAuthorizer, authorizer: Authorizer) -> None:
        self._rbac, self._authorizer = rbac, authorizer

    async def validate(self, attributes: AdmissionAttributes) -> None:
        kind, obj = attributes.kind, attributes.obj
        if kind.group != RBAC_GROUP or obj is None or attributes.operation not in ("CREATE", "UPDATE"):
            return
        if PRIVILEGED_GROUP in attributes.user.groups:
            return
        if kind.plural in _ROLES:
            await self._check_role(attributes, obj)
        elif kind.plural in _BINDINGS:
            await self._check_binding(attributes, obj)

    async def _check_role(self, attributes: AdmissionAttributes, obj: Obj) -> None:
        old = attributes.old
        aggregation_changed = old is None or old.get("aggregationRule") != obj.get("aggregationRule")
        if old is not None and not aggregation_changed and (old.get("rules") or []) == (obj.get("rules") or []):
            return
        plural = attributes.kind.plural
        if await self._may(attributes, "escalate", plural, attributes.name):
            return
        if obj.get("aggregationRule") and aggregation_changed:
            # What such a role will hold is not known yet: only who holds everything may set it up.
            everything = [Rule(("*",), ("*",), ("*",)), Rule(("*",), paths=("*",))]
            if uncovered(self._rbac.rules_for(attributes.user, ""), everything):
                detail = "must have cluster-admin privileges to use the aggregationRule"
                raise errors.forbidden_error(plural, attributes.name, detail, RBAC_GROUP)
        await self._require(attributes, await paced(attributes.request.heavy, rules_of, obj))

    async def _check_binding(self, attributes: AdmissionAttributes, obj: Obj) -> None:
        old = attributes.old
        if old is not None and all(old.get(key) == obj.get(key) for key in ("roleRef", "subjects")):
            return
        role = part(obj, "roleRef")
        kind, name = text(role, "kind"), text(role, "name")
        plural = "clusterroles" if kind == "ClusterRole" else "roles"
        if await self._may(attributes, "bind", plural, name):
            return
        rules = self._rbac.role_rules(kind, attributes.namespace, name)
        if rules is None:
            raise errors.not_found(plural, name, RBAC_GROUP)
        await self._require(attributes, rules)

    async def _may(self, attributes: AdmissionAttributes, verb: str, plural: str, name: str) -> bool:
        question = AuthorizationAttributes(
            attributes.user, verb, RBAC_GROUP, attributes.kind.version, plural,
            namespace=attributes.namespace, name=name,
        )  # fmt: skip
        return (await self._authorizer.authorize(question)).allowed

    async def _require(self, attributes: AdmissionAttributes, wanted: Sequence[Rule]) -> None:
        held = self._rbac.rules_for(attributes.user, attributes.namespace)
        heavy = attributes.request.heavy or sum(map(count, wanted)) * len(held) > _MANY_COMPARISONS
        await paced(heavy, _check, attributes, held, wanted)


def _check(attributes: AdmissionAttributes, held: Sequence[Rule], wanted: Sequence[Rule]) -> None:
    """Raises Forbidden."""
    asked = not_held_whole(held, wanted)
    if sum(map(count, asked)) > MOST_PERMISSIONS:
        detail = (
            f"{_who(attributes.user)} is attempting to grant more than {MOST_PERMISSIONS} RBAC permissions "
            "that no single rule of theirs holds"
        )
        raise errors.forbidden_error(attributes.kind.plural, attributes.name, detail, RBAC_GROUP)
    missing = uncovered(held, asked)
    if missing:
        detail = escalation_message(attributes.user, missing)
        raise errors.forbidden_error(attributes.kind.plural, attributes.name, detail, RBAC_GROUP)


def escalation_message(user: UserInfo, missing: Sequence[Rule]) -> str:
    rules = compact(missing)
    lines = [rule.compact() for rule in rules[:_MOST_LINES]]
    if len(rules) > _MOST_LINES:
        lines.append(f"and {len(rules) - _MOST_LINES} more")
    listed = "\n".join(lines)
    return f"{_who(user)} is attempting to grant RBAC permissions not currently held:\n{listed}"


def _who(user: UserInfo) -> str:
    return f"user {quote(user.name)} (groups={quote_list(user.groups)})"
