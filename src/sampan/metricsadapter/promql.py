"""Queries for Prometheus, made of a rule and of what a client asks for. Pure.

Spec: prometheus-adapter's metrics query. What cannot be said exactly is refused: a number that is nearly the right one
would scale somebody's workload.
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api.labels import Requirement
from sampan.metricsadapter.rules import Rule

Matcher = tuple[str, str, str]
"""(label, operator, value)"""


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
    matchers.append((label, "=~" if len(names) > 1 else "=", "|".join(names)))
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
    return rule.query.fill(values, {"LabelValuesByName": {label: value for label, _, value in matchers}})


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
            return key, "=~", "|".join(values)
        case "notin":
            return key, "!~", "|".join(values)
        case "exists":
            return key, "!=", ""
        case "!":
            return key, "=", ""
    raise NotSayable(f"labels cannot be compared with {requirement.operator} in Prometheus")


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
