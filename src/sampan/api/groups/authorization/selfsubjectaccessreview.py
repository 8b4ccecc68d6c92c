"""SelfSubjectAccessReview (authorization.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import REVIEW_VERBS, Kind

KINDS = (
    Kind(
        group="authorization.k8s.io",
        version="v1",
        kind="SelfSubjectAccessReview",
        plural="selfsubjectaccessreviews",
        singular="selfsubjectaccessreview",
        namespaced=False,
        schema="io.k8s.api.authorization.v1.SelfSubjectAccessReview",
        verbs=REVIEW_VERBS,
    ),
)
