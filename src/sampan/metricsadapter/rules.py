"""Rules of prometheus-adapter's configuration file, as values: read, checked, and what they say of a series. Pure.

A maintained part of that format: ``rules`` and ``externalRules`` with ``seriesQuery``, ``seriesFilters``, ``resources``
(``template``, ``overrides``, ``namespaced``), ``name`` and ``metricsQuery``. What is not understood is refused by its
place in the file, and never passed over. Spec: kubernetes-sigs/prometheus-adapter, docs/config.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Final

from sampan.metricsadapter import templates
from sampan.metricsadapter.templates import Template, TemplateError
from sampan.records import dataclass

MOST_RULES: Final = 500
_LONGEST: Final = 10_000
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE: Final = re.compile(r"\$(?:\$|\{([A-Za-z0-9_]*)\}|([A-Za-z0-9_]+))")
_OF_QUERIES: Final = ("Series", "LabelMatchers", "GroupBy")
_OF_RESOURCES: Final = ("Group", "Resource")
_PLACES: Final = ("rules", "externalRules")


class ConfigError(ValueError):
    """The message begins with the place in the file."""


@dataclass(frozen=True, slots=True)
class GroupResource:
    """As a file names it, in the singular or the plural, or as the cluster does (always the plural)."""

    group: str
    resource: str

    def __str__(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``overrides``: resources by label. ``resource_template`` None: only those. ``filters``: of names of series, with
    whether they have to match."""

    series_query: str
    filters: tuple[tuple[Any, bool], ...] = ()
    resource_template: Template | None = None
    overrides: Mapping[str, GroupResource] = field(default_factory=dict)
    #: of external metrics: only series of the namespace that is asked for
    namespaced: bool = True
    name_pattern: Any = None
    name_as: str = "$0"
    query: Template

    def metric_name(self, series: str) -> str | None:
        """What the API calls this series; None: the rule does not concern it."""
        if not all((pattern.search(series) is not None) == wanted for pattern, wanted in self.filters):
            return None
        if self.name_pattern is None:
            return expand(self.name_as, lambda name: series if name == "0" else "")
        found = self.name_pattern.search(series)
        if found is None:
            return None
        groups = self.name_pattern.groupindex
        count = self.name_pattern.groups

        def value(name: str) -> str:
            if name.isdigit():
                return (found.group(int(name)) or "") if int(name) <= count else ""
            return (found.group(name) or "") if name in groups else ""

        return expand(self.name_as, value)


@dataclass(frozen=True, slots=True)
class Config:
    custom: tuple[Rule, ...] = ()
    external: tuple[Rule, ...] = ()


def expand(template: str, value: Callable[[str], str]) -> str:
    """Go's ``Regexp.Expand``: ``$1``, ``${1}``, ``$name``; a name is as long as it can be; ``$$`` is a dollar."""

    def one(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return value(found[1] if found[1] is not None else found[2])

    return _REFERENCE.sub(one, template)


def read(document: Any) -> Config:
    """Raises ConfigError."""
    top = _mapping(document, "the file", (*_PLACES, "resourceRules"))
    if top.get("resourceRules"):
        raise ConfigError(
            "resourceRules: the cluster serves metrics.k8s.io by itself, from its nodes; leave these rules out"
        )
    found = {}
    for place in _PLACES:
        listed = top.get(place) or []
        if not isinstance(listed, list) or len(listed) > MOST_RULES:
            raise ConfigError(f"{place}: a list of at most {MOST_RULES} rules is wanted")
        found[place] = tuple(_rule(each, f"{place}[{at}]") for at, each in enumerate(listed))
    if not any(found.values()):
        raise ConfigError("the file: it has no rules")
    for at, rule in enumerate(found["rules"]):
        if rule.resource_template is None and not rule.overrides:
            raise ConfigError(f"rules[{at}].resources: a template or overrides are needed, or no object has the metric")
    return Config(found["rules"], found["externalRules"])


def _rule(value: Any, place: str) -> Rule:
    said = _mapping(value, place, ("seriesQuery", "seriesFilters", "resources", "name", "metricsQuery"))
    resources = _mapping(said.get("resources"), f"{place}.resources", ("template", "overrides", "namespaced"))
    name = _mapping(said.get("name"), f"{place}.name", ("matches", "as"))
    pattern = _pattern(name["matches"], f"{place}.name.matches") if name.get("matches") else None
    query = _text(said, "metricsQuery", place)
    if not query:
        raise ConfigError(f"{place}.metricsQuery: it is needed")
    template = _text(resources, "template", f"{place}.resources")
    namespaced = resources.get("namespaced", True)
    if not isinstance(namespaced, bool):
        raise ConfigError(f"{place}.resources.namespaced: true or false is wanted")
    series_query = _text(said, "seriesQuery", place)
    if not series_query:
        raise ConfigError(f"{place}.seriesQuery: it is needed")
    return Rule(
        series_query=series_query,
        filters=tuple(_filters(said.get("seriesFilters"), f"{place}.seriesFilters")),
        resource_template=_template(template, f"{place}.resources.template", _OF_RESOURCES) if template else None,
        overrides=dict(_overrides(resources.get("overrides"), f"{place}.resources.overrides")),
        namespaced=namespaced,
        name_pattern=pattern,
        name_as=_name_as(_text(name, "as", f"{place}.name"), pattern, f"{place}.name"),
        query=_template(query, f"{place}.metricsQuery", _OF_QUERIES, ("LabelValuesByName",)),
    )


def _name_as(text: str, pattern: Any, place: str) -> str:
    if text:
        return text
    groups = 0 if pattern is None else pattern.groups
    if groups > 1:
        raise ConfigError(f"{place}.as: it is needed, because matches has several groups")
    return "$1" if groups else "$0"


def _filters(value: Any, place: str) -> list[tuple[Any, bool]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ConfigError(f"{place}: a list is wanted")
    found = []
    for at, each in enumerate(value):
        said = _mapping(each, f"{place}[{at}]", ("is", "isNot"))
        given = [key for key in ("is", "isNot") if said.get(key)]
        if len(given) != 1:
            raise ConfigError(f"{place}[{at}]: one of is and isNot is wanted")
        found.append((_pattern(said[given[0]], f"{place}[{at}].{given[0]}"), given[0] == "is"))
    return found


def _overrides(value: Any, place: str) -> list[tuple[str, GroupResource]]:
    if value is None:
        return []
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: labels with their resources are wanted")
    found = []
    for label, named in value.items():
        if not isinstance(label, str) or not _LABEL.fullmatch(label):
            raise ConfigError(f"{place}: {_shown(label)} is no name of a label")
        said = _mapping(named, f"{place}.{label}", ("group", "resource"))
        resource = _text(said, "resource", f"{place}.{label}")
        if not resource:
            raise ConfigError(f"{place}.{label}.resource: it is needed")
        found.append((label, GroupResource(_text(said, "group", f"{place}.{label}"), resource)))
    return found


def _template(text: str, place: str, fields: tuple[str, ...], maps: tuple[str, ...] = ()) -> Template:
    try:
        return templates.parse(text, fields, maps)
    except TemplateError as error:
        raise ConfigError(f"{place}: {error}") from None


def _pattern(text: Any, place: str) -> Any:
    import re2  # late, as everywhere: Go's dialect, in linear time

    if not isinstance(text, str) or len(text) > _LONGEST:
        raise ConfigError(f"{place}: a regular expression is wanted")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options=options)
    except re2.error:
        raise ConfigError(f"{place}: {_shown(text)} is no regular expression") from None


def _mapping(value: Any, place: str, known: tuple[str, ...]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: fields and their values are wanted")
    for key in value:
        if key not in known:
            raise ConfigError(f"{place}: {_shown(key)} is not understood; there are {', '.join(known)}")
    return value


def _text(said: Mapping[str, Any], key: str, place: str) -> str:
    value = said.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ConfigError(f"{place}.{key}: a text is wanted")
    return value


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
