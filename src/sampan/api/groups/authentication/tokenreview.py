"""TokenReview (authentication.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import REVIEW_VERBS, Kind

KINDS = (
    Kind(
        group="authentication.k8s.io",
        version="v1",
        kind="TokenReview",
        plural="tokenreviews",
        singular="tokenreview",
        namespaced=False,
        schema="io.k8s.api.authentication.v1.TokenReview",
        verbs=REVIEW_VERBS,
    ),
)
