"""Estimated costs: what upstream computes for rules on these schemas, by which it refuses the dear ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sampan.api.expressions.environment import environment
from sampan.api.expressions.schemas import type_of_schema

Schema = dict[str, Any]
MakeSchema = Callable[[int | None], Schema]


def of(kind: str) -> Schema:
    if kind in ("duration", "date", "date-time", "byte"):
        return {"type": "string", "format": kind}
    return {"x-kubernetes-int-or-string": True} if kind == "int-or-string" else {"type": kind}


def limited(schema: Schema, key: str, limit: int | None) -> Schema:
    return schema if limit is None else {**schema, key: limit}


def text(limit: int | None) -> Schema:
    return limited(of("string"), "maxLength", limit)


def array(items: Schema) -> MakeSchema:
    return lambda limit: limited({"type": "array", "items": items}, "maxItems", limit)


def mapping(values: Schema) -> MakeSchema:
    return lambda limit: limited({"type": "object", "additionalProperties": values}, "maxProperties", limit)


def fields(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


OBJECT: Schema = {**fields(required=of("string"), optional=of("string")), "required": ["required"]}


def texts(limit: int | None) -> Schema:
    return limited({"type": "array", "items": text(limit)}, "maxItems", limit)


def text_map(limit: int | None) -> Schema:
    return limited({"type": "object", "additionalProperties": text(limit)}, "maxProperties", limit)


def nested(limit: int | None) -> Schema:
    return limited({"type": "array", "items": mapping(OBJECT)(limit)}, "maxItems", limit)


def replacing(limit: int | None) -> Schema:
    return fields(str=text(limit), before=text(2), after=text(4))


def splitting(limit: int | None) -> Schema:
    return fields(str=text(limit), separator=text(limit))


def enumerated(limit: int | None) -> Schema:
    return {**text(limit), "enum": ["A", "B", "C", "LongValue"]}


def encoded(limit: int | None) -> Schema:
    return limited(of("byte"), "maxLength", limit)


ALL = "self.all(x, true)"
#: Schema, rule, its most expensive evaluation if nothing is limited, a limit, and the same with the limit.
COSTS: list[tuple[MakeSchema, str, int | None, int, int]] = [
    (array(of("number")), ALL, 4718591, 10, 32),
    (array(of("string")), ALL, 3145727, 20, 62),
    (array(of("boolean")), ALL, 1887437, 5, 17),
    (array(array(of("number"))(None)), ALL, 3145727, 100, 302),
    (array(OBJECT), ALL, 555128, 50, 152),
    (array(of("int-or-string")), ALL, 4718591, 10, 32),
    (array(of("duration")), ALL, 2359295, 5, 17),
    (array(of("date")), ALL, 725936, 15, 47),
    (array(of("date-time")), ALL, 428963, 25, 77),
    (mapping(of("number")), ALL, 1348169, 10, 32),
    (mapping(of("string")), ALL, 1179647, 3, 11),
    (mapping(of("boolean")), ALL, 943718, 100, 302),
    (mapping(of("int-or-string")), ALL, 1348169, 15, 47),
    (mapping(OBJECT), ALL, 428963, 20, 62),
    (mapping(mapping(of("number"))(None)), ALL, 1179647, 10, 32),
    (mapping(array(of("number"))(None)), ALL, 1179647, 25, 77),
    (mapping(of("duration")), ALL, 1048577, 5, 17),
    (mapping(of("date")), ALL, 524288, 10, 32),
    (mapping(of("date-time")), ALL, 349526, 25, 77),
    (array(of("number")), "self.all(x, self.all(y, true))", None, 10, 352),
    (array(of("number")), "self.all(x, self.all(y, self.all(z, true)))", None, 10, 3552),
    (array(of("number")), "self.all(x, x == 0.0)", 6291454, 3 * 1024 * 2048, 25165826),
    (array(mapping(of("number"))(None)), "self.all(x, x.y == 25.2)", 6291452, 12, 74),
    (nested, 'self.all(x, x["y"].required == "z")', 7340027, 10, 72),
    (text_map, "self.all(x, x.contains(self[x]))", 2752507, 10, 72),
    (text, "self.contains('test')", 314574, 10, 5),
    (text, "self.startsWith('test')", 2, 15, 2),
    (text, "self.endsWith('test')", 2, 30, 2),
    (text, 'size(self + "hello") > size("hello")', 314578, 4, 7),
    (text, 'self.matches("x")', 314574, 50, 22),
    (text, '"".matches("(((((((((())))))))))[0-9]")', 7, 10, 7),
    (text, 'self.matches("")', 1, 100, 1),
    (text, 'self == "x"', 2, 0, 1),
    (text, "self.find('[0-9]+') == ''", 629147, 10, 11),
    (text, "self.lowerAscii() == 'lower!'", 314575, 10, 6),
    (encoded, 'self == b"x"', 2, 0, 1),
    (enumerated, "self.contains('A')", 2, 1000, 401),
    (array(of("number")), "self[1] == 0.0", 2, 5000, 2),
    (array(of("string")), "self[1] == self[1]", 314577, 8, 314577),
    (array(of("int-or-string")), "self[0] == 5", 3, 10, 3),
    (array(of("boolean")), "self[0] == false", 2, 25, 2),
    (array(OBJECT), "self[0] == null", 2, 422, 2),
    (array(array(of("number"))(None)), "self[0][0] == -1.0", 3, 51, 3),
    (array(mapping(of("number"))(None)), "self[0].x > 2.0", 4, 3000, 4),
    (array(of("duration")), "self[0].getHours() == 2", 4, 525, 4),
    (array(of("date")), "self[2].getDayOfMonth() == 13", 4, 42, 4),
    (mapping(of("number")), 'self["x"] == 0.0', 2, 0, 2),
    (mapping(of("date-time")), 'self["a"] == self["b"]', 8, 7, 8),
    (mapping(of("duration")), 'self["c"] == self["d"]', 8, 42, 8),
    (mapping(of("integer")), "oldSelf.size() == self.size()", 5, 10, 5),
    (texts, "self.join(' ') == 'aa bb'", 329853068905, 10, 43),
    (texts, "self.isSorted() == true", 329854432052, 10, 52),
    (replacing, "self.str.replace(self.before, self.after) == 'does not matter'", 629154, 4, 12),
    (splitting, "self.str.split(self.separator) == []", 629160, 10, 22),
]


@pytest.mark.parametrize(
    ("make", "rule", "unlimited", "limit", "limited"),
    COSTS,
    ids=lambda value: getattr(value, "__name__", str(value))[:40],
)
def test_a_rule_is_estimated_to_cost_what_upstream_estimates(
    make: MakeSchema, rule: str, unlimited: int | None, limit: int, limited: int
) -> None:
    def most(schema: Schema) -> int:
        kind = type_of_schema(schema)
        assert kind is not None
        return environment({"self": kind, "oldSelf": kind}).compile(rule).estimated_cost().most

    assert most(make(limit)) == limited
    assert unlimited is None or most(make(None)) == unlimited
