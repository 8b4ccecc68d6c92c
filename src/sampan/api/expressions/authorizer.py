"""May somebody do something? Asked in expressions: ``authorizer.group('').resource('pods').check('create').allowed()``.

An authorizer that cannot answer at once makes the evaluation stop with ``Pending``: whoever evaluates gets the answer
and evaluates anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from sampan.api import labels, names
from sampan.cel.errors import CelError, EvaluationError
from sampan.cel.estimates import fixed, selector_cost
from sampan.cel.functions import Cost, Library, function, member
from sampan.cel.types import BOOL, STRING, Type, opaque
from sampan.cel.values import Opaque
from sampan.records import dataclass

AUTHORIZER: Final = opaque("kubernetes.authorization.Authorizer")
PATH_CHECK: Final = opaque("kubernetes.authorization.PathCheck")
GROUP_CHECK: Final = opaque("kubernetes.authorization.GroupCheck")
RESOURCE_CHECK: Final = opaque("kubernetes.authorization.ResourceCheck")
DECISION: Final = opaque("kubernetes.authorization.Decision")

#: An expression can afford two.
_CHECK_COST: Final = 350_000


@dataclass(frozen=True, slots=True)
class Question:
    """``service_account``: namespace and name of the one who asks, instead of the user of the request."""

    verb: str = ""
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""
    service_account: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Verdict(Opaque):
    type = DECISION
    allowed: bool
    reason: str = ""
    error: str = ""


class Pending(CelError):
    """The answer has to be waited for."""

    def __init__(self, question: Question) -> None:
        super().__init__("authorization has not been decided yet")
        self.question = question


#: Answers a question, or raises Pending.
Decide = Callable[[Question], Verdict]


@dataclass(frozen=True, slots=True)
class _Asking(Opaque):
    decide: Decide
    question: Question

    def with_(self, **what: Any) -> Question:
        return replace(self.question, **what)


@dataclass(frozen=True, slots=True)
class Authorizer(_Asking):
    type = AUTHORIZER


@dataclass(frozen=True, slots=True)
class _Path(_Asking):
    type = PATH_CHECK


@dataclass(frozen=True, slots=True)
class _Group(_Asking):
    type = GROUP_CHECK


@dataclass(frozen=True, slots=True)
class _Resource(_Asking):
    type = RESOURCE_CHECK


def authorizer(decide: Decide) -> Opaque:
    """The value of the variable ``authorizer``."""
    return Authorizer(decide, Question())


def request_resource(decide: Decide, question: Question) -> Opaque:
    """The value of ``authorizer.requestResource``: what the request itself is about."""
    return _Resource(decide, question)


def _path(asking: Authorizer, path: str) -> _Path:
    if not path.strip():
        raise EvaluationError("path must not be empty")
    return _Path(asking.decide, asking.with_(path=path))


def _service_account(asking: Authorizer, namespace: str, name: str) -> Authorizer:
    if names.dns1123_subdomain(name):
        raise EvaluationError("Invalid service account name")
    if names.dns1123_label(namespace):
        raise EvaluationError("Invalid service account namespace")
    return Authorizer(asking.decide, asking.with_(service_account=(namespace, name)))


def _resource(asking: _Group, resource: str) -> _Resource:
    if not resource.strip():
        raise EvaluationError("resource must not be empty")
    return _Resource(asking.decide, asking.with_(resource=resource))


def _narrowed(field: str) -> Callable[[_Resource, str], _Resource]:
    return lambda asking, text: _Resource(asking.decide, asking.with_(**{field: text}))


def _label_selector(asking: _Resource, text: str) -> _Resource:
    """One that does not parse counts as none."""
    try:
        labels.parse(text)
    except ValueError:
        return asking
    return _Resource(asking.decide, asking.with_(label_selector=text))


def _check(asking: _Asking, verb: str) -> Verdict:
    return asking.decide(asking.with_(verb=verb))


def _fixed(cost: int) -> Cost:
    return lambda args: cost


_selecting: Cost = lambda args: selector_cost(fixed(len(args[1]))).most  # noqa: E731 (a table entry)

LIBRARY: Final[Library] = (
    function("path", member("authorizer_path", [AUTHORIZER, STRING], PATH_CHECK, _path)),
    function(
        "group",
        member(
            "authorizer_group",
            [AUTHORIZER, STRING],
            GROUP_CHECK,
            lambda asking, group: _Group(asking.decide, asking.with_(group=group)),
        ),
    ),
    function(
        "serviceAccount",
        member("authorizer_serviceaccount", [AUTHORIZER, STRING, STRING], AUTHORIZER, _service_account),
    ),
    function("resource", member("groupcheck_resource", [GROUP_CHECK, STRING], RESOURCE_CHECK, _resource)),
    function(
        "subresource",
        member("resourcecheck_subresource", [RESOURCE_CHECK, STRING], RESOURCE_CHECK, _narrowed("subresource")),
    ),
    function(
        "namespace",
        member("resourcecheck_namespace", [RESOURCE_CHECK, STRING], RESOURCE_CHECK, _narrowed("namespace")),
    ),
    function("name", member("resourcecheck_name", [RESOURCE_CHECK, STRING], RESOURCE_CHECK, _narrowed("name"))),
    function(
        "fieldSelector",
        member(
            "authorizer_fieldselector",
            [RESOURCE_CHECK, STRING],
            RESOURCE_CHECK,
            _narrowed("field_selector"),
            _selecting,
        ),
    ),
    function(
        "labelSelector",
        member("authorizer_labelselector", [RESOURCE_CHECK, STRING], RESOURCE_CHECK, _label_selector, _selecting),
    ),
    function(
        "check",
        member("pathcheck_check", [PATH_CHECK, STRING], DECISION, _check, _fixed(_CHECK_COST)),
        member("resourcecheck_check", [RESOURCE_CHECK, STRING], DECISION, _check, _fixed(_CHECK_COST)),
    ),
    function("allowed", member("decision_allowed", [DECISION], BOOL, lambda verdict: verdict.allowed)),
    function("reason", member("decision_reason", [DECISION], STRING, lambda verdict: verdict.reason)),
    function("errored", member("decision_errored", [DECISION], BOOL, lambda verdict: bool(verdict.error))),
    function("error", member("decision_error", [DECISION], STRING, lambda verdict: verdict.error)),
)

TYPES: Final[dict[str, Type]] = {
    kind.name: kind for kind in (AUTHORIZER, PATH_CHECK, GROUP_CHECK, RESOURCE_CHECK, DECISION)
}
