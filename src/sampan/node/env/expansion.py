"""``$(NAME)`` in commands, arguments, variables and subPathExpr (upstream third_party/forked/golang/expansion).

``$$`` is an escaped ``$``; a reference that is not defined stays as it is written. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from sampan.api.types import Obj

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """``lookup`` gives None for what is not defined."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        value = lookup(name)
        return match.group(0) if value is None else value

    return _REFERENCE.sub(replace, text)


def expand_each(texts: Iterable[str], variables: Mapping[str, str]) -> list[str]:
    return [expand(text, variables.get) for text in texts]


def expand_strict(text: str, variables: Mapping[str, str]) -> str:
    """As ``expand``, but raises KeyError(name) for what is not defined: subPathExpr must be complete."""

    def lookup(name: str) -> str:
        return variables[name]

    return expand(text, lookup)


def container_command(container: Obj, variables: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """``command`` and ``args`` of a container, expanded with its environment."""
    return (
        expand_each(container.get("command") or (), variables),
        expand_each(container.get("args") or (), variables),
    )
