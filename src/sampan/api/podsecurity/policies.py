"""Levels, versions, and the policy that a namespace's labels ask for (pod-security-admission ``api``).

Every label has a meaning even when it is wrong: what enforces becomes the strictest, what only tells falls silent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

from sampan.api import errors
from sampan.api.errors import FieldError
from sampan.records import dataclass

Level = Literal["privileged", "baseline", "restricted"]
LEVELS: Final[tuple[Level, ...]] = ("privileged", "baseline", "restricted")
PREFIX: Final = "pod-security.kubernetes.io/"
MODES: Final = ("enforce", "audit", "warn")

#: newer than every minor version
LATEST: Final = 2**31
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)", re.ASCII)
#: more digits than any version has, and few enough to read
_MAX_VERSION_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Standard:
    """A level in one version of its rules: ``minor`` of ``v1.<minor>``, or LATEST."""

    level: Level = "privileged"
    minor: int = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor == LATEST else f'v1.{self.minor}'}"

    def is_stricter_than(self, other: Standard) -> bool:
        """By level alone."""
        return LEVELS.index(self.level) > LEVELS.index(other.level)


@dataclass(frozen=True, slots=True)
class Policy:
    enforce: Standard = Standard()
    audit: Standard = Standard()
    warn: Standard = Standard()

    @property
    def asks_nothing(self) -> bool:
        return self.enforce.level == self.audit.level == self.warn.level == "privileged"


def parse_level(text: str) -> Level:
    """Raises ValueError with upstream's text."""
    for level in LEVELS:
        if text == level:
            return level
    raise ValueError(f"must be one of {', '.join(LEVELS)}")


def parse_version(text: str) -> int:
    """The minor version. Raises ValueError with upstream's text."""
    if text == "latest":
        return LATEST
    match = _VERSION.fullmatch(text) if len(text) <= _MAX_VERSION_LENGTH else None
    if match is None:
        raise ValueError('must be "latest" or "v1.x"')
    return min(int(match[1]), LATEST - 1)


def policy_of(labels: Mapping[str, str], defaults: Policy) -> tuple[Policy, list[FieldError]]:
    """The policy of a namespace with these labels, and what is wrong with them."""
    if not any(name.startswith(PREFIX) for name in labels):
        return defaults, []
    faults: list[FieldError] = []
    enforce = _standard(labels, "enforce", defaults.enforce, "restricted", faults)
    audit = _standard(labels, "audit", defaults.audit, "privileged", faults)
    warn = _standard(labels, "warn", defaults.warn, "privileged", faults)
    return Policy(enforce, audit, warn), faults


def _standard(
    labels: Mapping[str, str], mode: str, default: Standard, if_wrong: Level, faults: list[FieldError]
) -> Standard:
    standard = default
    level, version = PREFIX + mode, f"{PREFIX}{mode}-version"
    if level in labels:
        try:
            standard = replace(standard, level=parse_level(labels[level]))
        except ValueError as error:
            standard = replace(standard, level=if_wrong)
            faults.append(errors.invalid(f"metadata.labels[{level}]", labels[level], str(error)))
    if version in labels:
        try:
            standard = replace(standard, minor=parse_version(labels[version]))
        except ValueError as error:
            standard = replace(standard, minor=LATEST)
            faults.append(errors.invalid(f"metadata.labels[{version}]", labels[version], str(error)))
    return standard
