"""RFC 7386, its own examples and its laws."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api import errors, patch, schema
from sampan.api.patch import merge_patch

NODE = schema.load().definition("io.k8s.api.core.v1.ConfigMap")


@pytest.mark.parametrize(
    ("current", "change", "result"),
    [  # RFC 7386, appendix A, where both are objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_examples_of_the_rfc(current, change, result):
    before = copy.deepcopy(current)
    assert patch.apply_patch(NODE, current, change, patch.MERGE_PATCH) == result
    assert current == before


@pytest.mark.parametrize("body", [b"{", b'"x"', b"[]", b"5"])
def test_what_is_no_object_is_a_bad_request(body):
    with pytest.raises(errors.BadRequest):
        patch.apply_patch(NODE, {}, body, patch.MERGE_PATCH)


def test_other_content_types_are_refused():
    with pytest.raises(errors.UnsupportedMediaType):
        patch.apply_patch(NODE, {}, b"{}", "application/json")


KEYS = st.sampled_from("abc")


def values(leaves):
    inner = st.recursive(
        leaves, lambda part: st.lists(part, max_size=2) | st.dictionaries(KEYS, part, max_size=3), max_leaves=8
    )
    return st.dictionaries(KEYS, inner, max_size=3)


WITHOUT_NULLS = values(st.integers(0, 2) | st.booleans())
WITH_NULLS = values(st.integers(0, 2) | st.none())


@settings(max_examples=80, deadline=None)
@given(WITHOUT_NULLS, WITHOUT_NULLS)
def test_a_diff_applied_gives_the_modified_object(original, modified):
    assert merge_patch.apply(original, merge_patch.diff(original, modified)) == modified


@settings(max_examples=80, deadline=None)
@given(WITHOUT_NULLS, WITH_NULLS)
def test_applying_twice_is_applying_once(original, change):
    once = merge_patch.apply(original, change)
    assert merge_patch.apply(once, change) == once


@settings(max_examples=40, deadline=None)
@given(WITHOUT_NULLS)
def test_an_empty_patch_changes_nothing(original):
    assert merge_patch.apply(original, {}) == original
