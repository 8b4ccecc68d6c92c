"""Which metrics there are at the moment: what the rules make of the series that Prometheus has. Pure, immutable."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from sampan.metricsadapter.rules import Config, GroupResource, Rule
from sampan.records import dataclass

NAMESPACES: Final = GroupResource("", "namespaces")
#: metrics of all rules together
MOST_METRICS: Final = 20_000

#: what stands in a label for the fields of a template; names of resources hold no underscore
_PATTERNS: Final[Mapping[str, str]] = {"Group": "[A-Za-z0-9_]*", "Resource": "[A-Za-z0-9]+"}

#: a series without its values: (name, names of labels)
Series = tuple[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Known:
    """A resource as the cluster serves it."""

    resource: GroupResource
    singular: str
    kind: str
    version: str
    namespaced: bool


@dataclass(frozen=True, slots=True)
class Source:
    """Where the values of a metric come from. ``label`` holds the object's name; ``namespace_label`` "": the series has
    none."""

    rule: Rule
    series: str
    label: str = ""
    namespace_label: str = ""


@dataclass(frozen=True, slots=True)
class CustomMetric:
    resource: GroupResource
    namespaced: bool
    name: str


@dataclass(frozen=True, slots=True)
class Catalog:
    custom: Mapping[CustomMetric, Source]
    external: Mapping[str, Source]


class Resources:
    """Resources by any of their names; the first that is given wins."""

    def __init__(self, known: Iterable[Known]) -> None:
        self._by_name: dict[tuple[str, str], Known] = {}
        self._by_resource: dict[str, Known] = {}
        for each in known:
            for name in (each.resource.resource, each.singular):
                self._by_name.setdefault((each.resource.group, name), each)
                self._by_resource.setdefault(name, each)

    def find(self, named: GroupResource) -> Known | None:
        """Without a group it is that of the core or, failing that, the first that has the resource."""
        if named.group:
            return self._by_name.get((named.group, named.resource))
        return self._by_name.get(("", named.resource)) or self._by_resource.get(named.resource)

    def parse(self, text: str) -> Known | None:
        """``pods``, ``deployments.apps``."""
        resource, _, group = text.partition(".")
        return self.find(GroupResource(group, resource))

    def sanitised(self, group: str, resource: str) -> Known | None:
        """By a group that is written as a part of a label's name."""
        for (real, name), each in self._by_name.items():
            if name == resource and re.sub(r"[.-]", "_", real) == group:
                return each
        return None


def build(config: Config, series: Callable[[Rule], Sequence[Series]], resources: Resources) -> Catalog:
    """``series``: what Prometheus has for a rule's query. Of two rules for one metric the later one counts."""
    custom: dict[CustomMetric, Source] = {}
    external: dict[str, Source] = {}
    for rule in config.custom:
        labels = _Labels(rule, resources)
        for name, names in series(rule):
            metric = rule.metric_name(name)
            if metric and len(custom) < MOST_METRICS:
                for found, source in _of_series(rule, labels, name, names):
                    custom[CustomMetric(found.resource, found.namespaced, metric)] = source
    for rule in config.external:
        namespace = _Labels(rule, resources).label_of(resources.find(NAMESPACES)) if rule.namespaced else ""
        for name, _ in series(rule):
            metric = rule.metric_name(name)
            if metric and len(external) < MOST_METRICS:
                external[metric] = Source(rule, name, "", namespace)
    return Catalog(custom, external)


def _of_series(rule: Rule, labels: _Labels, name: str, label_names: frozenset[str]) -> Iterable[tuple[Known, Source]]:
    found = {label: known for label in sorted(label_names) if (known := labels.resource_of(label)) is not None}
    namespace = next((label for label, known in found.items() if known.resource == NAMESPACES), "")
    for label, known in found.items():
        if known.namespaced and not namespace:
            continue  # whose it is cannot be told
        yield known, Source(rule, name, label, namespace if known.namespaced else "")


class _Labels:
    """Which labels of a rule's series mean which resources."""

    def __init__(self, rule: Rule, resources: Resources) -> None:
        self._resources = resources
        self._template = rule.resource_template
        self._known: dict[str, Known | None] = {label: resources.find(named) for label, named in rule.overrides.items()}
        self._pattern: re.Pattern[str] | None = None
        if self._template is not None:
            texts = [re.escape(text) for text in self._template.texts]
            pattern = texts[0]
            seen: set[str] = set()
            for (name, _), text in zip(self._template.actions, texts[1:], strict=True):
                pattern += (f"(?P={name})" if name in seen else f"(?P<{name}>{_PATTERNS[name]})") + text
                seen.add(name)
            self._pattern = re.compile(pattern)

    def resource_of(self, label: str) -> Known | None:
        if label not in self._known:
            self._known[label] = self._guessed(label)
        return self._known[label]

    def _guessed(self, label: str) -> Known | None:
        found = self._pattern.fullmatch(label) if self._pattern is not None else None
        if found is None:
            return None
        said = found.groupdict()
        resource = said.get("Resource", "")
        if "Group" in said:
            return self._resources.sanitised(said["Group"], resource)
        return self._resources.find(GroupResource("", resource))

    def label_of(self, known: Known | None) -> str:
        """ "" for what no label of the rule means."""
        if known is None:
            return ""
        for label, each in self._known.items():
            if each == known:
                return label
        if self._template is None:
            return "namespace" if known.resource == NAMESPACES else ""
        group = re.sub(r"[.-]", "_", known.resource.group)
        return self._template.fill({"Group": group, "Resource": known.singular})
