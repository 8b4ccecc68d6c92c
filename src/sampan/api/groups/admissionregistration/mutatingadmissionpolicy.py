"""MutatingAdmissionPolicy (admissionregistration.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="admissionregistration.k8s.io",
        version="v1",
        kind="MutatingAdmissionPolicy",
        plural="mutatingadmissionpolicies",
        singular="mutatingadmissionpolicy",
        namespaced=False,
        schema="io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
        categories=("api-extensions",),
        generation=True,
        unconditional_update=False,
    ),
)
