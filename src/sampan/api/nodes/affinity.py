"""Which nodes a pod may run on: nodeSelector and node affinity (upstream ``component-helpers``, ``nodeaffinity``).

Pure; never raises. A term is parsed into a ``Term``, which can be asked of one node or, by the scheduler, of all at
once. One that does not parse matches no node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sampan.api.labels import EVERYTHING, Requirement, Selector, SelectorError, from_map, node_selector_term
from sampan.api.reading import part, parts, text, text_map, texts
from sampan.api.types import Obj
from sampan.records import dataclass

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_NAME = "metadata.name"


@dataclass(frozen=True, slots=True)
class FieldTest:
    """``value`` is, or with ``negated`` is not, what the field holds. Nodes have one such field, their name."""

    key: str
    value: str
    negated: bool = False

    def matches(self, name: str) -> bool:
        return ((name if self.key == _NAME else "") == self.value) is not self.negated


@dataclass(frozen=True, slots=True)
class Term:
    """All of it must hold."""

    selector: Selector = EVERYTHING
    fields: tuple[FieldTest, ...] = ()

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        return self.selector.requirements

    def matches(self, labels: Mapping[str, str], name: str) -> bool:
        return self.selector.matches(labels) and all(test.matches(name) for test in self.fields)


def parse_term(term: Obj) -> Term | None:
    """None: it matches no node, because it is empty or does not parse."""
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not (isinstance(expressions, list) and isinstance(fields, list)) or not (expressions or fields):
        return None
    if not all(isinstance(item, dict) for item in (*expressions, *fields)):
        return None
    tests = []
    for field in fields:
        values = list(texts(field, "values"))
        if field.get("operator") not in ("In", "NotIn") or len(values) != 1:
            return None
        tests.append(FieldTest(text(field, "key"), values[0], field["operator"] == "NotIn"))
    try:
        selector = node_selector_term(
            {"key": text(e, "key"), "operator": text(e, "operator"), "values": list(texts(e, "values"))}
            for e in expressions
        )
    except SelectorError:
        return None
    return Term(selector, tuple(tests))


def parse_terms(selector: Obj) -> tuple[Term, ...]:
    """Of a NodeSelector: a node matches when it matches one of them."""
    parsed = (parse_term(term) for term in parts(selector, "nodeSelectorTerms"))
    return tuple(term for term in parsed if term is not None)


def selector_takes(selector: Obj, node: Obj) -> bool:
    """Whether a NodeSelector takes the node."""
    meta = part(node, "metadata")
    labels, name = text_map(meta, "labels"), text(meta, "name")
    return any(term.matches(labels, name) for term in parse_terms(selector))


@dataclass(frozen=True, slots=True)
class Required:
    """``selector`` is nodeSelector's. ``terms`` None: any node will do, as far as affinity goes; empty: none will."""

    selector: Selector
    terms: tuple[Term, ...] | None = None

    @property
    def asks_nothing(self) -> bool:
        return self.selector.everything and self.terms is None

    def matches(self, labels: Mapping[str, str], name: str) -> bool:
        if not self.selector.matches(labels):
            return False
        return self.terms is None or any(term.matches(labels, name) for term in self.terms)


def required_of(pod: Obj) -> Required:
    """What the pod's nodeSelector and required node affinity ask for together."""
    spec = part(pod, "spec")
    return required(text_map(spec, "nodeSelector"), node_affinity(pod))


def required(labels: Mapping[str, str], affinity: Obj) -> Required:
    selector = affinity.get(_REQUIRED)
    return Required(from_map(labels), parse_terms(selector) if isinstance(selector, dict) else None)


def preferred(affinity: Obj) -> Iterable[tuple[int, Term]]:
    """(weight, term) of those that count."""
    for item in parts(affinity, _PREFERRED):
        weight, term = item.get("weight"), parse_term(part(item, "preference"))
        if type(weight) is int and weight and term is not None:
            yield weight, term


def node_affinity(pod: Obj) -> Obj:
    return part(part(part(pod, "spec"), "affinity"), "nodeAffinity")


def allows(pod: Obj, node: Obj) -> bool:
    """Whether the pod's own wishes allow the node. Taints are not asked."""
    wanted = required_of(pod)
    meta = part(node, "metadata")
    return wanted.asks_nothing or wanted.matches(text_map(meta, "labels"), text(meta, "name"))


def named_nodes(affinity: Obj) -> set[str] | None:
    """The nodes that ``matchFields`` narrows required affinity to, when every term names some: pods of DaemonSets."""
    terms = list(parts(part(affinity, _REQUIRED), "nodeSelectorTerms"))
    names: set[str] = set()
    for term in terms:
        chosen: set[str] | None = None
        for field in parts(term, "matchFields"):
            if field.get("key") == _NAME and field.get("operator") == "In":
                values = set(texts(field, "values"))
                chosen = values if chosen is None else chosen & values
        if chosen is None:
            return None
        names |= chosen
    return names if terms else None
