"""find and findAll (Kubernetes' library of regular expressions)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sampan.cel.costs import matching
from sampan.cel.errors import EvaluationError
from sampan.cel.functions import Library, function, member
from sampan.cel.patterns import BadPattern, compiled
from sampan.cel.types import INT, STRING, list_of


def _compiled(pattern: str) -> Any:
    try:
        return compiled(pattern)
    except BadPattern as error:
        raise EvaluationError(f"Illegal regex: {error}") from None


def _find(text: str, pattern: str) -> str:
    match = _compiled(pattern).search(text)
    return str(match.group()) if match is not None else ""


def _finding(args: Sequence[Any]) -> int:
    """Every character may be a match, each of which takes some microseconds, and for each the rest may be gone through
    in vain (``[^y]*y|x``)."""
    length = len(args[0])
    return matching(args) + length * 10 + length * length // 1000


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    found: list[str] = []
    for match in _compiled(pattern).finditer(text):
        found.append(match.group())
        if len(found) == limit:
            break
    return found


LIBRARY: Final[Library] = (
    function("find", member("string_find_string", [STRING, STRING], STRING, _find, matching)),
    function(
        "findAll",
        member("string_find_all_string", [STRING, STRING], list_of(STRING), _find_all, _finding),
        member("string_find_all_string_int", [STRING, STRING, INT], list_of(STRING), _find_all, _finding),
    ),
)
