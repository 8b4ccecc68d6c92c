"""Policy rules of RBAC as plain data: does a rule allow a question, does a set of rules cover another rule.

Pure functions. Used by the RBAC authorizer, the escalation checks, aggregation and SelfSubjectRulesReview.
Spec: rbac.authorization.k8s.io/v1 PolicyRule; component-helpers auth/rbac/validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from sampan.api.reading import parts
from sampan.api.types import Obj
from sampan.records import dataclass
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
            value = wire.get(key)
            return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()

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
    return tuple(Rule.of(rule) for rule in parts(role, "rules"))


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


def count(rule: Rule) -> int:
    """How many single permissions it breaks down into."""
    resources = len(rule.groups) * len(rule.resources) * (len(rule.names) or 1)
    return len(rule.verbs) * (resources + len(rule.paths))


def uncovered(owned: Iterable[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """The single permissions of ``wanted`` that no rule of ``owned`` has. Its cost is the product of what a rule lists:
    see ``not_held_whole``."""
    held = tuple(owned)
    return [
        single
        for rule in not_held_whole(held, wanted)
        for single in break_down(rule)
        if not any(_covers(own, single) for own in held)
    ]


def not_held_whole(owned: Iterable[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """The rules of ``wanted``, each once, that no single rule of ``owned`` holds by itself."""
    held = [(own, frozenset(own.verbs), frozenset(own.groups), frozenset(own.resources)) for own in owned]
    return [rule for rule in dict.fromkeys(wanted) if not any(_holds(*own, rule) for own in held)]


def _holds(own: Rule, verbs: frozenset[str], groups: frozenset[str], resources: frozenset[str], rule: Rule) -> bool:
    """Whether one rule says all that another says. False where only breaking it down could tell."""
    if rule.paths or own.names or not (ALL in verbs or verbs.issuperset(rule.verbs)):
        return False
    return (ALL in groups or groups.issuperset(rule.groups)) and (
        ALL in resources or resources.issuperset(rule.resources)
    )


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
    merged: dict[Rule, dict[str, None]] = {}
    for rule in rules:
        key = Rule((), rule.groups, rule.resources, rule.names, rule.paths)
        merged.setdefault(key, {}).update(dict.fromkeys(rule.verbs))
    joined = (Rule(tuple(verbs), key.groups, key.resources, key.names, key.paths) for key, verbs in merged.items())
    return sorted(joined, key=Rule.compact)
