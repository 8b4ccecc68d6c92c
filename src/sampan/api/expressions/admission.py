"""What the expressions of admission see: object, oldObject, request, namespaceObject, params, authorizer, variables.

Webhooks (match conditions) and policies compile theirs here, when they are written (validation) and when they act.
Sources: apiserver ``admission/plugin/cel``. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from sampan.api.expressions.authorizer import AUTHORIZER, RESOURCE_CHECK
from sampan.api.expressions.environment import environment
from sampan.api.types import Obj
from sampan.cel.environment import Environment, Program
from sampan.cel.errors import CompileError
from sampan.cel.times import parse_timestamp
from sampan.cel.types import (
    BOOL,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    FieldType,
    Type,
    list_of,
    map_of,
    object_type,
)
from sampan.records import dataclass

_TEXTS: Final = list_of(STRING)
_TEXT_MAP: Final = map_of(STRING, STRING)


def _object(name: str, /, **fields: Type) -> Type:
    built = {field: FieldType(kind, field) for field, kind in fields.items()}
    return object_type(name, lambda: built)


_KIND: Final = _object("kubernetes.GroupVersionKind", group=STRING, version=STRING, kind=STRING)
_RESOURCE: Final = _object("kubernetes.GroupVersionResource", group=STRING, version=STRING, resource=STRING)

#: admission.k8s.io AdmissionRequest without what has variables of its own.
REQUEST: Final = _object(
    "kubernetes.AdmissionRequest",
    kind=_KIND,
    resource=_RESOURCE,
    subResource=STRING,
    requestKind=_KIND,
    requestResource=_RESOURCE,
    requestSubResource=STRING,
    name=STRING,
    namespace=STRING,
    operation=STRING,
    userInfo=_object("kubernetes.UserInfo", username=STRING, uid=STRING, groups=_TEXTS, extra=map_of(STRING, _TEXTS)),
    dryRun=BOOL,
    options=DYN,
)

_METADATA: Final = _object(
    "kubernetes.NamespaceMetadata",
    name=STRING,
    generateName=STRING,
    namespace=STRING,
    labels=_TEXT_MAP,
    annotations=_TEXT_MAP,
    UID=STRING,
    creationTimestamp=TIMESTAMP,
    deletionGracePeriodSeconds=INT,
    deletionTimestamp=TIMESTAMP,
    generation=INT,
    resourceVersion=STRING,
    finalizers=_TEXTS,
)
_CONDITION: Final = _object(
    "kubernetes.NamespaceCondition",
    status=STRING,
    type=STRING,
    lastTransitionTime=TIMESTAMP,
    message=STRING,
    reason=STRING,
)
NAMESPACE: Final = _object(
    "kubernetes.Namespace",
    metadata=_METADATA,
    spec=_object("kubernetes.NamespaceSpec", finalizers=_TEXTS),
    status=_object("kubernetes.NamespaceStatus", conditions=list_of(_CONDITION), phase=STRING),
)


def namespace_value(namespace: Obj | None) -> Obj | None:
    """A Namespace as expressions see it."""
    if namespace is None:
        return None
    meta = namespace.get("metadata") or {}
    shown = {name: meta[name] for name in _METADATA.fields if name in meta}
    if "uid" in meta:
        shown["UID"] = meta["uid"]
    for name in ("creationTimestamp", "deletionTimestamp"):
        if isinstance(shown.get(name), str):
            shown[name] = parse_timestamp(shown[name])
    found = {"metadata": shown, "spec": namespace.get("spec") or {}}
    status = dict(namespace.get("status") or {})
    if conditions := status.get("conditions"):
        status["conditions"] = [_condition(each) for each in conditions]
    return {**found, "status": status}


def _condition(condition: Obj) -> Obj:
    when = condition.get("lastTransitionTime")
    return {**condition, "lastTransitionTime": parse_timestamp(when)} if isinstance(when, str) else condition


@lru_cache(maxsize=8)
def admission_environment(*, params: bool, authorizer: bool, patches: bool = False) -> Environment:
    """The environment of webhooks' conditions (no params, an authorizer) and of policies."""
    variables: dict[str, Type] = {
        "object": DYN,
        "oldObject": DYN,
        "request": REQUEST,
        "namespaceObject": NAMESPACE,
    }
    if params:
        variables["params"] = DYN
    if authorizer:
        variables |= {"authorizer": AUTHORIZER, "authorizer.requestResource": RESOURCE_CHECK}
    return environment(variables, patches=patches)


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression that is a program, or a fault (as an error of its field says it)."""

    expression: str
    program: Program | None
    fault: str = ""


def compile_expression(within: Environment, expression: str, *expected: Type) -> Compiled:
    """``expected``: one of these types it must be; none: any."""
    try:
        program = within.compile(expression)
    except CompileError as error:
        return Compiled(expression, None, f"compilation failed: {error}")
    if expected and program.result not in expected:
        names = ", ".join(map(_name, expected))
        wanted = names if len(expected) == 1 else f"one of [{names.replace(',', '')}]"
        return Compiled(expression, None, f"must evaluate to {wanted} but got {_name(program.result)}")
    return Compiled(expression, program)


def _name(kind: Type) -> str:
    return "null_type" if kind.kind == "null" else str(kind)


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    compiled: Compiled


def compile_variables(within: Environment, variables: list[Obj]) -> tuple[Environment, tuple[Variable, ...]]:
    """The variables of a policy, each of which sees those before it, and the environment that sees all of them."""
    found: list[Variable] = []
    for variable in variables:
        name, expression = str(variable.get("name") or ""), str(variable.get("expression") or "")
        found.append(Variable(name, compile_expression(with_variables(within, found), expression)))
    return with_variables(within, found), tuple(found)


def with_variables(within: Environment, variables: Sequence[Variable]) -> Environment:
    """The environment in which these variables are seen."""
    fields = {
        each.name: FieldType(each.compiled.program.result if each.compiled.program is not None else DYN, each.name)
        for each in variables
    }
    return within.extended({"variables": object_type("kubernetes.variables", lambda: fields)}) if fields else within
