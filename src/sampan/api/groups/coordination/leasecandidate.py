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

#: semver.org, without what stands behind the three numbers
_VERSION = re.compile(
    r"(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", re.ASCII
)
_Version = tuple[int, int, int]


def _version(text: str, path: str) -> tuple[_Version, Errors]:
    match = _VERSION.fullmatch(text)
    if match is None:
        return (0, 0, 0), [errors.invalid(path, text, "must be a valid semantic version")]
    return (int(match[1]), int(match[2]), int(match[3])), []


def _validate(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    found = [] if spec.get("leaseName") else [errors.required("spec.leaseName")]
    emulation: _Version = (0, 0, 0)
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
    if strategy == strategies.OLDEST_EMULATION_VERSION and emulation == (0, 0, 0):
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
