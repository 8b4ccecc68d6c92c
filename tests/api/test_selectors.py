"""Label and field selectors: grammar, matching, messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api import fields, labels


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ("", [{}, {"a": "b"}], []),
        ("a=b", [{"a": "b"}], [{}, {"a": "c"}]),
        ("a==b", [{"a": "b"}], [{"a": "c"}]),
        ("a!=b", [{}, {"a": "c"}], [{"a": "b"}]),
        ("a=", [{"a": ""}], [{}, {"a": "b"}]),
        ("a in (b, c)", [{"a": "b"}, {"a": "c"}], [{}, {"a": "d"}]),
        ("a in ()", [{"a": ""}], [{}, {"a": "d"}]),
        ("a notin (b)", [{}, {"a": "c"}], [{"a": "b"}]),
        ("a", [{"a": ""}], [{}]),
        ("!a", [{}], [{"a": ""}]),
        ("a>5,a<8", [{"a": "6"}], [{"a": "5"}, {"a": "x"}, {}]),
        ("x/a=b,!c", [{"x/a": "b"}], [{"x/a": "b", "c": ""}]),
    ],
)
def test_a_label_selector_matches(text: str, matching: list[dict[str, str]], others: list[dict[str, str]]) -> None:
    selector = labels.parse(text)
    assert all(selector.matches(candidate) for candidate in matching)
    assert not any(selector.matches(candidate) for candidate in others)
    again = labels.parse(str(selector))
    assert again == selector


@pytest.mark.parametrize(
    "text", ["a b c", "a in x", "a,,b", "!a=b", "a=b,", "a in (b", "=a", "a>x", "a=-b-", "a b", "(a)", "a/b/c=d"]
)
def test_a_bad_label_selector_is_refused(text: str) -> None:
    with pytest.raises(labels.SelectorError, match=r"^unable to parse requirement: "):
        labels.parse(text)


_KEYS = st.sampled_from(["a", "b", "c"])
_LABELS = st.dictionaries(_KEYS, st.sampled_from(["x", "y", ""]), max_size=3)


@given(_LABELS, _LABELS)
def test_a_map_selects_what_contains_it(selector: dict[str, str], candidate: dict[str, str]) -> None:
    expected = selector.items() <= candidate.items()
    assert labels.from_map(selector).matches(candidate) is expected
    assert labels.from_label_selector({"matchLabels": selector}).matches(candidate) is expected


@given(_KEYS, st.lists(st.sampled_from(["x", "y"]), min_size=1), _LABELS)
def test_notin_is_the_opposite_of_in(key: str, values: list[str], candidate: dict[str, str]) -> None:
    def matches(operator: str) -> bool:
        expression = {"key": key, "operator": operator, "values": values}
        return labels.from_label_selector({"matchExpressions": [expression]}).matches(candidate)

    assert matches("In") is not matches("NotIn")


def test_no_selector_object_selects_nothing_and_an_empty_one_everything() -> None:
    assert not labels.from_label_selector(None).matches({"a": "b"})
    assert labels.from_label_selector({}).matches({})


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(labels.SelectorError, match='"Maybe" is not a valid label selector operator'):
        labels.from_label_selector({"matchExpressions": [{"key": "a", "operator": "Maybe"}]})


def test_a_field_selector_compares_for_equality() -> None:
    selector = fields.parse("metadata.name=a,spec.nodeName!=b")
    assert selector.matches({"metadata.name": "a"})
    assert not selector.matches({"metadata.name": "a", "spec.nodeName": "b"})
    assert selector.exact("metadata.name") == "a"
    assert selector.exact("spec.nodeName") is None


@given(st.text(alphabet="a,=\\!", max_size=8))
def test_escaped_values_survive(value: str) -> None:
    selector = fields.parse(f"f={fields.escape(value)}")
    assert selector.exact("f") == value
    assert fields.parse(str(selector)) == selector


def test_bad_and_unsupported_fields_are_named() -> None:
    with pytest.raises(fields.FieldSelectorError, match="invalid selector: 'abc'; can't understand 'abc'"):
        fields.parse("abc")
    with pytest.raises(fields.FieldSelectorError, match=r"field label not supported: spec.foo"):
        fields.check_supported(fields.parse("spec.foo=1"), True, ())
    with pytest.raises(fields.FieldSelectorError, match=r"field label not supported: metadata.namespace"):
        fields.check_supported(fields.parse("metadata.namespace=x"), False, ())


def test_a_selector_of_thousands_of_values_asks_each_object_once() -> None:
    values = [f"v{n}" for n in range(5000)]
    selector = labels.parse(f"a in ({','.join(values)}),b notin ({','.join(values)})")
    for _ in range(50_000):  # a scan of the values for each would take minutes
        assert selector.matches({"a": "v4999", "b": "other"})
        assert not selector.matches({"a": "v5000"})


def test_selectors_that_say_the_same_have_one_key() -> None:
    same = ["a=b,c in (x,y)", "c in (y,x,x),a==b", "a in (b),c in (x,y)"]
    assert len({labels.parse(text).key() for text in same}) == 1
    others = ["a=b", "a!=b", "a", "!a", "a in (b,c)", "", "a>1", "a<1"]
    assert len({labels.parse(text).key() for text in [*others, same[0]]} | {labels.NOTHING.key()}) == 10
    assert fields.parse("a=1,b!=2").key() == fields.parse("b!=2,a=1").key() != fields.parse("a=1,b=2").key()


@pytest.mark.parametrize("bound", ["9223372036854775808", "1" * 5000, "-9223372036854775809"])
def test_a_bound_that_no_int64_holds_is_refused(bound: str) -> None:
    with pytest.raises(labels.SelectorError, match="the value must be an integer"):
        labels.parse(f"a>{bound}")
    assert not labels.parse("a>1").matches({"a": bound})


def test_a_long_field_selector_is_read_in_one_pass() -> None:
    value = "x" * 1_000_000
    assert fields.parse(f"metadata.name={value}").exact("metadata.name") == value
    with pytest.raises(fields.FieldSelectorError, match="can't understand"):
        fields.parse(value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a=\\x", r"invalid field selector: invalid escape sequence: \x"),
        ("a=x\\", "invalid field selector: invalid escape sequence: \\"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_a_bad_field_value_is_told_as_upstream_tells_it(text: str, told: str) -> None:
    with pytest.raises(fields.FieldSelectorError) as caught:
        fields.parse(text)
    assert str(caught.value) == told
