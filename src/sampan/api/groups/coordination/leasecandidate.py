"""LeaseCandidate (coordination.k8s.io/v1beta1)."""

from __future__ import annotations

from sampan.api.kind import Kind

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
    ),
)
