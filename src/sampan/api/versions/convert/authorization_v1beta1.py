"""Access reviews of authorization.k8s.io/v1beta1 and authorization.k8s.io/v1: groups were called ``group``."""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.api.versions.convert.parts import part, rename


def to_subjectaccessreview(review: Obj) -> Obj:
    rename(part(review, "spec"), "group", "groups")
    return review


def from_subjectaccessreview(review: Obj) -> Obj:
    rename(part(review, "spec"), "groups", "group")
    return review


to_localsubjectaccessreview = to_subjectaccessreview
from_localsubjectaccessreview = from_subjectaccessreview
