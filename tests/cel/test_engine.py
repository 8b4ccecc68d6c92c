"""The engine as a whole: what expressions are worth, and how their faults are told."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.cel.environment import Environment
from sampan.cel.errors import CompileError, CostExceeded, EvaluationError
from sampan.cel.running import Budget
from sampan.cel.types import BOOL, DYN, INT, STRING, list_of, map_of

ENVIRONMENT = Environment({"n": INT, "s": STRING, "names": list_of(STRING), "counts": map_of(STRING, INT), "any": DYN})
BINDINGS = {"n": 3, "s": "hey", "names": ["a", "b"], "counts": {"x": 1, "y": 2}, "any": {"a": {"b": 1}, "x": None}}


def value_of(expression: str) -> Any:
    return ENVIRONMENT.compile(expression).evaluate(BINDINGS, Budget(100_000))


def fault_of(expression: str) -> str:
    with pytest.raises(CompileError) as caught:
        ENVIRONMENT.compile(expression)
    return str(caught.value)


def test_a_fault_is_shown_where_it_stands_in_the_words_of_cel_go() -> None:
    assert fault_of('1 + "a"') == (
        "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + \"a\"\n | ..^"
    )


def test_an_expression_of_another_type_than_is_wanted_does_not_compile() -> None:
    with pytest.raises(CompileError, match="must evaluate to bool"):
        ENVIRONMENT.compile("n + 1", BOOL)


def test_an_evaluation_ends_when_its_budget_is_spent() -> None:
    program = ENVIRONMENT.compile("names.all(x, names.all(y, names.all(z, x + y + z != '')))")
    budget = Budget(50)
    with pytest.raises(CostExceeded, match="actual cost limit exceeded"):
        program.evaluate(BINDINGS, budget)


def test_what_fails_is_got_over_where_the_other_side_decides() -> None:
    assert value_of("any.missing == 1 || n == 3") is True
    assert value_of("any.missing == 1 && n == 4") is False
    with pytest.raises(EvaluationError, match="no such key: missing"):
        value_of("any.missing == 1 || n == 4")
