"""LeaseCandidate (coordination.k8s.io/v1beta1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.groups.coordination import strategies
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

#: semver.org: three numbers, and what comes before them in time or was built
_NUMBER, _BUILT = r"(0|[1-9][0-9]{0,17})", r"[0-9A-Za-z-]+"
_BEFORE = r"(?:0|[1-9][0-9]{0,17}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_BEFORE}(?:\.{_BEFORE})*))?(?:\+{_BUILT}(?:\.{_BUILT})*)?", re.ASCII
)
#: three numbers; whether it is the release itself; else what comes before it, in the order of versions
_Version = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]
_ZERO: _Version = (0, 0, 0, True, ())


def _version(text: str, path: str) -> tuple[_Version, Errors]:
    match = _VERSION.fullmatch(text)
    if match is None:
        return _ZERO, [errors.invalid(path, text, "must be a valid semantic version")]
    before = match[4] or ""
    order = tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in before.split(".") if part)
    return (int(match[1]), int(match[2]), int(match[3]), not before, order), []


def _validate(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    found = [] if spec.get("leaseName") else [errors.required("spec.leaseName")]
    emulation = _ZERO
    if emulated := spec.get("emulationVersion"):
        emulation, faults = _version(emulated, "spec.emulationVersion")
        found += faults
    if binary := spec.get("binaryVersion"):
        version, faults = _version(binary, "spec.binaryVersion")
        found += faults
        if emulated and version < emulation:
            text = "must be greater than or equal to `emulationVersion`"
            found.append(errors.invalid("spec.binaryVersion", binary, text))
    else:
        found.append(errors.required("spec.binaryVersion"))
    strategy = spec.get("strategy", "")
    if not strategy:
        return [*found, errors.required("spec.strategy")]
    if strategy == strategies.OLDEST_EMULATION_VERSION and emulation == _ZERO:
        text = "must be specified when `strategy` is 'OldestEmulationVersion'"
        found.append(errors.required("spec.emulationVersion", text))
    return found + strategies.validate(strategy, "spec.strategy")


def _validate_update(new: Obj, old: Obj) -> Errors:
    name, before = ((obj.get("spec") or {}).get("leaseName", "") for obj in (new, old))
    return [] if name == before else [errors.invalid("spec.leaseName", name, common.IMMUTABLE)]


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    spec = obj.get("spec") or {}
    keys = ("leaseName", "binaryVersion", "emulationVersion")
    return (printing.name(obj), *(spec.get(key, "") for key in keys), printing.age(obj, now))


KINDS = (
    Kind(
        group="coordination.k8s.io",
        version="v1beta1",
        kind="LeaseCandidate",
        plural="leasecandidates",
        singular="leasecandidate",
        namespaced=True,
        schema="io.k8s.api.coordination.v1beta1.LeaseCandidate",
        unconditional_update=False,
        create_on_update=True,
        validate=_validate,
        validate_update=_validate_update,
        name_check=names.config_map_key,
        columns=(
            printing.NAME,
            Column("LeaseName"),
            Column("BinaryVersion"),
            Column("EmulationVersion"),
            printing.AGE,
        ),
        row=_row,
    ),
)
