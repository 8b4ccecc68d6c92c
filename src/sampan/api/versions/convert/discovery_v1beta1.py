"""EndpointSlice of discovery.k8s.io/v1beta1 and discovery.k8s.io/v1: where an endpoint is was a map.

Upstream: ``pkg/apis/discovery/v1beta1/conversion.go``, last served by 1.24.
"""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.api.versions.convert.parts import part, parts, rename

_ZONE = "topology.kubernetes.io/zone"


def to_endpointslice(slice_: Obj) -> Obj:
    for endpoint in parts(slice_, "endpoints"):
        topology = part(endpoint, "topology")
        zone = topology.pop(_ZONE, None)
        if zone is not None:
            endpoint["zone"] = zone
        if topology:
            rename(endpoint, "topology", "deprecatedTopology")
        else:
            endpoint.pop("topology", None)
    return slice_


def from_endpointslice(slice_: Obj) -> Obj:
    for endpoint in parts(slice_, "endpoints"):
        rename(endpoint, "deprecatedTopology", "topology")
        zone = endpoint.pop("zone", None)
        if zone is not None:
            topology = endpoint.get("topology")
            if not isinstance(topology, dict):
                topology = endpoint["topology"] = {}
            topology[_ZONE] = zone
    return slice_
