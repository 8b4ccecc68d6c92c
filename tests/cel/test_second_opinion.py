"""Another engine's opinion: cel-expr-python, the C++ engine of the language's authors, on what both have.

It knows no Kubernetes; comparisons of numbers of two types, and texts of faults, are cel-go's here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.expressions.environment import environment
from sampan.cel.errors import CompileError, EvaluationError
from sampan.cel.running import Budget
from sampan.cel.values import BoolKey, Duration, Timestamp

OURS = environment({})
THEIRS = cel.NewEnv(variables={}, extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()])

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Cases on which cel-go and the C++ engine differ by intent: versions, what is checked early, what is written.
DIFFERENT = (
    "cel.bind", 'bool("F")', 'timestamp("2020-13', "120Z", "getMilliseconds", 'duration("x")', 'duration("1")',
    "1m0.5s", 'matches("(")', 'matches("(?=a)")', "optional_type", "%.1000f", "ndexOf(", '[1, "a"]', '"b": "c"',
    "2: 3}", "1 < 1.5", "1.5 > 1u", "1u < 2", "-1 < 1u",
)  # fmt: skip


def plain(value: Any) -> Any:
    """Both engines' values in one form."""
    if isinstance(value, cel.Value):
        value = value.value()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, Timestamp | Duration):
        return (type(value).__name__, value.ns // 1000)
    if isinstance(value, datetime):
        return ("Timestamp", (value.replace(tzinfo=value.tzinfo or UTC) - EPOCH) // timedelta(microseconds=1))
    if isinstance(value, timedelta):
        return ("Duration", value // timedelta(microseconds=1))
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def plain_key(key: Any) -> Any:
    if isinstance(key, BoolKey | bool):
        return ("bool", key.value if isinstance(key, BoolKey) else key)
    return ("number", key) if isinstance(key, int) else key


def ours(expression: str) -> tuple[str, Any]:
    try:
        return "value", plain(OURS.compile(expression).evaluate({}, Budget(1_000_000)))
    except CompileError:
        return "refused", None
    except EvaluationError:
        return "failed", None


def theirs(expression: str) -> tuple[str, Any]:
    try:
        compiled = THEIRS.compile(expression)
    except RuntimeError as error:
        return ("unknown" if "undeclared reference" in str(error) else "refused"), None
    try:
        value = compiled.eval(data={})
    except RuntimeError:
        return "failed", None
    return ("failed", None) if str(value.type()) == "ERROR" else ("value", plain(value))


def agree(expression: str) -> bool:
    there = theirs(expression)
    here = ours(expression)
    return there[0] == "unknown" or here == there or (here[1] != here[1] and there[1] != there[1])


def shared() -> list[str]:
    found = []
    for path in sorted((Path(__file__).parent / "tables").glob("*.txt")):
        for line in path.read_text().splitlines():
            marks = [mark for mark in (" => ", " !! ", " ?? ") if mark in line]
            if marks and not line.startswith("#") and not any(each in line for each in DIFFERENT):
                found.append(line.rsplit(marks[0], 1)[0])
    return found


def test_the_engines_agree_on_the_tables() -> None:
    assert [expression for expression in shared() if not agree(expression)] == []


# Whatever may be put together of the language's parts, both engines make the same of it.

NUMBERS = st.sampled_from(["0", "1", "2", "7", "-3", "9223372036854775807", "-9223372036854775808"])
TEXTS = st.sampled_from(['""', '"a"', '"ab"', '"é"', '"A b"'])
LISTS = st.sampled_from(["[]", "[1]", "[1, 2, 3]", "[3, 1, 2]"])


def combined(leaf: st.SearchStrategy[str], grow: Callable[[st.SearchStrategy[str]], Any]) -> st.SearchStrategy[str]:
    return st.recursive(leaf, grow, max_leaves=8)


def _of(form: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda found: form.format(*found))


def _integers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        *(_of(f"({{}} {operator} {{}})", inner, inner) for operator in ("+", "-", "*", "/", "%")),
        _of("-({})", inner),
        _of("(({}) > ({}) ? ({}) : ({}))", inner, inner, inner, inner),
        _of("{}[{}]", LISTS, inner),
        _of("size({}.filter(x, x > {}))", LISTS, inner),
        _of('size({} + "x")', TEXTS),
        _of("{{1: {}, 2: {}}}[{}]", inner, inner, inner),
        _of("int(string({}))", inner),
    )


INTEGERS = combined(NUMBERS, _integers)
TRUTHS = combined(
    st.one_of(
        _of("({} < {})", INTEGERS, INTEGERS),
        _of("({} == {})", INTEGERS, INTEGERS),
        _of("({} in {})", INTEGERS, LISTS),
        _of("({} < {})", TEXTS, TEXTS),
        _of("{}.contains({})", TEXTS, TEXTS),
        _of("{}.all(x, x / {} > 0)", LISTS, INTEGERS),
        _of("{}.exists(x, {} / x == 1)", LISTS, INTEGERS),
        _of("{}.exists_one(x, x == {})", LISTS, INTEGERS),
    ),
    lambda inner: st.one_of(
        _of("({} && {})", inner, inner), _of("({} || {})", inner, inner), _of("!({})", inner),
        _of("({} ? {} : {})", inner, inner, inner),
    ),
)  # fmt: skip


@given(st.one_of(INTEGERS, TRUTHS))
def test_the_engines_agree_on_what_is_put_together_at_random(expression: str) -> None:
    assert agree(expression), (expression, ours(expression), theirs(expression))
