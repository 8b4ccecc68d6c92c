"""APIService (apiregistration.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="apiregistration.k8s.io",
        version="v1",
        kind="APIService",
        plural="apiservices",
        singular="apiservice",
        namespaced=False,
        schema="io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
        categories=("api-extensions",),
        status=True,
        prepare_create=drop_status,
        generation=True,
        unconditional_update=False,
    ),
)
