"""Upstream's conformance requirements, by their titles: each is named by the docstring of a test that shows it.

``titles/<special interest group>.txt`` has a title a line. What nobody shows stands in ``NOT_SHOWN`` with the reason.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LISTS = sorted((Path(__file__).parent / "titles").glob("*.txt"))
_DOCSTRING = re.compile(r'def test_\w+\([^)]*\)[^:]*:\n\s+"""(.*?)"""', re.DOTALL)
#: title -> why no test shows it
NOT_SHOWN: dict[str, str] = {}


def titles(path: Path) -> list[str]:
    return path.read_text().splitlines()


def short(title: str) -> str:
    """As a docstring may say it: without the group, and without the word that all of them bear."""
    return title.partition("] ")[2].removesuffix(" [Conformance]")


@cache
def docstrings() -> str:
    """Of all tests, whatever way their lines are broken."""
    found = (_DOCSTRING.findall(file.read_text()) for file in TESTS.rglob("test_*.py"))
    return "\n".join(" ".join(text.split()) for texts in found for text in texts)


def is_named(title: str) -> bool:
    return short(title) in docstrings()


@pytest.mark.parametrize("listed", LISTS, ids=lambda path: path.stem)
def test_every_requirement_is_named_by_a_test(listed: Path) -> None:
    wanted = titles(listed)
    assert wanted == sorted(set(wanted))
    assert [title for title in wanted if not is_named(title) and title not in NOT_SHOWN] == []


def test_what_is_not_shown_is_listed_and_not_shown_after_all() -> None:
    everything = {title for path in LISTS for title in titles(path)}
    assert [title for title in NOT_SHOWN if title not in everything or is_named(title)] == []
