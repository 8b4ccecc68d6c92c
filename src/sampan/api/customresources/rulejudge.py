"""Whether the CEL rules of a definition compile, and cost no more than they may (apiextensions ``validation.go``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sampan.api import errors
from sampan.api.customresources.paths import Path
from sampan.api.customresources.rulecompile import CompiledRule, NoTypeError, compile_rules
from sampan.api.customresources.schemarules import RuleSite
from sampan.api.errors import FieldError
from sampan.api.expressions.schemas import most_copies
from sampan.api.validation.go_values import Layout, struct

Errors = list[FieldError]

#: Estimated, of one rule however often it is evaluated for an object, and of all rules of a schema.
_RULE_COST: Final = 10_000_000
_SCHEMA_COST: Final = 100_000_000
#: Rules of one schema; upstream has no limit, and compiles for minutes.
_MOST_RULES: Final = 4096
#: How many of the most expensive rules are named, and what share of the limit makes one expensive.
_NAMED: Final = 4
_EXPENSIVE: Final = _SCHEMA_COST // 100
_MAX_UINT64: Final = 2**64 - 1


def judge(sites: list[RuleSite], path: Path) -> Errors:
    """``path``: of the schema that holds them all."""
    count = sum(len(site.schema["x-kubernetes-validations"]) for site in sites)
    if count > _MOST_RULES:
        text = f"x-kubernetes-validations must not have more than {_MOST_RULES} rules in all, found {count}"
        return [errors.forbidden(str(path), text)]
    found: Errors = []
    costs: list[tuple[int, Path]] = []
    for site in sites:
        found += _site(site, costs)
    total = min(sum(cost for cost, _ in costs), _MAX_UINT64)
    if total > _SCHEMA_COST:
        expensive = sorted((item for item in costs if item[0] >= _EXPENSIVE), key=lambda item: -item[0])
        for _, where in expensive[:_NAMED]:
            text = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            found.append(errors.forbidden(str(where), text))
        what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        found.append(errors.forbidden(str(path), _too_expensive(what, total, _SCHEMA_COST)))
    return found


def _site(site: RuleSite, costs: list[tuple[int, Path]]) -> Errors:
    path = site.path.child("x-kubernetes-validations")
    try:
        rules = compile_rules(site.schema, root=site.is_root)
    except NoTypeError as error:
        text = "internal error: failed to construct type information for x-kubernetes-validations rules"
        return [FieldError("InternalError", str(path), f"Internal error: {text}: {error}")]
    found: Errors = []
    copies = site.cardinality if site.cardinality is not None else most_copies(site.schema)
    for index, rule in enumerate(rules):
        found += _rule(rule, path.key(index), site, copies, costs)
    return found


def _rule(rule: CompiledRule, path: Path, site: RuleSite, copies: int, costs: list[tuple[int, Path]]) -> Errors:
    found: Errors = []
    where = path.child("rule")
    if rule.program is not None:
        cost = min(rule.program.estimated_cost().most * copies, _MAX_UINT64)
        costs.append((cost, where))
        if cost > _RULE_COST:
            found.append(errors.forbidden(str(where), _too_expensive("estimated rule cost", cost, _RULE_COST)))
    if rule.error:
        found.append(_invalid(where, rule.declared, rule.error))
    where = path.child("messageExpression")
    if rule.message_error:
        found.append(_invalid(where, rule.declared, rule.message_error))
    elif rule.message is not None:
        cost = min(rule.message.estimated_cost().most, _MAX_UINT64)
        costs.append((cost, where))
        if cost > _RULE_COST:
            text = _too_expensive("estimated messageExpression cost", cost, _RULE_COST)
            found.append(errors.forbidden(str(where), text))
    return found + _old_self(rule, path, site)


def _old_self(rule: CompiledRule, path: Path, site: RuleSite) -> Errors:
    if rule.uses_old and site.uncorrelatable is not None:
        text = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {site.uncorrelatable}"
        return [errors.invalid(str(path.child("rule")), rule.declared.get("rule"), text)]
    optional = rule.declared.get("optionalOldSelf")
    if not rule.uses_old and optional is not None and not rule.error:
        text = "may not be set if oldSelf is not used in rule"
        return [errors.invalid(str(path.child("optionalOldSelf")), optional, text)]
    return []


def _too_expensive(what: str, cost: int, limit: int) -> str:
    excess = cost / limit
    factor = "more than 100x" if excess > 100 else f"{excess:.6f}x" if excess < 1.5 else f"{excess:.1f}x"
    return (
        f"{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, "
        "and maxLength where arrays, maps, and strings are declared)"
    )


_RULE: Final[Layout] = {
    "rule": ("Rule", "", None),
    "message": ("Message", "", None),
    "messageExpression": ("MessageExpression", "", None),
    "reason": ("Reason", None, None),
    "fieldPath": ("FieldPath", "", None),
    "optionalOldSelf": ("OptionalOldSelf", None, None),
}


def _invalid(path: Path, declared: Mapping[str, Any], detail: str) -> FieldError:
    """With the whole rule, as upstream's refusals show it."""
    return errors.invalid(str(path), struct(dict(declared), _RULE), detail)
