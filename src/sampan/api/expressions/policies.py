"""Admission policies compiled: variables, conditions, validations, mutations; and what a policy decides. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from sampan.api.expressions.admission import (
    Compiled,
    Variable,
    admission_environment,
    compile_expression,
    compile_variables,
    with_variables,
)
from sampan.api.expressions.environment import OBJECT, OPERATION
from sampan.api.expressions.evaluation import (
    Failed,
    OutOfBudget,
    Spending,
    Variables,
    aggregated,
    conditions_hold,
    evaluate,
)
from sampan.api.expressions.limits import MATCH_CONDITIONS, MESSAGE_CHARACTERS, PER_REQUEST
from sampan.api.reading import parts, text
from sampan.api.types import Obj
from sampan.cel.environment import Environment
from sampan.cel.types import BOOL, NULL, STRING, list_of
from sampan.cel.values import type_name
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Validation:
    expression: str
    rule: Compiled
    message: str
    message_expression: Compiled | None
    reason: str


@dataclass(frozen=True, slots=True)
class Annotation:
    key: str
    value: Compiled


@dataclass(frozen=True, slots=True)
class Mutation:
    """``patch_type``: ApplyConfiguration or JSONPatch."""

    patch_type: str
    expression: Compiled


@dataclass(frozen=True, slots=True)
class Policy:
    """Of either kind: what is not of it is empty."""

    variables: tuple[Variable, ...]
    conditions: tuple[tuple[str, Compiled], ...]
    validations: tuple[Validation, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    mutations: tuple[Mutation, ...] = ()
    ignores_failures: bool = False


def compile_validating(spec: Obj) -> Policy:
    """Expressions that do not compile are kept as what they are: they fail when they are evaluated."""
    params = spec.get("paramKind") is not None
    alone = admission_environment(params=params, authorizer=True)
    seen, variables = compile_variables(alone, list(parts(spec, "variables")))
    quietly = with_variables(admission_environment(params=params, authorizer=False), variables)
    return Policy(
        variables=variables,
        conditions=_conditions(spec, params=params),
        validations=tuple(
            Validation(
                expression=text(each, "expression"),
                rule=compile_expression(seen, text(each, "expression"), BOOL),
                message=text(each, "message").strip(),
                message_expression=(
                    compile_expression(quietly, text(each, "messageExpression"), STRING)
                    if text(each, "messageExpression")
                    else None
                ),
                reason=text(each, "reason") or "Invalid",
            )
            for each in parts(spec, "validations")
        ),
        annotations=tuple(
            Annotation(text(each, "key"), compile_expression(seen, text(each, "valueExpression"), STRING, NULL))
            for each in parts(spec, "auditAnnotations")
        ),
        ignores_failures=text(spec, "failurePolicy") == "Ignore",
    )


def compile_mutating(spec: Obj) -> Policy:
    params = spec.get("paramKind") is not None
    alone = admission_environment(params=params, authorizer=True, patches=True)
    seen, variables = compile_variables(alone, list(parts(spec, "variables")))
    return Policy(
        variables=variables,
        conditions=_conditions(spec, params=params),
        mutations=tuple(_mutation(each, seen) for each in parts(spec, "mutations")),
        ignores_failures=text(spec, "failurePolicy") == "Ignore",
    )


def _mutation(mutation: Obj, seen: Environment) -> Mutation:
    if text(mutation, "patchType") == "JSONPatch":
        expression = text(mutation.get("jsonPatch"), "expression")
        return Mutation("JSONPatch", compile_expression(seen, expression, list_of(OPERATION)))
    expression = text(mutation.get("applyConfiguration"), "expression")
    return Mutation("ApplyConfiguration", compile_expression(seen, expression, OBJECT))


def _conditions(spec: Obj, *, params: bool) -> tuple[tuple[str, Compiled], ...]:
    within = admission_environment(params=params, authorizer=True)
    return tuple(
        (text(each, "name"), compile_expression(within, text(each, "expression"), BOOL))
        for each in parts(spec, "matchConditions")
    )


# What a policy decides

Action = Literal["admit", "deny"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Of one validation. ``reason`` "": it failed to be evaluated."""

    action: Action
    message: str = ""
    reason: str = ""


@dataclass(slots=True)
class Outcome:
    """``annotations``: for the audit log; ``failures``: annotations that failed, which deny as their policy fails."""

    decisions: list[Decision] = field(default_factory=list)
    annotations: list[tuple[str, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def matches(policy: Policy, bindings: Mapping[str, Any], quick: int | None) -> tuple[bool, str]:
    """Whether a policy's conditions hold, and what made that impossible to tell. Raises TooLong, Pending."""
    if not policy.conditions:
        return True, ""
    try:
        held, failures = conditions_hold(policy.conditions, bindings, Spending(MATCH_CONDITIONS, quick))
    except OutOfBudget as error:
        held, failures = True, [str(error)]
    if failures and policy.ignores_failures:
        return False, ""
    return held, aggregated(failures) if failures else ""


def validate(policy: Policy, bindings: Mapping[str, Any], quick: int | None = None) -> Outcome:
    """What a policy decides, with one parameter. Raises TooLong, Pending."""
    on_failure: Action = "admit" if policy.ignores_failures else "deny"
    held, failure = matches(policy, bindings, quick)
    if failure:
        return Outcome([Decision(on_failure, failure)])
    if not held:
        return Outcome()
    spending = Spending(PER_REQUEST, quick)
    seen = Variables(policy.variables, bindings, spending).bindings
    outcome = Outcome()
    try:
        for validation in policy.validations:
            outcome.decisions.append(_decide(validation, seen, spending, on_failure))
    except OutOfBudget as error:
        return Outcome([Decision(on_failure, str(error))])
    try:
        for annotation in policy.annotations:
            _annotate(annotation, seen, Spending(PER_REQUEST, quick), outcome, ignore=policy.ignores_failures)
    except OutOfBudget as error:
        return Outcome([Decision(on_failure, str(error))])
    return outcome


def _decide(validation: Validation, seen: Mapping[str, Any], spending: Spending, on_failure: Action) -> Decision:
    try:
        if evaluate(validation.rule, seen, spending) is True:
            return Decision("admit")
    except Failed as error:
        return Decision(on_failure, str(error))
    message = _made_message(validation, seen, spending) or validation.message
    return Decision("deny", message or f"failed expression: {validation.expression.strip()}", validation.reason)


def _made_message(validation: Validation, seen: Mapping[str, Any], spending: Spending) -> str:
    """What the messageExpression gives; "" if that is no message."""
    if validation.message_expression is None:
        return ""
    try:
        value = evaluate(validation.message_expression, seen, spending)
    except Failed:
        return ""
    message = value.strip() if isinstance(value, str) else ""
    return "" if len(message.encode(errors="replace")) > MESSAGE_CHARACTERS or "\n" in message else message


def _annotate(
    annotation: Annotation, seen: Mapping[str, Any], spending: Spending, outcome: Outcome, *, ignore: bool
) -> None:
    try:
        value = evaluate(annotation.value, seen, spending)
    except Failed as error:
        if not ignore:
            outcome.failures.append(str(error))
        return
    if isinstance(value, str):
        if value.strip():
            outcome.annotations.append((annotation.key, value.strip()))
    elif value is not None:
        outcome.failures.append(
            f"valueExpression '{annotation.value.expression}' resulted in unsupported return type: "
            f"{type_name(value)}. Return type must be either string or null."
        )
