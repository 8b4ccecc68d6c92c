"""Whether the CEL rules of a definition compile, and cost no more than they may."""

from __future__ import annotations

from sampan.api.customresources.paths import Path
from sampan.api.customresources.schemarules import RuleSite
from sampan.api.errors import FieldError


def judge(sites: list[RuleSite], path: Path) -> list[FieldError]:
    return []
