"""ServiceAccount (v1)."""

from __future__ import annotations

from sampan.api.kind import Kind, Subresource

KINDS = (
    Kind(
        group="",
        version="v1",
        kind="ServiceAccount",
        plural="serviceaccounts",
        singular="serviceaccount",
        namespaced=True,
        schema="io.k8s.api.core.v1.ServiceAccount",
        short_names=("sa",),
        subresources=(Subresource("token", "TokenRequest", "authentication.k8s.io", "v1", ("create",)),),
    ),
)
