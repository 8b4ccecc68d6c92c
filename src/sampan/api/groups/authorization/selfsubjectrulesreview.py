"""SelfSubjectRulesReview (authorization.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import REVIEW_VERBS, Kind

KINDS = (
    Kind(
        group="authorization.k8s.io",
        version="v1",
        kind="SelfSubjectRulesReview",
        plural="selfsubjectrulesreviews",
        singular="selfsubjectrulesreview",
        namespaced=False,
        schema="io.k8s.api.authorization.v1.SelfSubjectRulesReview",
        verbs=REVIEW_VERBS,
    ),
)
