"""Policy rules of RBAC as plain data: does a rule allow a question, does a set of rules cover another rule.

Pure functions. Used by the RBAC authorizer, the escalation checks, aggregation and SelfSubjectRulesReview.
Spec: rbac.authorization.k8s.io/v1 PolicyRule; component-helpers auth/rbac/validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from sampan.api.types import Obj
from sampan.server.attributes import AuthorizationAttributes
from sampan.server.authz.messages import quote

ALL = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    verbs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @classmethod
    def of(cls, wire: Obj) -> Rule:
        def listed(key: str) -> tuple[str, ...]:
            return tuple(wire.get(key) or ())

        return cls(
            listed("verbs"),
            listed("apiGroups"),
            listed("resources"),
            listed("resourceNames"),
            listed("nonResourceURLs"),
        )

    def wire(self) -> Obj:
        """The PolicyRule object; empty lists are left out."""
        fields = {
            "verbs": self.verbs,
            "apiGroups": self.groups,
            "resources": self.resources,
            "resourceNames": self.names,
            "nonResourceURLs": self.paths,
        }
        return {key: list(values) for key, values in fields.items() if values or key == "verbs"}

    def compact(self) -> str:
        """One line for messages, with Go's ``%q`` of each list."""
        fields = (
            ("APIGroups", self.groups),
            ("Resources", self.resources),
            ("NonResourceURLs", self.paths),
            ("ResourceNames", self.names),
            ("Verbs", self.verbs),
        )
        return "{" + ", ".join(f"{key}:{quote_list(values)}" for key, values in fields if values) + "}"


def quote_list(values: Sequence[str]) -> str:
    return "[" + " ".join(quote(value) for value in values) + "]"


def rules_of(role: Obj) -> tuple[Rule, ...]:
    return tuple(Rule.of(rule) for rule in role.get("rules") or ())


def allows(rule: Rule, question: AuthorizationAttributes) -> bool:
    if not question.resource:
        return _has(rule.verbs, question.verb) and any(path_matches(path, question.path) for path in rule.paths)
    return allows_but_for_names(rule, question) and (not rule.names or question.name in rule.names)


def allows_but_for_names(rule: Rule, question: AuthorizationAttributes) -> bool:
    """Whether the rule allows this question about a resource for some name."""
    return (
        _has(rule.verbs, question.verb)
        and _has(rule.groups, question.group)
        and any(_resource_matches(own, question.resource, question.subresource) for own in rule.resources)
    )


def _has(own: Sequence[str], wanted: str) -> bool:
    return wanted in own or ALL in own


def _resource_matches(own: str, resource: str, subresource: str) -> bool:
    if own == ALL:
        return True
    combined = f"{resource}/{subresource}" if subresource else resource
    return own == combined or (bool(subresource) and own == f"*/{subresource}")


def path_matches(own: str, path: str) -> bool:
    return own in (ALL, path) or (own.endswith(ALL) and path.startswith(own[:-1].rstrip(ALL)))


def break_down(rule: Rule) -> list[Rule]:
    """The rule as single permissions: one verb on one resource (and name) of one group, or on one path."""
    single = [
        Rule((verb,), (group,), (resource,), (name,) if name else ())
        for group, resource, verb, name in product(rule.groups, rule.resources, rule.verbs, rule.names or ("",))
    ]
    return single + [Rule((verb,), paths=(path,)) for path, verb in product(rule.paths, rule.verbs)]


def uncovered(owned: Iterable[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """The single permissions of ``wanted`` that no rule of ``owned`` has."""
    held = tuple(owned)
    return [single for rule in wanted for single in break_down(rule) if not any(_covers(own, single) for own in held)]


def _covers(own: Rule, single: Rule) -> bool:
    if not _has(own.verbs, single.verbs[0]):
        return False
    if single.paths:
        return any(path_matches(path, single.paths[0]) for path in own.paths)
    if not (own.groups and single.groups and _has(own.groups, single.groups[0])):
        return False
    resource, _, subresource = single.resources[0].partition("/")
    if not any(_resource_matches(path, resource, subresource) for path in own.resources):
        return False
    return not own.names or bool(single.names and single.names[0] in own.names)


def compact(rules: Iterable[Rule]) -> list[Rule]:
    """Single permissions that differ only in their verb, put together; sorted as messages list them."""
    merged: dict[Rule, list[str]] = {}
    for rule in rules:
        key = Rule((), rule.groups, rule.resources, rule.names, rule.paths)
        verbs = merged.setdefault(key, [])
        verbs.extend(verb for verb in rule.verbs if verb not in verbs)
    joined = (Rule(tuple(verbs), key.groups, key.resources, key.names, key.paths) for key, verbs in merged.items())
    return sorted(joined, key=Rule.compact)
