"""PriorityLevelConfiguration of flowcontrol.apiserver.k8s.io/v1beta3 and v1: no shares meant the default of 30.

A level whose shares are to be zero says so in v1beta3 by an annotation. Upstream:
``pkg/apis/flowcontrol/v1beta3/{conversion,defaults}.go``, last served by 1.31.
"""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.api.versions.convert.parts import annotate, part, take_annotation

ZERO = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares"
SHARES = "nominalConcurrencyShares"
DEFAULT_SHARES = 30


def default_prioritylevelconfiguration(level: Obj) -> None:
    limited = part(level, "spec").get("limited")
    if (
        isinstance(limited, dict)
        and not limited.get(SHARES)
        and ZERO not in part(part(level, "metadata"), "annotations")
    ):
        limited[SHARES] = DEFAULT_SHARES


def to_prioritylevelconfiguration(level: Obj) -> Obj:
    take_annotation(level, ZERO)
    return level


def from_prioritylevelconfiguration(level: Obj) -> Obj:
    if part(part(level, "spec"), "limited").get(SHARES) == 0:
        annotate(level, ZERO, "")
    return level
