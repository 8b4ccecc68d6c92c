"""The RBAC authorizer: decisions from Roles and bindings kept as indexes, remembered until any of them changes.

``start`` reads the four resources and subscribes; from then on nothing is read per request. RBAC objects change
rarely, so every change simply empties the memory of decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sampan.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Resource
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.server.attributes import AuthorizationAttributes, Decision
from sampan.server.authn.serviceaccount import user_name
from sampan.server.authz.messages import quote
from sampan.server.authz.rules import Rule, allows, rules_of
from sampan.server.reader import ObjectReader
from sampan.server.request import UserInfo

RBAC_GROUP = "rbac.authorization.k8s.io"
_REMEMBERED = 65536
_NO = Decision(False)

_Subject = tuple[str, str]  # ("User" | "Group", name); a ServiceAccount is the user it authenticates as


@dataclass(frozen=True, slots=True)
class _Binding:
    name: str
    namespace: str  # "": a ClusterRoleBinding
    role_kind: str
    role_name: str
    subjects: tuple[tuple[_Subject, str], ...]  # with the words that name the subject in a reason

    def reason(self, subject: str) -> str:
        own = f'ClusterRoleBinding "{self.name}"'
        if self.namespace:
            own = f'RoleBinding "{self.name}/{self.namespace}"'
        return f'RBAC: allowed by {own} of {self.role_kind} "{self.role_name}" to {subject}'


class RbacAuthorizer:
    """Invariant: ``_rules`` and ``_bindings`` mirror the stored objects; ``_decisions`` follows from them alone."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._rules: dict[tuple[str, str, str], tuple[Rule, ...]] = {}  # (kind, namespace, name)
        self._bindings: dict[tuple[str, str], _Binding] = {}  # (namespace, name)
        self._by_subject: dict[tuple[str, _Subject], list[tuple[_Binding, str]]] | None = None
        self._decisions: dict[AuthorizationKey, Decision] = {}
        self._unsubscribe: list[Callable[[], None]] = []

    def start(self) -> None:
        """Idempotent. Must be called once the reader serves the RBAC resources."""
        if self._unsubscribe:
            return
        for resource, take in (
            (ROLES, self._take_role),
            (CLUSTER_ROLES, self._take_role),
            (ROLE_BINDINGS, self._take_binding),
            (CLUSTER_ROLE_BINDINGS, self._take_binding),
        ):
            self._follow(resource, take)

    def stop(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()

    def _follow(self, resource: Resource, take: Callable[[str, Obj, bool], None]) -> None:
        def changed(event: EventType, obj: Obj, _previous: Obj | None, _revision: int) -> None:
            take(resource.kind, obj, event != "DELETED")
            self._by_subject = None
            self._decisions.clear()

        self._unsubscribe.append(self._reader.subscribe(resource, changed))
        for obj in self._reader.list(resource):
            changed("ADDED", obj, None, 0)

    def _take_role(self, kind: str, obj: Obj, present: bool) -> None:
        meta = obj["metadata"]
        key = (kind, meta.get("namespace", ""), meta["name"])
        if present:
            self._rules[key] = rules_of(obj)
        else:
            self._rules.pop(key, None)

    def _take_binding(self, _kind: str, obj: Obj, present: bool) -> None:
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        if present:
            self._bindings[key] = _compile_binding(obj)
        else:
            self._bindings.pop(key, None)

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        return self.decide(attributes)

    def decide(self, attributes: AuthorizationAttributes) -> Decision:
        key = _key(attributes)
        decision = self._decisions.get(key)
        if decision is None:
            decision = self._evaluate(attributes)
            if len(self._decisions) >= _REMEMBERED:
                self._decisions.clear()
            self._decisions[key] = decision
        return decision

    def _evaluate(self, attributes: AuthorizationAttributes) -> Decision:
        missing: list[str] = []
        for binding, subject in self._applicable(attributes.user, attributes.namespace):
            rules = self.role_rules(binding.role_kind, binding.namespace, binding.role_name)
            if rules is None:
                plural = "clusterrole" if binding.role_kind == "ClusterRole" else "role"
                missing.append(f"{plural}.{RBAC_GROUP} {quote(binding.role_name)} not found")
            elif any(allows(rule, attributes) for rule in rules):
                return Decision(True, binding.reason(subject))
        if missing:
            text = missing[0] if len(missing) == 1 else f"[{', '.join(dict.fromkeys(missing))}]"
            return Decision(False, f"RBAC: {text}")
        return _NO

    def role_rules(self, kind: str, namespace: str, name: str) -> tuple[Rule, ...] | None:
        """The rules of a role as a binding in ``namespace`` refers to it; None when it is not there."""
        return self._rules.get((kind, namespace if kind == "Role" else "", name))

    def rules_for(self, user: UserInfo, namespace: str) -> list[Rule]:
        """Everything the user may do in the namespace ("": cluster-wide only)."""
        return [
            rule
            for binding, _ in self._applicable(user, namespace)
            for rule in self.role_rules(binding.role_kind, binding.namespace, binding.role_name) or ()
        ]

    def _applicable(self, user: UserInfo, namespace: str) -> Iterator[tuple[_Binding, str]]:
        index = self._index()
        subjects: list[_Subject] = [("User", user.name), *(("Group", group) for group in user.groups)]
        for scope in ("", namespace) if namespace else ("",):
            for subject in subjects:
                yield from index.get((scope, subject), ())

    def _index(self) -> dict[tuple[str, _Subject], list[tuple[_Binding, str]]]:
        if self._by_subject is None:
            index: dict[tuple[str, _Subject], list[tuple[_Binding, str]]] = {}
            for binding in self._bindings.values():
                for subject, words in binding.subjects:
                    index.setdefault((binding.namespace, subject), []).append((binding, words))
            self._by_subject = index
        return self._by_subject


AuthorizationKey = tuple[str, tuple[str, ...], str, str, str, str, str, str, str]


def _key(attributes: AuthorizationAttributes) -> AuthorizationKey:
    user = attributes.user
    return (
        user.name, user.groups, attributes.verb, attributes.group, attributes.resource, attributes.subresource,
        attributes.namespace, attributes.name, attributes.path,
    )  # fmt: skip


def _compile_binding(obj: Obj) -> _Binding:
    meta, role = obj["metadata"], obj.get("roleRef") or {}
    namespace = meta.get("namespace", "")
    subjects = []
    for wire in obj.get("subjects") or ():
        kind, name = wire.get("kind", ""), wire.get("name", "")
        if kind == "ServiceAccount":
            own = wire.get("namespace") or namespace
            subjects.append((("User", user_name(own, name)), f'ServiceAccount "{name}/{own}"'))
        elif kind in ("User", "Group"):
            subjects.append(((kind, name), f"{kind} {quote(name)}"))
    return _Binding(meta["name"], namespace, role.get("kind", ""), role.get("name", ""), tuple(subjects))
