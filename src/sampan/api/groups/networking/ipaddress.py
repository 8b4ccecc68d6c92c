"""IPAddress (networking.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="networking.k8s.io",
        version="v1",
        kind="IPAddress",
        plural="ipaddresses",
        singular="ipaddress",
        namespaced=False,
        schema="io.k8s.api.networking.v1.IPAddress",
        short_names=("ip",),
    ),
)
