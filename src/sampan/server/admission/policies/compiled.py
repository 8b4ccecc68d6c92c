"""A policy and its bindings, compiled: which writes they are about, and what is evaluated."""

from __future__ import annotations

import asyncio
from dataclasses import field
from typing import TYPE_CHECKING, Any

from sampan.api import labels
from sampan.api.reading import part, parts, text, texts
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.admission.matching import Rule, rule_of

if TYPE_CHECKING:
    from sampan.api.expressions.policies import Policy


@dataclass(frozen=True, slots=True)
class Constraints:
    """MatchResources. ``rules`` empty: every resource (of bindings)."""

    rules: tuple[Rule, ...]
    excluded: tuple[Rule, ...]
    namespaces: labels.Selector
    objects: labels.Selector
    equivalent: bool

    def concern(self, group: str, plural: str) -> bool:
        return not self.rules or any(rule.concerns(group, plural) for rule in self.rules)


def constraints_of(match: Obj) -> Constraints:
    return Constraints(
        tuple(map(rule_of, parts(match, "resourceRules"))),
        tuple(map(rule_of, parts(match, "excludeResourceRules"))),
        _selector(match.get("namespaceSelector")),
        _selector(match.get("objectSelector")),
        text(match, "matchPolicy") != "Exact",
    )


def _selector(found: Any) -> labels.Selector:
    """What cannot be read as a selector selects all: a policy must not be got round by it."""
    try:
        return labels.from_label_selector(found) if isinstance(found, dict) else labels.EVERYTHING
    except labels.SelectorError:
        return labels.EVERYTHING


@dataclass(frozen=True, slots=True)
class ParamRef:
    """``selector`` None: by name."""

    name: str
    namespace: str
    selector: labels.Selector | None
    denies_if_missing: bool


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    name: str
    policy: str
    constraints: Constraints | None
    params: ParamRef | None
    actions: tuple[str, ...]


def binding_of(obj: Obj) -> Binding:
    spec = part(obj, "spec")
    reference, match = spec.get("paramRef"), spec.get("matchResources")
    return Binding(
        text(part(obj, "metadata"), "name"),
        text(spec, "policyName"),
        constraints_of(match) if isinstance(match, dict) else None,
        _param_ref(reference) if isinstance(reference, dict) else None,
        tuple(texts(spec, "validationActions")),
    )


def _param_ref(reference: Obj) -> ParamRef:
    selector = reference.get("selector")
    return ParamRef(
        text(reference, "name"),
        text(reference, "namespace"),
        _selector(selector) if isinstance(selector, dict) else None,
        text(reference, "parameterNotFoundAction") != "Allow",
    )


@dataclass(slots=True, eq=False)
class Definition:
    """``param_kind``: (apiVersion, kind); None: no parameters. ``policy``: the expressions, compiled when the first
    write comes that the policy concerns: however long that takes, others do not wait for it."""

    name: str
    spec: Obj
    constraints: Constraints
    param_kind: tuple[str, str] | None
    reinvocable: bool
    ignores_failures: bool
    policy: Policy | None = None
    compiling: asyncio.Lock = field(default_factory=asyncio.Lock)


def definition_of(obj: Obj) -> Definition:
    spec = part(obj, "spec")
    kind = spec.get("paramKind")
    return Definition(
        text(part(obj, "metadata"), "name"),
        spec,
        constraints_of(part(spec, "matchConstraints")),
        (text(kind, "apiVersion"), text(kind, "kind")) if isinstance(kind, dict) else None,
        text(spec, "reinvocationPolicy") == "IfNeeded",
        text(spec, "failurePolicy") == "Ignore",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Hook:
    """A policy with all that binds it."""

    definition: Definition
    bindings: tuple[Binding, ...]
