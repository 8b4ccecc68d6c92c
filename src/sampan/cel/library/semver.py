"""Versions (Kubernetes' library semver; semver.org 2.0.0)."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any, Final

from sampan.cel.costs import slow, traversal
from sampan.cel.errors import EvaluationError
from sampan.cel.functions import Library, function, member, plain
from sampan.cel.types import BOOL, INT, STRING, opaque
from sampan.cel.values import Opaque
from sampan.records import dataclass

SEMVER: Final = opaque("kubernetes.Semver")

_NUMBER: Final = r"(0|[1-9]\d{0,18})"
_PART: Final = r"(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION: Final = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_PART}(?:\.{_PART})*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?", re.ASCII
)
_MAX_TEXT: Final = 256


@dataclass(frozen=True, slots=True)
class Semver(Opaque):
    type = SEMVER
    major: int
    minor: int
    patch: int
    pre: tuple[str, ...]
    build: str = field(default="", compare=False)

    def rank(self) -> tuple[Any, ...]:
        """What orders versions: one that is released comes after those before its release."""
        pre = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre)
        return (self.major, self.minor, self.patch, not pre, pre)


def _parse(text: str, *, normalize: bool = False) -> Semver:
    if normalize:
        text = _normalized(text)
    match = _VERSION.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None:
        raise EvaluationError(_fault(text))
    major, minor, patch, pre, build = match.groups()
    return Semver(int(major), int(minor), int(patch), tuple(pre.split(".")) if pre else (), build or "")


def _fault(text: str) -> str:
    if not text:
        return "Version string empty"
    parts = text.split(".", 2)
    if len(parts) != 3:
        return "No Major.Minor.Patch elements found"
    for part in parts[:2]:
        if not part.isascii() or not part.isdigit():
            return f'Invalid character(s) found in {"major" if part is parts[0] else "minor"} number "{part}"'
        if len(part) > 1 and part.startswith("0"):
            return f'{"Major" if part is parts[0] else "Minor"} number must not contain leading zeroes "{part}"'
    return f'Invalid character(s) found in patch number "{parts[2]}"'


def _normalized(text: str) -> str:
    """Without a v before it, with all three numbers, without their leading zeros."""
    parts = text.removeprefix("v").split(".", 2)
    for place, part in enumerate(parts):
        if len(part) > 1:
            bare = part.lstrip("0")
            parts[place] = bare if bare[:1].isdigit() else f"0{bare}"
    if len(parts) < 3:
        if "+" in parts[-1] or "-" in parts[-1]:
            raise EvaluationError("short version cannot contain PreRelease/Build meta data")
        parts += ["0"] * (3 - len(parts))
    return ".".join(parts)


def parse_semver(text: str) -> Semver:
    """Raises EvaluationError."""
    return _parse(text)


def _is_semver(text: str, normalize: bool = False) -> bool:
    try:
        _parse(text, normalize=normalize)
    except EvaluationError:
        return False
    return True


def _compare(one: Semver, other: Semver) -> int:
    rank, other_rank = one.rank(), other.rank()
    return (rank > other_rank) - (rank < other_rank)


LIBRARY: Final[Library] = (
    function(
        "semver",
        plain("string_to_semver", [STRING], SEMVER, _parse, slow(traversal())),
        plain(
            "string_bool_to_semver",
            [STRING, BOOL],
            SEMVER,
            lambda text, normalize: _parse(text, normalize=normalize),
            slow(traversal()),
        ),
    ),
    function(
        "isSemver",
        plain("is_semver_string", [STRING], BOOL, _is_semver, slow(traversal())),
        plain("is_semver_string_bool", [STRING, BOOL], BOOL, _is_semver, slow(traversal())),
    ),
    function("major", member("semver_major", [SEMVER], INT, lambda version: version.major)),
    function("minor", member("semver_minor", [SEMVER], INT, lambda version: version.minor)),
    function("patch", member("semver_patch", [SEMVER], INT, lambda version: version.patch)),
    function("compareTo", member("semver_compare_to", [SEMVER, SEMVER], INT, _compare, slow())),
    function(
        "isLessThan", member("semver_is_less_than", [SEMVER, SEMVER], BOOL, lambda a, b: _compare(a, b) < 0, slow())
    ),
    function(
        "isGreaterThan",
        member("semver_is_greater_than", [SEMVER, SEMVER], BOOL, lambda a, b: _compare(a, b) > 0, slow()),
    ),
)
