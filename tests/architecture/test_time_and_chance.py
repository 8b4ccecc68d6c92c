"""Time and chance come in as arguments (docs/architecture.md, section 6): what cannot be said as an import contract."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sampan

SOURCE = Path(sampan.__file__).parent
#: they read the wall clock and the machine's entropy for all others, or wait for them
EXEMPT = {"api/clock.py"}
FORBIDDEN = {
    "time.time", "time.time_ns", "time.monotonic", "time.sleep", "datetime.now", "datetime.utcnow", "date.today",
    "asyncio.sleep", "os.urandom", "uuid.uuid1", "uuid.uuid4", "random.random", "random.choice", "random.randint",
    "random.shuffle", "random.uniform",
}  # fmt: skip
MODULES = {"secrets"}


def calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0:
                continue  # ``sleep(0)`` lets others have their turn
            if isinstance(owner, ast.Name | ast.Attribute):
                yield f"{owner.id if isinstance(owner, ast.Name) else owner.attr}.{node.func.attr}"


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def impure(source: str) -> set[str]:
    tree = ast.parse(source)
    imported = set(imports(tree))
    # A parameter may be called as a module is: ``random`` is, all over.
    found = {call for call in set(calls(tree)) & FORBIDDEN if call.partition(".")[0] in imported | {"datetime", "date"}}
    return found | (imported & MODULES)


@pytest.mark.parametrize("layer", ["api", "controllers", "scheduler"])
def test_pure_layers_read_no_clock_and_no_entropy_and_never_sleep(layer: str) -> None:
    found = {
        name: faults
        for path in sorted((SOURCE / layer).rglob("*.py"))
        if (name := path.relative_to(SOURCE).as_posix()) not in EXEMPT and (faults := impure(path.read_text()))
    }
    assert found == {}


def test_the_search_finds_what_it_looks_for() -> None:
    assert impure("import asyncio\nasync def f():\n    await asyncio.sleep(1)") == {"asyncio.sleep"}
    assert impure("import datetime\ndatetime.datetime.now()") == {"datetime.now"}
    assert impure("import secrets") == {"secrets"}
    assert impure("import random\nrandom.choice([1])") == {"random.choice"}
    assert impure("def f(random):\n    return random.choice([1])") == set()
    assert impure("import asyncio\nasync def f():\n    await asyncio.sleep(0)") == set()
