"""PodCertificateRequest (certificates.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="certificates.k8s.io",
        version="v1",
        kind="PodCertificateRequest",
        plural="podcertificaterequests",
        singular="podcertificaterequest",
        namespaced=True,
        schema="io.k8s.api.certificates.v1.PodCertificateRequest",
        status=True,
        prepare_create=drop_status,
        unconditional_update=False,
    ),
)
