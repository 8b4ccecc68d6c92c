"""ValidatingAdmissionPolicy (admissionregistration.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="admissionregistration.k8s.io",
        version="v1",
        kind="ValidatingAdmissionPolicy",
        plural="validatingadmissionpolicies",
        singular="validatingadmissionpolicy",
        namespaced=False,
        schema="io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
        categories=("api-extensions",),
        status=True,
        prepare_create=drop_status,
        generation=True,
        unconditional_update=False,
    ),
)
