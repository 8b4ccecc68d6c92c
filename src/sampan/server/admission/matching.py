"""Which writes a rule is about, of a webhook or of an admission policy (admissionregistration.k8s.io). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from sampan.api.kind import Kind
from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.write import Write

GROUP: Final = "admissionregistration.k8s.io"
_NAMESPACES: Final = ("", "namespaces")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a write is about, in the version that the client speaks. A Namespace is in the namespace of its name."""

    group: str
    version: str
    plural: str
    subresource: str
    operation: str
    namespace: str
    name: str

    def of_kind(self, kind: Kind) -> Asked:
        """The same as if it had been asked in another version."""
        return replace(self, group=kind.group, version=kind.version, plural=kind.plural)

    @property
    def of_namespaces(self) -> bool:
        return (self.group, self.plural) == _NAMESPACES

    @property
    def resource(self) -> Obj:
        """As messages have it (metav1.GroupVersionResource)."""
        return {"group": self.group, "version": self.version, "resource": self.plural}


def asked_of(write: Write) -> Asked:
    kind = write.request_kind or write.kind
    name = write.name or text(part(write.obj, "metadata"), "name") or text(part(write.old, "metadata"), "name")
    namespace = name if (kind.group, kind.plural) == _NAMESPACES else write.namespace
    return Asked(kind.group, kind.version, kind.plural, write.subresource, write.operation, namespace, name)


def is_exempt(kind: Kind) -> bool:
    """What configures admission is not itself admitted by what it configures: else nobody could take it back."""
    return kind.group == GROUP and kind.kind in _EXEMPT


_EXEMPT: Final = frozenset(
    {
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
    }
)


@dataclass(frozen=True, slots=True)
class Rule:
    """RuleWithOperations; ``names`` (of policies) empty: every name."""

    groups: frozenset[str]
    versions: frozenset[str]
    resources: tuple[tuple[str, str], ...]
    operations: frozenset[str]
    scope: str
    names: frozenset[str]

    def concerns(self, group: str, plural: str) -> bool:
        """Whether it can match any write of the resource."""
        return _has(self.groups, group) and any(resource in ("*", plural) for resource, _ in self.resources)

    def matches(self, asked: Asked) -> bool:
        return (
            _has(self.operations, asked.operation)
            and _has(self.groups, asked.group)
            and _has(self.versions, asked.version)
            and self._of_resource(asked)
            and self._in_scope(asked)
            and (not self.names or asked.name in self.names)
        )

    def _of_resource(self, asked: Asked) -> bool:
        for resource, subresource in self.resources:
            if resource in ("*", asked.plural) and subresource in ("*", asked.subresource):
                return True
        return False

    def _in_scope(self, asked: Asked) -> bool:
        if self.scope == "*":
            return True
        in_namespace = bool(asked.namespace) and not asked.of_namespaces
        return in_namespace == (self.scope == "Namespaced")


def _has(listed: frozenset[str], value: str) -> bool:
    return value in listed or "*" in listed


def rule_of(rule: Obj) -> Rule:
    resources = []
    for each in _texts(rule.get("resources")):
        resource, _, subresource = each.partition("/")
        resources.append((resource, subresource))
    return Rule(
        frozenset(_texts(rule.get("apiGroups"))),
        frozenset(_texts(rule.get("apiVersions"))),
        tuple(resources),
        frozenset(_texts(rule.get("operations"))),
        text(rule, "scope") or "*",
        frozenset(_texts(rule.get("resourceNames"))),
    )


def _texts(value: Any) -> Iterable[str]:
    return (each for each in value if isinstance(each, str)) if isinstance(value, list) else ()
