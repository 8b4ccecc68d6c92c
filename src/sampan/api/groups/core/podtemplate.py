"""PodTemplate (v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="PodTemplate",
        plural="podtemplates",
        singular="podtemplate",
        namespaced=True,
        schema="io.k8s.api.core.v1.PodTemplate",
        generation=True,
    ),
)
