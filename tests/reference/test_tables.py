"""Every built-in kind's table has the reference's columns: names, types, formats and what only ``-o wide`` shows."""

from __future__ import annotations

from tests.reference.facts import compare, recorded

from sampan.api.kind import Kind
from sampan.api.registry import registry

_USUAL = [["Name", "string", "name", 0], ["Age", "string", "", 0]]


def columns(kind: Kind) -> list[list[object]]:
    return [[c.name, c.type, c.format, c.priority] for c in kind.columns] or _USUAL


def test_columns_are_the_references() -> None:
    listed = [kind for kind in registry().today().kinds() if "list" in kind.verbs]
    compare("tables", recorded("tables"), {f"{kind.api_version} {kind.plural}": columns(kind) for kind in listed})
