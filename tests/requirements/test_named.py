"""Each requirement of a node that the conformance suite of v1.37 has is named by a test: by its title, in a docstring.

``sig_node.txt`` has the titles, without ``[sig-node]`` and ``[Conformance]``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TITLES = (HERE / "sig_node.txt").read_text().splitlines()
#: what no test shows, and why
NOT_SHOWN: dict[str, str] = {}


def one_line(text: str) -> str:
    return " ".join(text.split())


def docstrings(source: str) -> Iterator[str]:
    """Of the tests in a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield one_line(ast.get_docstring(node) or "")


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the docstrings of those tests say that may name a requirement; each module is looked at for a title first,
    which is quicker than to parse it."""
    found: list[str] = []
    for path in sorted(HERE.parent.rglob("test_*.py")):
        source = path.read_text()
        flat = one_line(source)
        if any(title in flat for title in TITLES):
            found.extend(docstrings(source))
    return found


def test_each_requirement_of_a_node_is_named_by_a_test_or_said_not_to_be_shown(said: list[str]) -> None:
    unnamed = [title for title in TITLES if title not in NOT_SHOWN and not any(title in text for text in said)]
    assert unnamed == []


def test_what_is_said_not_to_be_shown_is_a_requirement_that_no_test_names(said: list[str]) -> None:
    assert set(NOT_SHOWN) <= set(TITLES)
    assert [title for title in NOT_SHOWN if any(title in text for text in said)] == []


def test_the_list_has_each_requirement_once() -> None:
    assert len(TITLES) == len(set(TITLES)) == 106
