"""Queries for Prometheus, made of a rule and of what a client asks for. Pure.

Spec: prometheus-adapter's metrics query. What cannot be said exactly is refused: a number that is nearly the right one
would scale somebody's workload.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sampan.api.labels import Requirement
from sampan.metricsadapter.rules import Rule

Matcher = tuple[str, str, str]
"""(label, operator, value)"""

_SPECIAL: Final = re.compile(r"[\\+*?()|\[\]{}^$]")
#: what a value holds that is written into a query as it is: names, and several of them as ``_one_of`` has them
_PLAIN: Final = re.compile(r"(?:[A-Za-z0-9_.:|-]|\[\.\])*")


class NotSayable(ValueError):
    """The selector asks what Prometheus has no words for."""


def of_objects(
    rule: Rule, series: str, label: str, names: Sequence[str], namespace: tuple[str, str] | None,
    requirements: Sequence[Requirement] = (),
) -> str:  # fmt: skip
    """``label`` holds the names of the objects, ``namespace`` is its label and its name. Raises NotSayable."""
    matchers = [_of_requirement(each) for each in requirements]
    if namespace is not None:
        matchers.append((namespace[0], "=", namespace[1]))
    matchers.append((label, "=~", _one_of(names)) if len(names) > 1 else (label, "=", names[0]))
    return _fill(rule, series, matchers, label)


def of_external(
    rule: Rule, series: str, namespace: tuple[str, str] | None, requirements: Sequence[Requirement] = ()
) -> str:
    """Raises NotSayable."""
    matchers = [_of_requirement(each) for each in requirements]
    if namespace is not None:
        matchers.append((namespace[0], "=", namespace[1]))
    return _fill(rule, series, matchers, "")


def _fill(rule: Rule, series: str, matchers: Sequence[Matcher], group_by: str) -> str:
    said = ",".join(f"{label}{operator}{_quoted(value)}" for label, operator, value in matchers)
    values = {"Series": series, "LabelMatchers": said, "GroupBy": group_by}
    by_name = {label: value for label, _, value in matchers}
    for _, label in rule.query.actions:
        # It may stand anywhere in the query, so no escaping would be right in all places.
        if not _PLAIN.fullmatch(by_name.get(label, "")):
            raise NotSayable(f"the value of {label} would be a part of the query")
    return rule.query.fill(values, {"LabelValuesByName": by_name})


def _one_of(values: Sequence[str]) -> str:
    """A regular expression for these texts and no others; dots so that it may stand within quotes as it is."""
    return "|".join(_SPECIAL.sub(r"\\\g<0>", value).replace(".", "[.]") for value in values)


def _of_requirement(requirement: Requirement) -> Matcher:
    key, values = requirement.key, requirement.values
    if not key.replace("_", "a").isalnum() or not key.isascii() or key[0].isdigit():
        raise NotSayable(f"{key} is no name of a label in Prometheus")
    match requirement.operator:
        case "=" | "==":
            return key, "=", values[0]
        case "!=":
            return key, "!=", values[0]
        case "in":
            return key, "=~", _one_of(values)
        case "notin":
            return key, "!~", _one_of(values)
        case "exists":
            return key, "!=", ""
        case "!":
            return key, "=", ""
    raise NotSayable(f"labels cannot be compared with {requirement.operator} in Prometheus")


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
