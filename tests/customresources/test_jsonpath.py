"""The paths of printer columns find what kubectl's would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.customresources.jsonpath import MOST_FOUND, BadPath, compile_path

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
    assert compile_path(path)(OBJ) == found


@pytest.mark.parametrize(
    "path", [".a[", ".a['b]", ".a[?(@.b==)]", ".a[?@.b]", ".a[x]", ".a[::0]", ".a]b", ".a b", "." + "a" * 5000]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(BadPath):
        compile_path(path)


def test_a_path_that_finds_too_much_finds_nothing() -> None:
    wide = {"a": list(range(MOST_FOUND + 1))}
    assert compile_path(".a[*]")(wide) == []
    deep: object = 1
    for _ in range(60):
        deep = {"a": deep, "b": [1, 2, 3]}
    assert compile_path("..a..a..a..a..b")(deep) == []


@given(st.text(alphabet=".[]()?@*'\"=<>!:,\\ ab01$", max_size=40))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        find = compile_path(text)
    except BadPath:
        return
    assert isinstance(find(OBJ), list)
