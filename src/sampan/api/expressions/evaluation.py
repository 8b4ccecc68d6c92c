"""Evaluates the expressions of one webhook or policy for one request: budgets, lazy variables, failures. Pure.

An expression may cost ``PER_CALL``, all of them together what their owner may spend. A caller that must not take long
(the event loop) bounds what it spends: ``TooLong`` tells it to do the same in a thread. Nothing here has effects,
so that everything may be done anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sampan.api.expressions.admission import Compiled, Variable
from sampan.api.expressions.limits import PER_CALL
from sampan.cel.errors import CelError, CostExceeded, EvaluationError
from sampan.cel.running import Budget
from sampan.cel.values import Fields

_OUT_OF_BUDGET: Final = "validation failed due to running out of cost budget, no further validation rules will be run"


class TooLong(CelError):
    """It takes longer than the caller has time for."""


class OutOfBudget(CelError):
    """All that may be spent is spent: the owner's other expressions are not evaluated either."""

    def __init__(self) -> None:
        super().__init__(_OUT_OF_BUDGET)


class Failed(CelError):
    """One expression failed; the text is upstream's."""


class Spending:
    """``left`` of what may be spent at all; ``quick``: of what the caller has time for, None: as long as it takes."""

    __slots__ = ("left", "quick")

    def __init__(self, limit: int, quick: int | None = None) -> None:
        self.left = limit
        self.quick = quick

    def call_limit(self) -> int:
        limit = min(PER_CALL, max(0, self.left))
        return limit if self.quick is None else min(limit, max(0, self.quick))

    def take(self, cost: int) -> None:
        self.left -= cost
        if self.quick is not None:
            self.quick -= cost

    def exceeded(self, limit: int) -> CelError:
        """What it means that an expression needs more than ``limit``."""
        if self.quick is not None and limit < min(PER_CALL, self.left + limit):
            return TooLong()
        return OutOfBudget() if limit < PER_CALL else CostExceeded()


def evaluate(compiled: Compiled, bindings: Mapping[str, Any], spending: Spending) -> Any:
    """The value. Raises Failed, OutOfBudget, TooLong, and Pending where an authorizer has to be waited for."""
    if compiled.program is None:
        raise Failed(f"compilation error: {compiled.fault}")
    limit = spending.call_limit()
    budget = Budget(limit)
    try:
        return compiled.program.evaluate(bindings, budget)
    except EvaluationError as error:
        raise Failed(f"expression '{compiled.expression}' resulted in error: {error}") from None
    except CostExceeded as error:
        found = spending.exceeded(limit)
        if isinstance(found, CostExceeded):
            raise Failed(f"expression '{compiled.expression}' resulted in error: {error}") from None
        raise found from None
    finally:
        spending.take(min(limit, budget.spent))


class Variables(Fields):
    """The variables of a policy: each is evaluated when it is first asked for."""

    __slots__ = ("_bindings", "_known", "_spending", "_variables")

    def __init__(self, variables: Sequence[Variable], bindings: Mapping[str, Any], spending: Spending) -> None:
        self._variables = {variable.name: variable.compiled for variable in variables}
        self._bindings = {**bindings, "variables": self}
        self._spending = spending
        self._known: dict[str, Any] = {}

    @property
    def bindings(self) -> Mapping[str, Any]:
        """What expressions see that see the variables."""
        return self._bindings

    def has(self, name: str) -> bool:
        return name in self._variables

    def names(self) -> Iterable[str]:
        return self._variables

    def field(self, name: str) -> Any:
        if name not in self._known:
            try:
                self._known[name] = evaluate(self._variables[name], self._bindings, self._spending)
            except Failed as error:
                self._known[name] = error
        value = self._known[name]
        if isinstance(value, Failed):
            raise EvaluationError(f'composited variable "{name}" fails to evaluate: {value}')
        return value


def conditions_hold(
    conditions: Sequence[tuple[str, Compiled]], bindings: Mapping[str, Any], spending: Spending
) -> tuple[bool, list[str]]:
    """Whether all match conditions hold, and why some could not be told. One that does not hold decides, whatever
    else failed. Raises OutOfBudget, TooLong, Pending."""
    failures: list[str] = []
    for _, compiled in conditions:
        try:
            if evaluate(compiled, bindings, spending) is not True:
                return False, []
        except Failed as error:
            failures.append(str(error))
    return True, failures


def aggregated(failures: Sequence[str]) -> str:
    """Several failures as one text (apimachinery ``errors.NewAggregate``)."""
    distinct = list(dict.fromkeys(failures))
    return distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]"
