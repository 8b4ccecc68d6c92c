"""CEL rules of custom resources: when they are evaluated, what they see, what is told."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.customresources import parts, rules, values

Schema = dict[str, Any]
NO_OLD = values.ABSENT


def ruled(schema: Schema, rule: str, **more: Any) -> Schema:
    return {**schema, "x-kubernetes-validations": [{"rule": rule, **more}]}


def told(schema: Schema, value: Any, old: Any = NO_OLD) -> list[str]:
    """Of a field called ``f`` with this schema: ``field: message`` each."""
    root = parts.root_of({"type": "object", "properties": {"f": schema}})
    before = old if old is NO_OLD else {"f": old}
    return [fault.message() for fault in rules.validate(root, {"f": value}, before)]


def obj(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


NUMBER: Schema = {"type": "integer"}
TEXT: Schema = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (ruled(NUMBER, "self < 5"), 3),
        (ruled(obj(a=NUMBER, b=NUMBER), "self.a <= self.b"), {"a": 1, "b": 1}),
        (ruled(obj(a=NUMBER), "!has(self.a) || self.a > 0"), {}),
        (ruled(obj(**{"a-b": TEXT, "in": TEXT, "c__d": TEXT}), "self.a__dash__b + self.__in__ + "
                                                               "self.c__underscores__d == 'xyz'"),
         {"a-b": "x", "in": "y", "c__d": "z"}),
        (ruled({"type": "object", "additionalProperties": NUMBER}, "self.all(k, k.startsWith('x') && self[k] > "
                                                                   "0)"), {"x1": 1}),
        (ruled({"type": "array", "items": TEXT}, "self.exists(x, x == 'a')"), ["b", "a"]),
        (ruled({"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}, "self == ['b', 'a']"), ["a", "b"]),
        (ruled({"x-kubernetes-int-or-string": True}, "type(self) == int ? self < 5 : self == '50%'"), "50%"),
        (ruled({"type": "string", "format": "date"}, "self < timestamp('2030-01-01T00:00:00Z')"), "2024-01-01"),
        (ruled({"type": "string", "format": "duration"}, "self <= duration('1h')"), "30m"),
        (ruled({"type": "string", "nullable": True}, "self == 'never looked at'"), None),
        (ruled(TEXT, "isURL(self) && url(self).getHost() == 'example.com'"), "https://example.com/x"),
        (ruled(TEXT, "quantity(self).isGreaterThan(quantity('1Gi'))"), "2Gi"),
        (ruled(NUMBER, "self >= oldSelf"), 3),
    ],
)  # fmt: skip
def test_a_rule_that_holds_says_nothing(schema: Schema, value: Any) -> None:
    assert told(schema, value) == []


@pytest.mark.parametrize(
    ("schema", "value", "fault"),
    [
        (ruled(NUMBER, "self < 5"), 7, 'f: Invalid value: "integer": failed rule: self < 5'),
        (ruled(NUMBER, "self < 5", message="too much"), 7, 'f: Invalid value: "integer": too much'),
        (
            ruled(NUMBER, "self < 5", message="too much", messageExpression="'is ' + string(self)"),
            7,
            'f: Invalid value: "integer": is 7',
        ),
        (
            ruled(NUMBER, "self < 5", message="too much", messageExpression="'two\\nlines'"),
            7,
            'f: Invalid value: "integer": too much',
        ),
        (
            ruled(NUMBER, "self < 5", message="too much", messageExpression="string(1 / (self - 7))"),
            7,
            'f: Invalid value: "integer": too much',
        ),
        (ruled(NUMBER, "self < 5", reason="FieldValueForbidden", message="no"), 7, "f: Forbidden: no"),
        (ruled(NUMBER, "self < 5", reason="FieldValueRequired", message="no"), 7, "f: Required value: no"),
        (ruled(NUMBER, "self < 5", reason="FieldValueDuplicate"), 7, 'f: Duplicate value: "integer"'),
        (
            ruled(obj(a=obj(b=NUMBER)), "self.a.b < 5", fieldPath=".a.b", message="no"),
            {"a": {"b": 9}},
            'f.a.b: Invalid value: "object": no',
        ),
        (
            {"type": "array", "items": ruled(NUMBER, "self < 5", message="no")},
            [1, 9],
            'f[1]: Invalid value: "integer": no',
        ),
        (
            {"type": "object", "additionalProperties": ruled(NUMBER, "self < 5", message="no")},
            {"k": 9},
            'f[k]: Invalid value: "integer": no',
        ),
        (
            ruled(obj(a=NUMBER), "self.a > 0"),
            {},
            'f: Invalid value: "object": no such key: a evaluating rule: self.a > 0',
        ),
        (
            ruled({"x-kubernetes-int-or-string": True}, "self.startsWith('a')"),
            5,
            "f: Invalid value: \"integer\": 'no such overload': call arguments did not match a supported operator, "
            "function or macro signature for rule: self.startsWith('a')",
        ),
        (
            ruled(NUMBER, "self.nope"),
            5,
            'f: Invalid value: "integer": rule compile error: compilation failed: ERROR: <input>:1:5: type '
            "'int' does "
            "not support field selection\n | self.nope\n | ....^",
        ),
    ],
)
def test_a_rule_that_fails_is_told_in_upstreams_words(schema: Schema, value: Any, fault: str) -> None:
    assert told(schema, value) == [fault]


def test_a_rule_at_the_root_sees_the_kind_and_the_name_and_is_told_of_no_field() -> None:
    root = parts.root_of(ruled(obj(), "self.kind == 'A' && self.metadata.name == 'a'", message="no"))
    good = {"kind": "A", "apiVersion": "x/v1", "metadata": {"name": "a"}}
    assert rules.validate(root, good) == []
    found = rules.validate(root, {**good, "kind": "B"})
    assert [fault.message() for fault in found] == ['<nil>: Invalid value: "object": no']


def test_a_rule_that_compares_runs_where_there_is_something_to_compare_with() -> None:
    schema = ruled(NUMBER, "self >= oldSelf")
    assert told(schema, 3, 2) == []
    assert told(schema, 2, 3) == ['f: Invalid value: "integer": failed rule: self >= oldSelf']
    assert told(schema, 2, None) == []


def test_an_optional_old_value_lets_a_rule_run_on_creation_too() -> None:
    schema = ruled(NUMBER, "self > oldSelf.orValue(5)", optionalOldSelf=True)
    assert told(schema, 6) == []
    assert told(schema, 4) == ['f: Invalid value: "integer": failed rule: self > oldSelf.orValue(5)']
    assert told(schema, 4, 3) == []


def test_items_of_a_list_by_keys_are_compared_with_what_they_were() -> None:
    item = obj(k=TEXT, v=ruled(NUMBER, "self >= oldSelf", message="shrunk"))
    schema = {
        "type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
    }  # fmt: skip
    old = [{"k": "a", "v": 1}, {"k": "b", "v": 5}]
    assert told(schema, [{"k": "b", "v": 5}, {"k": "a", "v": 2}, {"k": "new", "v": 0}], old) == []
    assert told(schema, [{"k": "b", "v": 4}], old) == ['f[0].v: Invalid value: "integer": shrunk']


def test_what_has_not_changed_may_go_on_failing_but_not_a_comparison() -> None:
    """Ratcheting (KEP-4008)."""
    schema = obj(a=ruled(NUMBER, "self < 5"), b=NUMBER)
    assert told(schema, {"a": 9, "b": 2}, {"a": 9, "b": 1}) == []
    assert told(schema, {"a": 8, "b": 1}, {"a": 9, "b": 1}) == ['f.a: Invalid value: "integer": failed rule: self < 5']
    assert told(ruled(NUMBER, "self > oldSelf"), 3, 3) == ['f: Invalid value: "integer": failed rule: self > oldSelf']


def test_a_new_list_around_an_unchanged_value_of_no_known_origin_does_not_excuse_it() -> None:
    items = ruled(NUMBER, "self < 5", message="no")
    atomic = {"type": "array", "items": items, "x-kubernetes-list-type": "atomic"}
    assert told(atomic, [9], [9]) == []
    assert told(atomic, [9, 1], [9]) == ['f[0]: Invalid value: "integer": no']


def test_a_rule_that_costs_too_much_ends_all_rules_of_the_request() -> None:
    loop = "self.all(a, self.all(b, self.all(c, a + b + c < 3000000)))"
    schema = {"type": "array", "items": NUMBER, "x-kubernetes-validations": [{"rule": loop}, {"rule": "false"}]}
    assert told(schema, list(range(200))) == [
        "f: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation rules "
        f"will be run due to call cost exceeds limit for rule: {loop}"
    ]


def test_all_rules_of_an_object_share_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "PER_REQUEST", 60)
    schema = {"type": "array", "items": ruled(NUMBER, "self + 1 + 1 + 1 < 5")}
    assert told(schema, [0] * 100)[-1].endswith(
        "validation failed due to running out of cost budget, no further validation rules will be run"
    )


@pytest.mark.parametrize("value", [[], {}, "x", 1, None, True, 1.5, [{"k": [None]}], {"a": {"a": {}}}])
@pytest.mark.parametrize(
    "schema",
    [
        ruled(obj(a=NUMBER), "self.a.b.c"),
        ruled({"type": "array", "items": ruled(NUMBER, "self < 1")}, "self[0] < self[1]"),
        ruled({"type": "object", "additionalProperties": ruled(obj(a=TEXT), "self.a.size() > 0")}, "size(self) > 0"),
        ruled({"type": "number"}, "self / 0.0 > 1.0"),
        ruled({"type": "string", "format": "byte"}, "self.size() > 0"),
    ],
)
def test_a_value_of_another_type_is_told_and_never_raises(schema: Schema, value: Any) -> None:
    told(schema, value)
    told(schema, value, value)
    told(schema, value, [value])
