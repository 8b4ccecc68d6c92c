"""MutatingWebhookConfiguration (admissionregistration.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="admissionregistration.k8s.io",
        version="v1",
        kind="MutatingWebhookConfiguration",
        plural="mutatingwebhookconfigurations",
        singular="mutatingwebhookconfiguration",
        namespaced=False,
        schema="io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
        categories=("api-extensions",),
        generation=True,
        unconditional_update=False,
    ),
)
