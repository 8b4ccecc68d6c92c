"""CertificateSigningRequest (certificates.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind, Subresource

KINDS = (
    Kind(
        group="certificates.k8s.io",
        version="v1",
        kind="CertificateSigningRequest",
        plural="certificatesigningrequests",
        singular="certificatesigningrequest",
        namespaced=False,
        schema="io.k8s.api.certificates.v1.CertificateSigningRequest",
        short_names=("csr",),
        status=True,
        prepare_create=drop_status,
        subresources=(
            Subresource(
                "approval", "CertificateSigningRequest", "certificates.k8s.io", "v1", ("get", "patch", "update")
            ),
        ),
    ),
)
