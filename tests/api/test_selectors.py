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
