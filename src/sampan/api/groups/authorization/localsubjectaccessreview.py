"""LocalSubjectAccessReview (authorization.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import REVIEW_VERBS, Kind

KINDS = (
    Kind(
        group="authorization.k8s.io",
        version="v1",
        kind="LocalSubjectAccessReview",
        plural="localsubjectaccessreviews",
        singular="localsubjectaccessreview",
        namespaced=True,
        schema="io.k8s.api.authorization.v1.LocalSubjectAccessReview",
        verbs=REVIEW_VERBS,
    ),
)
