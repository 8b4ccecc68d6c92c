"""NetworkPolicy (networking.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="networking.k8s.io",
        version="v1",
        kind="NetworkPolicy",
        plural="networkpolicies",
        singular="networkpolicy",
        namespaced=True,
        schema="io.k8s.api.networking.v1.NetworkPolicy",
        short_names=("netpol",),
        generation=True,
    ),
)
