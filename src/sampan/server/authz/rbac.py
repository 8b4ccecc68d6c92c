"""The RBAC authorizer: decisions from Roles and bindings kept as indexes, remembered until any of them changes.

``start`` reads the four resources and subscribes; from then on nothing is read per request. RBAC objects change
rarely, so every change simply empties the memory of answers (``memory.py``). A stored object that cannot be read as a
role or a binding grants nothing and is said once; it breaks nobody else's access.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from sampan.api.reading import part, parts, text
from sampan.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Resource
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.attributes import AuthorizationAttributes, Decision
from sampan.server.authz.memory import Answer, Memory
from sampan.server.authz.messages import quote
from sampan.server.authz.rules import Rule, allows, allows_but_for_names, rules_of
from sampan.server.identity import user_name
from sampan.server.reader import ObjectReader
from sampan.server.request import UserInfo

log = logging.getLogger(__name__)

RBAC_GROUP = "rbac.authorization.k8s.io"
_NO = Decision(False)

_Subject = tuple[str, str]  # ("User" | "Group", name); a ServiceAccount is the user it authenticates as
_Found = tuple["_Binding", str]  # with the words that name the subject in a reason


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
    """Invariant: ``_rules`` and ``_bindings`` mirror the stored objects; ``_memory`` follows from them alone."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._rules: dict[tuple[str, str, str], tuple[Rule, ...]] = {}  # (kind, namespace, name)
        self._bindings: dict[tuple[str, str], _Binding] = {}  # (namespace, name)
        self._by_subject: dict[tuple[str, _Subject], list[_Found]] | None = None
        self._memory = Memory()
        self._unreadable: set[tuple[str, str, str]] = set()
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

    def _follow(self, resource: Resource, take: Callable[[str, str, str, Obj | None], None]) -> None:
        def changed(event: EventType, obj: Obj, _previous: Obj | None, _revision: int) -> None:
            meta = part(obj, "metadata")
            namespace, name = text(meta, "namespace"), text(meta, "name")
            self._by_subject = None
            self._memory.clear()
            try:
                take(resource.kind, namespace, name, obj if event != "DELETED" else None)
            except (AttributeError, LookupError, TypeError, ValueError):
                take(resource.kind, namespace, name, None)
                self._complain(resource, namespace, name)

        self._unsubscribe.append(self._reader.subscribe(resource, changed, keep=False))
        for obj in self._reader.list(resource):
            changed("ADDED", obj, None, 0)

    def _complain(self, resource: Resource, namespace: str, name: str) -> None:
        key = (resource.plural, namespace, name)
        if key not in self._unreadable and len(self._unreadable) < 1000:
            self._unreadable.add(key)
            log.error("%s %s/%s cannot be read as one and grants nothing", resource.plural, namespace, name)

    def _take_role(self, kind: str, namespace: str, name: str, obj: Obj | None) -> None:
        if obj is not None:
            self._rules[kind, namespace, name] = rules_of(obj)
        else:
            self._rules.pop((kind, namespace, name), None)

    def _take_binding(self, _kind: str, namespace: str, name: str, obj: Obj | None) -> None:
        if obj is not None:
            self._bindings[namespace, name] = _compile_binding(namespace, name, obj)
        else:
            self._bindings.pop((namespace, name), None)

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        return self.decide_now(attributes)

    def decide_now(self, attributes: AuthorizationAttributes) -> Decision:
        if not attributes.resource:
            return self._decide_path(attributes)
        user = attributes.user
        answers = self._memory.of(user)
        key = (
            attributes.verb, attributes.resource, attributes.namespace, attributes.group, attributes.subresource
        )  # fmt: skip
        answer = answers.get(key) if answers is not None else None
        if answer is None:
            answer = self._answer(attributes)
            self._memory.remember(user, key, answer)
        return answer.for_name(attributes.name) if answer.named else answer.otherwise

    def _answer(self, asked: AuthorizationAttributes) -> Answer:
        """The answer for every name at once. The first rule that allows decides, as it gives the reason."""
        missing: list[str] = []
        named: list[tuple[tuple[str, ...], Decision]] = []
        for binding, subject in self._applicable(asked.user, asked.namespace):
            rules = self.role_rules(binding.role_kind, binding.namespace, binding.role_name)
            if rules is None:
                missing.append(_not_found(binding))
                continue
            for rule in rules:
                if allows_but_for_names(rule, asked):
                    decision = Decision(True, binding.reason(subject))
                    if not rule.names:
                        return Answer(tuple(named), decision)
                    named.append((rule.names, decision))
        return Answer(tuple(named), _refusal(missing))

    def _decide_path(self, asked: AuthorizationAttributes) -> Decision:
        """Not remembered: paths are what strangers can make up, and few rules speak of any."""
        missing: list[str] = []
        for binding, subject in self._applicable(asked.user, ""):
            rules = self.role_rules(binding.role_kind, binding.namespace, binding.role_name)
            if rules is None:
                missing.append(_not_found(binding))
                continue
            for rule in rules:
                if rule.paths and allows(rule, asked):
                    return Decision(True, binding.reason(subject))
        return _refusal(missing)

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

    def _applicable(self, user: UserInfo, namespace: str) -> Iterator[_Found]:
        index = self._index()
        subjects: list[_Subject] = [("User", user.name), *(("Group", group) for group in user.groups)]
        for scope in ("", namespace) if namespace else ("",):
            for subject in subjects:
                yield from index.get((scope, subject), ())

    def _index(self) -> dict[tuple[str, _Subject], list[_Found]]:
        if self._by_subject is None:
            index: dict[tuple[str, _Subject], list[_Found]] = {}
            for binding in self._bindings.values():
                for subject, words in binding.subjects:
                    index.setdefault((binding.namespace, subject), []).append((binding, words))
            self._by_subject = index
        return self._by_subject


def _not_found(binding: _Binding) -> str:
    plural = "clusterrole" if binding.role_kind == "ClusterRole" else "role"
    return f"{plural}.{RBAC_GROUP} {quote(binding.role_name)} not found"


def _refusal(missing: list[str]) -> Decision:
    if not missing:
        return _NO
    words = missing[0] if len(missing) == 1 else f"[{', '.join(dict.fromkeys(missing))}]"
    return Decision(False, f"RBAC: {words}")


def _compile_binding(namespace: str, name: str, obj: Obj) -> _Binding:
    role = part(obj, "roleRef")
    subjects = []
    for wire in parts(obj, "subjects"):
        kind, subject = text(wire, "kind"), text(wire, "name")
        if kind == "ServiceAccount":
            own = text(wire, "namespace") or namespace
            subjects.append((("User", user_name(own, subject)), f'ServiceAccount "{subject}/{own}"'))
        elif kind in ("User", "Group"):
            subjects.append(((kind, subject), f"{kind} {quote(subject)}"))
    return _Binding(name, namespace, text(role, "kind"), text(role, "name"), tuple(subjects))
