"""The order of versions: stable ones first, the newest of them first (apimachinery ``util/version``). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_VERSION = re.compile(r"v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?$")
_STAGES = {"alpha": 1, "beta": 2, "": 3}


def in_order(versions: Iterable[str]) -> list[str]:
    """v10, v2, v1, v11beta2, v3beta1, v12alpha1 ..., and then what is no such version, by name."""
    return sorted(versions, key=rank)


def rank(version: str) -> tuple[int, int, int, str]:
    """The smaller, the more preferred."""
    found = _VERSION.match(version)
    if found is None:
        return 0, 0, 0, version
    major, stage, minor = found.groups()
    return -_STAGES[stage or ""], -int(major), -int(minor or 0), ""
