"""Webhook configurations of admissionregistration.k8s.io/v1beta1 and v1: laxer defaults.

Upstream: ``pkg/apis/admissionregistration/v1beta1/defaults.go``, last served by 1.21.
"""

from __future__ import annotations

from typing import Final

from sampan.api.errors import FieldError
from sampan.api.types import Obj
from sampan.api.versions.convert.parts import parts

_DEFAULTS: Final[Obj] = {
    "failurePolicy": "Ignore",
    "matchPolicy": "Exact",
    "sideEffects": "Unknown",
    "timeoutSeconds": 30,
}
#: what v1 does not allow: a rehearsal that meets such a webhook fails
_SIDE_EFFECTS: Final = tuple(f'Unsupported value: "{value}"' for value in ("Some", "Unknown"))


def default_validatingwebhookconfiguration(configuration: Obj) -> None:
    for webhook in parts(configuration, "webhooks"):
        for key, value in _DEFAULTS.items():
            if webhook.get(key) is None:
                webhook[key] = value
        if not webhook.get("admissionReviewVersions"):
            webhook["admissionReviewVersions"] = ["v1beta1"]


def tolerates_validatingwebhookconfiguration(fault: FieldError) -> bool:
    return fault.field.endswith(".sideEffects") and fault.detail.startswith(_SIDE_EFFECTS)


default_mutatingwebhookconfiguration = default_validatingwebhookconfiguration
tolerates_mutatingwebhookconfiguration = tolerates_validatingwebhookconfiguration
