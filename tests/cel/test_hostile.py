"""Nothing that an expression says takes more time or memory than its cost pays for, or ends anything but itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.expressions.environment import environment
from sampan.api.expressions.mutations import BadMutation, applied, operations_of
from sampan.cel import costs, patterns
from sampan.cel.errors import CelError, CompileError, CostExceeded, EvaluationError
from sampan.cel.running import Budget, Run
from sampan.cel.types import DYN, STRING, list_of
from sampan.cel.values import Made

ENVIRONMENT = environment({"any": DYN, "text": STRING, "many": list_of(DYN)})
LONG = "ab" * 50_000
DEEP: dict[str, Any] = {}
for _ in range(300):
    DEEP = {"a": DEEP}
VALUES = {"any": {"a": [{"x": n, "y": "v"} for n in range(5_000)]}, "text": LONG, "many": list(range(1_000))}


@pytest.mark.parametrize(
    "expression",
    [
        "many.all(a, many.all(b, many.all(c, many.all(d, true))))",
        "many.map(a, many.map(b, many.map(c, c)))",
        "many.transformMap(a, b, many.transformMap(c, d, d))",
        "many.all(x, any == any)",
        "many.all(x, any.a + any.a != [])",
        "many.all(x, [many, many, many, many] == [many, many, many, many])",
        "many.all(x, text.matches('(x{0,100}){0,9}y'))",
        "many.all(x, text.findAll('a').size() > 0)",
        "many.all(x, text.replace('', text) != '')",
        "many.all(x, text.split('').size() > 0)",
        "many.all(x, (text + text + text + text) != '')",
        "many.all(x, [text, text, text].join(text) != '')",
        "many.all(x, '%s %s'.format([any, any]) != '')",
        "many.all(x, sets.equivalent(many, many))",
        "many.all(x, many.isSorted())",
        "many.all(x, many.indexOf(-1) < 0)",
        "many.all(x, bytes(text) != b'')",
        "many.all(x, strings.quote(text) != '')",
        "many.map(x, [many, many]).all(x, x.all(y, y.all(z, z >= 0)))",
    ],
)
def test_an_expression_that_costs_too_much_is_ended(expression: str) -> None:
    program = ENVIRONMENT.compile(expression)
    with pytest.raises((CostExceeded, EvaluationError)):
        program.evaluate(VALUES, Budget(20_000))


LARGE = "(\\\\pL{100})"  #: a hundred thousand instructions in nine characters
#: a value that is in itself 2 ** 60 times, made of little
ITSELF = "[[]]" + ".map(x, [x, x])" * 60


@pytest.mark.parametrize(
    "expression",
    [
        f"many.all(x, !''.matches('{LARGE}' + string(x)))",
        f"many.all(x, ''.find('{LARGE}{LARGE}{LARGE}{LARGE}' + string(x)) == '')",
        f"'%s'.format([{ITSELF}]) == ''",
        f"any.b.indexOf({ITSELF}) == 0",
        f"sets.contains([dyn({ITSELF})], many)",
        f"{ITSELF} == {ITSELF}",
        "text.findAll('[^c]*c|a').size() > 0",
    ],
    ids=["patterns", "bad patterns", "format", "indexOf", "sets", "equality", "findAll"],
)
def test_what_little_text_makes_large_is_ended_within_the_budget(expression: str) -> None:
    """Each would take hours: the cost of what it does is known before it is done, or soon after it was begun."""
    program = ENVIRONMENT.compile(expression)
    with pytest.raises(CostExceeded):
        program.evaluate({**VALUES, "any": {"b": []}}, budget := Budget(1_000_000))
    assert budget.left < 0  # all is spent: others that share the budget get no time for the same


def test_what_is_counted_is_counted_no_further_than_the_budget_goes() -> None:
    """The event loop gives an expression little, and has to have it back soon."""
    before = costs.begin(1_000)
    try:
        for count in (costs.parts, costs.walked):
            with pytest.raises(CostExceeded):
                count([[1, "a"]] * 11_000)
    finally:
        costs.end(before)
    assert costs.parts([[1, "a"]] * 11_000) == 33_001


def test_patterns_are_kept_within_bounds_in_number_and_size_and_so_are_refusals() -> None:
    kept = patterns._Kept()
    assert kept.get("a+")[1] > 0
    assert kept.get("a+")[1] == 0
    assert kept.get("(")[1] > 0
    assert kept.get("(")[1] == 0
    for number in range(3000):
        kept.get(f"a{number}")
    assert len(kept._found) <= 1024
    for number in range(20):
        kept.get(r"(\pL{90})" + str(number))
    assert kept._size == sum(size for _, size in kept._found.values()) <= 2_000_000


def test_texts_that_never_end_are_looked_through_a_bounded_number_of_times() -> None:
    """Each of the quotes begins a text that goes on to the end of the expression."""
    with pytest.raises(CompileError):
        ENVIRONMENT.compile('"""\n' + '\\"""\n' * 19_000)


def test_a_mutation_that_is_in_itself_many_times_is_refused() -> None:
    value: Any = []
    for _ in range(60):
        value = [value, value]
    operation = Made("JSONPatch", {"op": "add", "path": "/metadata/labels", "value": value})
    with pytest.raises(BadMutation, match="the value is too large"):
        operations_of([operation])
    with pytest.raises(BadMutation, match="the value is too large"):
        applied(Made("Object", {"spec": value}), {}, None)


def test_work_is_charged_before_it_is_done() -> None:
    """A text of ten billion characters is refused, not made."""
    with pytest.raises((CostExceeded, EvaluationError)):
        ENVIRONMENT.compile("text.replace('', text).size() > 0").evaluate(VALUES, Budget(10**12))
    with pytest.raises(EvaluationError, match="list is too long"):
        doubling = "cel.bind(a, many + many, "
        expression = doubling + "".join(
            f"cel.bind({b}, {a} + {a}, " for a, b in zip("abcdefghijkl", "bcdefghijklm", strict=True)
        )
        ENVIRONMENT.compile(expression + "m.size() > 0" + ")" * 13).evaluate(VALUES, Budget(10**12))


def test_deep_values_are_compared_or_refused() -> None:
    program = ENVIRONMENT.compile("any == any")
    assert program.evaluate({"any": DEEP}, Budget(100_000)) is True


NESTED = [
    ("(", "1", ")"), ("[", "1", "]"), ("{1: ", "1", "}"), ("-", "1", ""), ("!", "true", ""), ("f(", "1", ")"),
    ("true ? 1 : ", "1", ""), ("1 + ", "1", ""), ("", "any", ".a"), ("", "many", "[0]"), ("[1].all(x, ", "true", ")"),
    ("true && ", "true", ""),
]  # fmt: skip


@pytest.mark.parametrize("nest", NESTED)
@pytest.mark.parametrize("depth", [140, 1_000, 30_000])
def test_nesting_has_a_limit(nest: tuple[str, str, str], depth: int) -> None:
    expression = nest[0] * depth + nest[1] + nest[2] * depth
    try:
        program = ENVIRONMENT.compile(expression)
    except CompileError:
        return
    try:
        program.evaluate({**VALUES, "any": {}}, Budget(1_000_000))
    except CelError:
        return


def test_an_endless_expression_is_refused_by_its_length() -> None:
    with pytest.raises(CompileError, match="expression code point size exceeds limit: size: 100001, limit 100000"):
        ENVIRONMENT.compile("1" * 100_001)


@pytest.mark.parametrize(
    "expression",
    [
        "[" + ",".join(["[]"] * 20_000) + "]",
        "{" + ",".join(f"{n}: []" for n in range(10_000)) + "}",
        "[1]" + ".map(x, x)" * 140,
        "".join(f"cel.bind(a{n + 1}, {{a{n}: a{n}}}, " for n in range(100)).replace("{a0: a0}", "1")
        + "a100"
        + ")" * 100,
    ],
    ids=["wide list", "wide map", "long chain", "types that double"],
)
def test_to_compile_takes_no_longer_than_the_text_is_long(expression: str) -> None:
    """They would take minutes, or for ever, if anything were done for each pair of parts."""
    try:
        ENVIRONMENT.compile(expression)
    except CompileError as refused:
        assert "recursion limit" in str(refused)


def test_faults_of_one_expression_are_limited() -> None:
    with pytest.raises(CompileError) as refused:
        ENVIRONMENT.compile("[" + ",".join(["x"] * 5_000) + "]")
    assert len(str(refused.value)) < 1_100_000


TOKENS = st.sampled_from([
    "any", "text", "many", "x", "a", "1", "-1", "0", "2u", "1.5", "1e400", '"s"', "b'x'", "r'('", "true", "null", "[",
    "]", "{", "}", "(", ")", ".", ",", ":", "?", "+", "-", "*", "/", "%", "==", "!=", "<", "<=", "in", "&&", "||",
    "!", "[?", ".?", "all(x, ", "exists(", "map(x, ", "filter(x, ", "has(", "size(", ".size()", ".matches(",
    ".format(", ".split(", "int(", "string(", "timestamp(", "duration(", "type(", "dyn(", "optional.of(",
    "cel.bind(x, ", "Object{", '\n', "//", "'", '"', '\\', '\x00', "é", "if", "@", "#",
])  # fmt: skip
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.lists(TOKENS, max_size=25).map("".join), JUNK)
def test_whatever_is_written_compiles_or_is_refused_and_ends(expression: str, value: Any) -> None:
    try:
        program = ENVIRONMENT.compile(expression)
    except CompileError as refused:
        assert str(refused).startswith("ERROR: <input>:")
        return
    try:
        program.evaluate({"any": value, "text": value, "many": value}, Budget(10_000))
    except CelError as failed:
        assert "Traceback" not in str(failed)


OPERATIONS = st.sampled_from([
    "any == text", "any + text", "any - text", "any * text", "any / text", "any % text", "any < text", "any in text",
    "any[text]", "any[?text]", "any.a", "has(any.a)", "any.?a", "!any", "-any", "any && text", "any || text",
    "any ? 1 : 2", "any.map(x, x)", "any.all(x, x)", "any.exists(x, text)", "any.transformMap(k, v, v)", "size(any)",
    "any.size()", "any.contains(text)", "any.matches(text)", "any.startsWith(text)", "any.split(text)",
    "any.join(text)", "any.replace(text, text)", "any.substring(text)", "any.charAt(text)", "any.indexOf(text)",
    "any.format(text)", "'%s %d'.format(any)", "any.isSorted()", "any.sum()", "any.min()", "any.find(text)",
    "any.findAll(text)", "sets.contains(any, text)", "int(any)", "uint(any)", "double(any)", "string(any)",
    "bytes(any)", "bool(any)", "timestamp(any)", "duration(any)", "type(any)", "any.getHours(text)", "url(any)",
    "ip(any)", "cidr(any)", "quantity(any)", "semver(any)", "optional.of(any).orValue(text)", "any.first()",
    "{any: text}", "[any, text]", "format.named(any)", "isURL(any)", "isIP(any)", "isQuantity(any)", "isSemver(any)",
    "any.getFullYear()", "any.transformMapEntry(k, v, v)", "any.existsOne(k, v, v)", "optional.ofNonZeroValue(any)",
    "any.lowerAscii()",
])  # fmt: skip


@given(OPERATIONS, JUNK, JUNK)
def test_whatever_the_values_are_an_operation_has_a_value_or_fails(operation: str, one: Any, other: Any) -> None:
    environment_ = environment({"any": DYN, "text": DYN})
    budget = Budget(100_000)
    try:
        environment_.compile(operation).evaluate({"any": one, "text": other}, budget)
    except (EvaluationError, CostExceeded) as failed:
        assert str(failed)
    assert Run({}, 0, budget.left).left <= 100_000
