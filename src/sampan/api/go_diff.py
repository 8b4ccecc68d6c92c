"""How upstream's refusals show what changed in a whole struct: a unified diff of two indented JSON texts. Pure.

Go's names of the fields are the caller's to give. Source: apimachinery ``util/diff`` as built into v1.37's server.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

#: of either text; beyond it a comparison takes longer than anybody reads
_MOST_LINES = 500


def diff(old: Any, new: Any) -> str:
    """Empty when the texts are the same, or too long to be compared."""
    before, after = _lines(old), _lines(new)
    if max(len(before), len(after)) > _MOST_LINES:
        return ""
    marked = difflib.unified_diff(before, after, lineterm="\n")
    return "".join(line for index, line in enumerate(marked) if index > 1)  # the names of two files come first


def _lines(value: Any) -> list[str]:
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return [f"{line}\n" for line in text.split("\n")]


def capitalised(value: Any) -> Any:
    """For structs whose layout nobody wrote down: what is there, each name with a capital."""
    if isinstance(value, Mapping):
        return {key[:1].upper() + key[1:]: capitalised(item) for key, item in value.items()}
    return [capitalised(item) for item in value] if isinstance(value, list) else value
