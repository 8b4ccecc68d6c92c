"""How the holder of a coordinated Lease is chosen: named by the reference, or with a prefix of one's own."""

from __future__ import annotations

from typing import Final

from sampan.api import errors, names
from sampan.api.validation import common
from sampan.api.validation.common import Errors

OLDEST_EMULATION_VERSION: Final = "OldestEmulationVersion"


def validate(strategy: str, path: str) -> Errors:
    """``path``: of the field; the reference names it twice."""
    where = f"{path}.strategy"
    if "/" in strategy:
        return common.named(names.qualified_name, strategy, where)
    if strategy == OLDEST_EMULATION_VERSION:
        return []
    return [errors.not_supported(where, strategy, (OLDEST_EMULATION_VERSION,))]
