"""All that a plan is made of, as one frozen view. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from sampan.api.types import Obj
from sampan.records import dataclass

#: (namespace, name)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Site:
    """The machine that the data plane runs on.

    ``addresses``: those of all nodes; ``own``: of this one. ``ports``: where a port that is not to be had is served
    instead. ``taken``: ports that belong to somebody else. ``trouble``: why the data plane does not run; "": it does.
    """

    addresses: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    ports: Mapping[int, int] = field(default_factory=dict)
    taken: frozenset[int] = frozenset()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """Objects as the API has them; they may be damaged. Secrets and ConfigMaps are those that are referred to
    (``references``); ``slices``: EndpointSlices by Service. ``bundles``: release of each definition, by kind.
    ``refused``: what the data plane does not take of routes, by kind, namespace and name."""

    site: Site = Site()
    classes: tuple[Obj, ...] = ()
    gateways: tuple[Obj, ...] = ()
    http_routes: tuple[Obj, ...] = ()
    grpc_routes: tuple[Obj, ...] = ()
    tls_routes: tuple[Obj, ...] = ()
    grants: tuple[Obj, ...] = ()
    policies: tuple[Obj, ...] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    services: Mapping[Key, Obj] = field(default_factory=dict)
    slices: Mapping[Key, tuple[Obj, ...]] = field(default_factory=dict)
    secrets: Mapping[Key, Obj] = field(default_factory=dict)
    config_maps: Mapping[Key, Obj] = field(default_factory=dict)
    bundles: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
