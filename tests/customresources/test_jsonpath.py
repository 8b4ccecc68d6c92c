"""The paths of printer columns find what kubectl's would."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.customresources.jsonpath import MOST_FOUND, MOST_LOOKED_AT, BadPath, Patience, compile_path
from sampan.api.customresources.printing import columns_of

OBJ = {
    "metadata": {"name": "a", "annotations": {"example.com/x": "dotted"}},
    "spec": {"ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}], "empty": [], "on": True},
    "status": {
        "conditions": [
            {"type": "Ready", "status": "True", "since": 3},
            {"type": "Synced", "status": "False", "since": 5},
        ]
    },
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".metadata.name", ["a"]),
        ("metadata.name", ["a"]),
        ("$.metadata.name", ["a"]),
        (".metadata.nothing.below", []),
        (".metadata['name']", ["a"]),
        ('.metadata["name"]', ["a"]),
        (r".metadata.annotations.example\.com/x", ["dotted"]),
        (".metadata.annotations['example.com/x']", ["dotted"]),
        (".spec.ports[0].port", [80]),
        (".spec.ports[-1].port", [443]),
        (".spec.ports[7].port", []),
        (".spec.ports[*].port", [80, 443]),
        (".spec.ports[0:1].name", ["http"]),
        (".spec.ports[1:].name", ["https"]),
        (".spec.ports[0,1].port", [80, 443]),
        (".metadata['name','missing']", ["a"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type == 'Synced')].status", ["False"]),
        (".status.conditions[?(@.since>3)].type", ["Synced"]),
        (".status.conditions[?(@.since <= 5)].type", ["Ready", "Synced"]),
        (".status.conditions[?(@.type!='Ready')].type", ["Synced"]),
        (".status.conditions[?(@.type=='a]b')].type", []),
        (".status.conditions[?(@.missing)].type", []),
        (".status.conditions[?(@.since)].type", ["Ready", "Synced"]),
        (".status.conditions[?(@.type>3)].type", []),
        ("..port", [80, 443]),
        (".spec.on", [True]),
        (".spec.empty[0]", []),
        (".", [OBJ]),
    ],
)
def test_a_path_finds(path: str, found: list[object]) -> None:
    assert compile_path(path)(OBJ, Patience()) == found


@pytest.mark.parametrize(
    "path", [".a[", ".a['b]", ".a[?(@.b==)]", ".a[?@.b]", ".a[x]", ".a[::0]", ".a]b", ".a b", "." + "a" * 5000]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(BadPath):
        compile_path(path)


def test_a_path_that_finds_too_much_finds_nothing() -> None:
    wide = {"a": list(range(MOST_FOUND + 1))}
    assert compile_path(".a[*]")(wide, Patience()) == []
    deep: object = 1
    for _ in range(60):
        deep = {"a": deep, "b": [1, 2, 3]}
    assert compile_path("..a..a..a..a..b")(deep, Patience()) == []


@given(st.text(alphabet=".[]()?@*'\"=<>!:,\\ ab01$", max_size=40))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        find = compile_path(text)
    except BadPath:
        return
    assert isinstance(find(OBJ, Patience()), list)


def test_filters_nested_in_filters_have_an_end() -> None:
    with pytest.raises(BadPath):
        compile_path(".x" + "[?(@" * 600 + ")]" * 600)


@pytest.mark.parametrize("path", [".x[?(@.y==1)]", ".x[?(@..y==1)]", ".x[?(@[?(@.z)])]", "$..[?(@..[?(@..y)])]"])
def test_what_filters_look_at_in_vain_counts_too(path: str) -> None:
    patience = Patience()
    assert compile_path(path)({"x": [[{"a": 1}] * 2] * (MOST_LOOKED_AT + 1)}, patience) == []
    assert patience.left < 0


def test_all_columns_of_a_row_share_what_may_be_looked_at() -> None:
    columns = [{"name": "c", "type": "string", "jsonPath": ".x[?(@.y==1)].z"}] * 2
    _, row = columns_of({"additionalPrinterColumns": columns})
    value = [{}] * (MOST_LOOKED_AT * 2 // 3) + [{"y": 1, "z": "found"}]
    assert row({"metadata": {"name": "a"}, "x": value}, datetime(2026, 1, 1, tzinfo=UTC)) == ("a", "found", None)


@pytest.mark.parametrize(("value", "shown"), [(7, 7), (7.9, 7), (1e300, -(2**63)), (2**64 - 1, -(2**63)), ("7", None)])
def test_a_column_of_integers_shows_what_json_can_carry(value: object, shown: int | None) -> None:
    _, row = columns_of({"additionalPrinterColumns": [{"name": "c", "type": "integer", "jsonPath": ".x"}]})
    assert row({"metadata": {"name": "a"}, "x": value}, datetime(2026, 1, 1, tzinfo=UTC)) == ("a", shown)
