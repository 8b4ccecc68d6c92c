"""Values of custom resources as their rules see them."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.expressions.environment import environment
from sampan.api.expressions.schemas import type_of_schema
from sampan.cel.errors import CompileError
from sampan.cel.running import Budget

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "ratio": {"type": "number"},
        "when": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "age": {"type": "string", "format": "duration"},
        "data": {"type": "string", "format": "byte"},
        "names": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "ports": {
            "type": "array",
            "items": {"type": "object", "properties": {"port": {"type": "integer"}, "name": {"type": "string"}}},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port"],
        },
        "either": {"x-kubernetes-int-or-string": True},
        "namespace": {"type": "string"},
        "a-b.c/d": {"type": "integer"},
        "dunder__name": {"type": "integer"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "unseen": {"x-kubernetes-preserve-unknown-fields": True},
    },
}
VALUE: dict[str, Any] = {
    "ratio": 2,
    "when": "2024-02-29T12:00:00Z",
    "day": "2024-02-29",
    "age": "90m",
    "data": "aGV5",
    "names": ["a", "b"],
    "ports": [{"port": 80, "name": "web"}, {"port": 443, "name": "tls"}],
    "either": "50%",
    "namespace": "default",
    "a-b.c/d": 7,
    "dunder__name": 8,
    "free": {"x": 1},
    "metadata": {"name": "me"},
}


def holds(rule: str) -> bool:
    kind = type_of_schema(SCHEMA, root=True)
    assert kind is not None
    return bool(environment({"self": kind}).compile(rule).evaluate({"self": VALUE}, Budget(100_000)))


@pytest.mark.parametrize(
    "rule",
    [
        "self.ratio > 1.5 && type(self.ratio) == double",
        "self.when == timestamp('2024-02-29T12:00:00Z')",
        "self.day.getDate() == 29",
        "self.age == duration('1h30m')",
        "self.data == b'hey'",
        "self.names == ['b', 'a']",
        "self.names + ['b', 'c'] == ['a', 'b', 'c']",
        "dyn(self.ports) == [{'port': dyn(443), 'name': dyn('tls')}, {'port': dyn(80), 'name': dyn('web')}]",
        "self.ports.exists(p, p.port == 443)",
        "type(self.either) == string && self.either.endsWith('%')",
        "self.__namespace__ == 'default'",
        "self.a__dash__b__dot__c__slash__d == 7",
        "self.dunder__underscores__name == 8",
        "self.metadata.name == 'me'",
        "!has(self.metadata.generateName)",
    ],
)
def test_a_value_is_of_the_type_that_its_schema_says(rule: str) -> None:
    assert holds(rule)


@pytest.mark.parametrize("field", ["unseen", "nothing", "metadata.labels"])
def test_what_the_schema_does_not_describe_is_not_seen(field: str) -> None:
    with pytest.raises(CompileError, match="undefined field"):
        holds(f"has(self.{field})")


def test_the_value_itself_is_left_as_it_was() -> None:
    before = repr(VALUE)
    holds("self.ratio > 1.0 && self.names + ['c'] != []")
    assert repr(VALUE) == before
