"""Numbers that may be percentages of a total: maxSurge, maxUnavailable, minAvailable (``intstr``). Pure."""

from __future__ import annotations

import re
from typing import Any

_PERCENT = re.compile(r"([0-9]{1,18})%", re.ASCII)


def scaled(value: Any, total: int, *, round_up: bool) -> int | None:
    """``value`` as a number, a percentage being that of ``total``. None: it is neither number nor percentage."""
    if type(value) is int:
        return value
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    product = int(match[1]) * total
    return -(-product // 100) if round_up else product // 100
