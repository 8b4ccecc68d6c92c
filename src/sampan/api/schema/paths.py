"""Paths of fields in messages, ``spec.containers[0].image``, and how many of them one body may cause.

Used by all that looks through a body. Steps are joined only when a message needs them: keys may be megabytes long.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Upstream tells at most this many strict errors of one body (sigs.k8s.io/json).
MAX_STRICT_ERRORS: Final = 100
#: Longer paths are cut.
_MAX_LENGTH: Final = 1024


def join(steps: Iterable[str | int]) -> str:
    """Of names and keys, and indexes of lists."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path = f"{path}.{step}" if path else step
        if len(path) > _MAX_LENGTH:
            return f"{path[:_MAX_LENGTH]}..."
    return path
