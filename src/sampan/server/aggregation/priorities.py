"""In which order groups and versions are listed, and the APIServices that this server has of its own. Pure.

Spec: kube-aggregator ``SortedByGroupAndVersion``; kube-apiserver's priorities of its groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from sampan.api.types import Obj

AUTOMANAGED: Final = "kube-aggregator.kubernetes.io/automanaged"
#: looked at once, when a server starts
ON_START: Final = "onstart"
#: looked at whenever it changes
ALWAYS: Final = "true"

#: (priority of the group, of the version) of what custom resources make
CUSTOM: Final = (1000, 100)
_UNKNOWN: Final = (16000, 1)
_GROUPS: Final[Mapping[str, int]] = {
    "": 18000,
    "apiregistration.k8s.io": 20000,  # never registered, always first
    "apps": 17800,
    "events.k8s.io": 17750,
    "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600,
    "autoscaling": 17500,
    "batch": 17400,
    "certificates.k8s.io": 17300,
    "networking.k8s.io": 17200,
    "policy": 17100,
    "rbac.authorization.k8s.io": 17000,
    "storage.k8s.io": 16800,
    "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700,
    "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500,
    "node.k8s.io": 16300,
    "discovery.k8s.io": 16200,
    "resource.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100,
    "internal.apiserver.k8s.io": 16000,
    "lifecycle.k8s.io": 15700,
    "storagemigration.k8s.io": 15800,
    "extensions": 15000,  # where upstream had it before apps: today nobody is to come upon it first
}
_STABLE, _BETA, _ALPHA = 15, 9, 1
_VERSIONS: Final[Mapping[tuple[str, str], int]] = {
    ("", "v1"): 1,
    ("autoscaling", "v2"): 30,
    ("flowcontrol.apiserver.k8s.io", "v1"): 21,
    ("resource.k8s.io", "v1"): 21,
    ("resource.k8s.io", "v1beta2"): 15,
    ("coordination.k8s.io", "v1beta1"): 13,
    ("coordination.k8s.io", "v1alpha2"): 12,
    ("admissionregistration.k8s.io", "v1beta1"): 12,
    ("admissionregistration.k8s.io", "v1alpha1"): 9,
    ("internal.apiserver.k8s.io", "v1alpha1"): 9,
    ("scheduling.k8s.io", "v1alpha2"): 2,
}
_KUBE_VERSION = re.compile(r"v([1-9][0-9]{0,8})(?:(alpha|beta)([1-9][0-9]{0,8}))?")
_MATURITY = {None: 2, "beta": 1, "alpha": 0}


def of_built_in(group: str, version: str) -> tuple[int, int]:
    """Priorities of a group version that is part of this server."""
    found = _KUBE_VERSION.fullmatch(version)
    usual = {None: _STABLE, "beta": _BETA, "alpha": _ALPHA}[found[2] if found else "alpha"]
    return _GROUPS.get(group, _UNKNOWN[0]), _VERSIONS.get((group, version), usual)


def api_service(group: str, version: str, priorities: tuple[int, int], managed: str) -> Obj:
    """The object by which this server says that it serves a group version itself."""
    spec: Obj = {"version": version, "groupPriorityMinimum": priorities[0], "versionPriority": priorities[1]}
    if group:
        spec["group"] = group
    return {
        "kind": "APIService",
        "apiVersion": "apiregistration.k8s.io/v1",
        "metadata": {"name": f"{version}.{group}", "labels": {AUTOMANAGED: managed}},
        "spec": spec,
    }


def version_order(version: str) -> tuple[int, int, int, str]:
    """A key that sorts like Kubernetes: v2, v1, v2beta1, v1beta2, v1alpha1, and then what has no such form, by name.

    Sorts the best first.
    """
    found = _KUBE_VERSION.fullmatch(version)
    if found is None:
        return 1, 0, 0, version
    return -1 - _MATURITY[found[2]], -int(found[1]), -int(found[3] or 0), ""


def ordered(priorities: Iterable[tuple[str, str, tuple[int, int]]]) -> dict[str, tuple[str, ...]]:
    """(group, version, priorities) in the order of discovery: groups, each with its versions."""
    groups: dict[str, list[tuple[str, int]]] = {}
    for group, version, (_, priority) in sorted(priorities, key=lambda p: (-p[2][0], f"{p[1]}.{p[0]}")):
        groups.setdefault(group, []).append((version, priority))
    return {
        group: tuple(version for version, _ in sorted(versions, key=lambda v: (-v[1], version_order(v[0]))))
        for group, versions in groups.items()
    }
