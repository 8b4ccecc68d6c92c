"""Which of the built-in kinds are served: ``--runtime-config`` and the feature gates of kinds. Pure.

As upstream, versions that are alpha or beta are off, unless they are former ones of kinds that are GA by now:
that old manifests work is a promise of Sampan's (``versions``), and who does not want it says ``api/beta=false``. What
is off has no storage, no discovery and no OpenAPI, and no controller looks at it. What the server itself is made of
cannot be turned off. Words of refusals are upstream's (apiserver/pkg/server/resourceconfig and options).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from sampan.api import gates
from sampan.api.errors import quoted
from sampan.api.features import Features
from sampan.api.go_bool import parse_bool
from sampan.api.kind import Kind
from sampan.api.registry import Registry, registry
from sampan.records import dataclass

_ALPHA: Final = re.compile(r"v\d+alpha\d+")
_BETA: Final = re.compile(r"v\d+beta\d+")
_GA: Final = re.compile(r"v\d+")

#: keys for many versions at once, in the order in which they count
_CLASSES: Final[Mapping[str, Callable[[str], object]]] = {
    "api/all": lambda version: True,
    "api/ga": _GA.fullmatch,
    "api/beta": _BETA.fullmatch,
    "api/alpha": _ALPHA.fullmatch,
}
#: (group, kind) of what is not served without a gate, whatever ``--runtime-config`` says
KIND_GATES: Final[Mapping[tuple[str, str], str]] = {
    ("scheduling.k8s.io", "Workload"): "GenericWorkload",
    ("scheduling.k8s.io", "PodGroup"): "GenericWorkload",
    ("scheduling.k8s.io", "CompositePodGroup"): "CompositePodGroup",
    ("lifecycle.k8s.io", "Eviction"): "EvictionRequestAPI",
    ("lifecycle.k8s.io", "EvictionRequest"): "EvictionRequestAPI",
    ("certificates.k8s.io", "ClusterTrustBundle"): "ClusterTrustBundle",
    ("certificates.k8s.io", "PodCertificateRequest"): "PodCertificateRequest",
    ("storagemigration.k8s.io", "StorageVersionMigration"): "StorageVersionMigrator",
}
#: what serves every kind there is: ``--runtime-config`` and ``--feature-gates``
ALL_VERSIONS: Final = "api/all=true"
ALL_KINDS: Final = ",".join(
    f"{gate}=true" for gate in sorted({*KIND_GATES.values(), "TopologyAwareWorkloadScheduling"})
)
#: groups whose ``v1`` the server cannot be without: policy, admission, addresses and discovery read them
_NEEDED: Final = frozenset(
    {
        "", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "authentication.k8s.io",
        "authorization.k8s.io", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io",
        "flowcontrol.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "policy", "rbac.authorization.k8s.io",
        "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """What somebody asked for, each more exact than the one before it: classes of versions, versions, resources."""

    classes: Mapping[str, bool]
    versions: Mapping[tuple[str, str], bool]
    resources: Mapping[tuple[str, str, str], bool]

    def wants(self, kind: Kind) -> bool:
        asked = self.resources.get((kind.group, kind.version, kind.plural))
        if asked is None:
            asked = self.versions.get((kind.group, kind.version))
        if asked is not None:
            return asked
        today = kind.stored_as[1] if kind.former and kind.stored_as is not None else kind.version
        wanted = _GA.fullmatch(today) is not None or (kind.former and kind.stored_as is None)
        for name, matches in _CLASSES.items():
            if name in self.classes and matches(kind.version):
                wanted = self.classes[name]
        return wanted


def parse(text: str, known: Registry) -> RuntimeConfig:
    """Of ``api/beta=true,batch/v1/jobs=false``; of a key that is there twice the last counts. Raises ValueError."""
    entries: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = entry.partition("=")
        entries[key.strip()] = value.strip()
    if entries.get("api/all") == "false" and len(entries) == 1:
        raise ValueError("invalid key with only api/all=false")
    classes: dict[str, bool] = {}
    versions: dict[tuple[str, str], bool] = {}
    resources: dict[tuple[str, str, str], bool] = {}
    _refuse_unknown(entries, known)
    for key, value in entries.items():
        if key in _CLASSES:
            if value not in ("true", "false"):
                raise ValueError(f"invalid value {key}={value}")
            classes[key] = value == "true"
            continue
        group, version, *more = key.split("/")
        if version not in known.groups().get(group, ()):
            name = f"{group}/{version}" if group else version
            raise ValueError(f"group version {name} that has not been registered")
        on = _value(key, value)
        if not more:
            versions[group, version] = on
        elif more[0] != more[0].lower():
            raise ValueError(
                f"invalid key {key}: group/version/resource and resource is always lowercase plural, not "
                f"{quoted(more[0])}"
            )
        else:
            resources[group, version, more[0]] = on
    return RuntimeConfig(classes, versions, resources)


def _refuse_unknown(keys: Iterable[str], known: Registry) -> None:
    """Raises ValueError."""
    unknown: list[str] = []
    for key in keys:
        if key in _CLASSES:
            continue
        parts = key.split("/")
        if len(parts) not in (2, 3):
            raise ValueError(f"runtime-config invalid key {key}")
        if parts[0] not in known.groups():
            unknown.append(parts[0])
    if unknown:
        raise ValueError(f"unknown api groups {','.join(unknown)}")


def _value(key: str, value: str) -> bool:
    try:
        return parse_bool(value) if value else True
    except ValueError as error:
        raise ValueError(f"invalid value of {key}: {value}, err: {error}") from error


def served(known: Registry, runtime_config: str = "", features: Features | None = None) -> Registry:
    """Of all kinds those that are served, with what their gates let through. Raises ValueError."""
    return _served(known, runtime_config, tuple(features.given.items()) if features is not None else ())


@lru_cache(maxsize=4)
def _served(known: Registry, runtime_config: str, given: tuple[tuple[str, bool], ...]) -> Registry:
    """Nearly half of what a server's start takes, and each that is started the same way has the same kinds."""
    config, features = parse(runtime_config, known), Features(dict(given))
    on = features.turned_on()

    def is_on(kind: Kind) -> bool:
        gate = KIND_GATES.get((kind.group, kind.kind))
        return config.wants(kind) and (gate is None or features.enabled(gate))

    for kind in known.kinds():
        if kind.version == "v1" and kind.group in _NEEDED and not config.wants(kind):
            raise ValueError(f"{kind.plural} of {kind.api_version} cannot be turned off: the server itself needs them")
    seen = {_gvk(known.storage(kind)) for kind in known.kinds() if is_on(kind)}
    kinds = [
        _let_through(kind if is_on(kind) else replace(kind, served=False), on)
        for kind in known.known()
        if _gvk(known.storage(kind)) in seen
    ]
    present = {(kind.group, kind.version) for kind in kinds if kind.served}
    groups = {
        group: versions
        for group, all_ in known.groups().items()
        if (versions := tuple(version for version in all_ if (group, version) in present))
    }
    return Registry(groups, kinds)


def standard() -> Registry:
    """The kinds that are served where nobody asked for others."""
    return served(registry())


@lru_cache(maxsize=4)
def acting(known: Registry) -> frozenset[str]:
    """The gates that are asked for here."""
    tables = (gates.named(kind.gated) for kind in known.known() if kind.gated is not None)
    return frozenset(KIND_GATES.values()).union(*tables)


def _gvk(kind: Kind) -> tuple[str, str, str]:
    return kind.group, kind.version, kind.kind


def _let_through(kind: Kind, on: frozenset[str]) -> Kind:
    """The kind with the fields of gates that are on."""
    if kind.gated is None or not on:
        return kind
    left = gates.without(kind.gated, on)
    return kind if left == kind.gated else replace(kind, gated=left or None)
