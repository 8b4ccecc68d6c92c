"""PriorityLevelConfiguration of flowcontrol.apiserver.k8s.io/v1alpha1, v1beta1, v1beta2 and v1: shares were assured.

Upstream: ``pkg/apis/flowcontrol/v1beta2/conversion.go``, last served by 1.28.
"""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.api.versions.convert import flowcontrol_v1beta3
from sampan.api.versions.convert.parts import part, rename

_ASSURED = "assuredConcurrencyShares"


def default_prioritylevelconfiguration(level: Obj) -> None:
    limited = part(level, "spec").get("limited")
    if isinstance(limited, dict) and not limited.get(_ASSURED):
        annotations = part(part(level, "metadata"), "annotations")
        if flowcontrol_v1beta3.ZERO not in annotations:
            limited[_ASSURED] = flowcontrol_v1beta3.DEFAULT_SHARES


def to_prioritylevelconfiguration(level: Obj) -> Obj:
    rename(part(part(level, "spec"), "limited"), _ASSURED, flowcontrol_v1beta3.SHARES)
    return flowcontrol_v1beta3.to_prioritylevelconfiguration(level)


def from_prioritylevelconfiguration(level: Obj) -> Obj:
    level = flowcontrol_v1beta3.from_prioritylevelconfiguration(level)
    rename(part(part(level, "spec"), "limited"), flowcontrol_v1beta3.SHARES, _ASSURED)
    return level
