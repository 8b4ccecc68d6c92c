"""How Go's ``strconv`` reads a truth value. Pure."""

from __future__ import annotations

from typing import Final

from sampan.api.errors import quoted

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def parse_bool(text: str) -> bool:
    """Raises ValueError, in ``strconv.ParseBool``'s words."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {quoted(text)}: invalid syntax")
