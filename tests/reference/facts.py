"""What a running v1.36.2 was recorded to answer, and how v1.37, or this server, differs from it.

``data/*.json`` hold the record, a fact a line; ``differences-1.37.yaml`` names every difference with its reason. A test
makes the same facts of this server and hands both to ``compare``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import yaml

_HERE = Path(__file__).parent
#: instead of a value: there is none
ABSENT = "absent"


@cache
def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((_HERE / "data" / f"{name}.json").read_bytes())
    return found


@cache
def _differences() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = yaml.safe_load((_HERE / "differences-1.37.yaml").read_text())
    return found


def compare(part: str, record: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Fails on a difference that is not named, and on a named one that is none (any more)."""
    left = {key: ours.get(key, ABSENT) for key in {*record, *ours} if record.get(key, ABSENT) != ours.get(key, ABSENT)}
    unused = []
    for entry in _differences()[part]:
        assert entry["why"], entry
        now = entry["now"]
        found = [key for key in left if fnmatchcase(key, _literal(entry["at"])) and left[key] == now]
        for key in found:
            del left[key]
        if not found:
            unused.append(entry["at"])
    unnamed = [f"{key}\n    was {record.get(key, ABSENT)}\n    now {value}" for key, value in sorted(left.items())]
    assert not unnamed, "\n".join(["differences that are not named:", *unnamed])
    assert not unused, f"no differences: {unused}"


def changes(part: str) -> dict[str, Any]:
    """What is named of a part whose facts are compared elsewhere: where, and what it is now."""
    return {entry["at"]: entry["now"] for entry in _differences()[part] if entry["why"]}


def _literal(pattern: str) -> str:
    """Only ``*`` stands for something else."""
    return pattern.replace("[", "[[]").replace("?", "[?]")
