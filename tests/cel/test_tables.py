"""The language and its libraries, case by case: ``tables/*.txt``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.api.expressions.environment import environment
from sampan.cel.equality import equal
from sampan.cel.errors import CompileError, EvaluationError
from sampan.cel.running import Budget, Run

ENVIRONMENT = environment({}, patches=True)


def cases() -> Iterator[Any]:
    for path in sorted((Path(__file__).parent / "tables").glob("*.txt")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line and not line.startswith("#"):
                yield pytest.param(line, id=f"{path.stem}:{number}")


def evaluated(expression: str) -> Any:
    return ENVIRONMENT.compile(expression).evaluate({}, Budget(1_000_000))


@pytest.mark.parametrize("case", list(cases()))
def test_an_expression_is_worth_what_the_table_says(case: str) -> None:
    if " => " in case:
        expression, wanted = case.rsplit(" => ", 1)
        value, expected = evaluated(expression), evaluated(wanted)
        assert type(value) is type(expected)
        assert equal(value, expected, Run({}, 0, 1_000_000)), value
    elif " !! " in case:
        expression, wanted = case.rsplit(" !! ", 1)
        with pytest.raises(EvaluationError) as failed:
            evaluated(expression)
        assert wanted in str(failed.value)
    else:
        expression, wanted = case.rsplit(" ?? ", 1)
        with pytest.raises(CompileError) as refused:
            ENVIRONMENT.compile(expression)
        assert wanted in str(refused.value)
