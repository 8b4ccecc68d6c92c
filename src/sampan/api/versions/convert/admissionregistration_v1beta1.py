"""Webhook configurations of admissionregistration.k8s.io/v1beta1 and v1: laxer defaults.

Upstream: ``pkg/apis/admissionregistration/v1beta1/defaults.go``, last served by 1.21.
"""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.api.versions.convert.parts import parts


def default_validatingwebhookconfiguration(configuration: Obj) -> None:
    for webhook in parts(configuration, "webhooks"):
        webhook.setdefault("failurePolicy", "Ignore")
        webhook.setdefault("matchPolicy", "Exact")
        webhook.setdefault("sideEffects", "Unknown")
        webhook.setdefault("timeoutSeconds", 30)
        if not webhook.get("admissionReviewVersions"):
            webhook["admissionReviewVersions"] = ["v1beta1"]


default_mutatingwebhookconfiguration = default_validatingwebhookconfiguration
