"""SubjectAccessReview (authorization.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import REVIEW_VERBS, Kind

KINDS = (
    Kind(
        group="authorization.k8s.io",
        version="v1",
        kind="SubjectAccessReview",
        plural="subjectaccessreviews",
        singular="subjectaccessreview",
        namespaced=False,
        schema="io.k8s.api.authorization.v1.SubjectAccessReview",
        verbs=REVIEW_VERBS,
    ),
)
