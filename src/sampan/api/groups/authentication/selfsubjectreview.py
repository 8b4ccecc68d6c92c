"""SelfSubjectReview (authentication.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import REVIEW_VERBS, Kind

KINDS = (
    Kind(
        group="authentication.k8s.io",
        version="v1",
        kind="SelfSubjectReview",
        plural="selfsubjectreviews",
        singular="selfsubjectreview",
        namespaced=False,
        schema="io.k8s.api.authentication.v1.SelfSubjectReview",
        verbs=REVIEW_VERBS,
    ),
)
