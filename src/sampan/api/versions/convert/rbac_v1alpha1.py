"""Bindings of rbac.authorization.k8s.io/v1alpha1 and v1: subjects had an API version instead of a group.

Upstream: ``pkg/apis/rbac/v1alpha1/{conversion,defaults}.go``, last served by 1.21.
"""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.api.versions.convert.parts import part, parts

_GROUP = "rbac.authorization.k8s.io"
_VERSION = f"{_GROUP}/v1alpha1"
_EVERYONE = "*"


def default_clusterrolebinding(binding: Obj) -> None:
    role = binding.get("roleRef")
    if isinstance(role, dict) and not role.get("apiGroup"):
        role["apiGroup"] = _GROUP
    for subject in parts(binding, "subjects"):
        if not subject.get("apiVersion"):
            if subject.get("kind") == "ServiceAccount":
                subject["apiVersion"] = "v1"
            elif subject.get("kind") in ("User", "Group"):
                subject["apiVersion"] = _VERSION


def to_clusterrolebinding(binding: Obj) -> Obj:
    for subject in parts(binding, "subjects"):
        version = subject.pop("apiVersion", None)
        if isinstance(version, str) and "/" in version:
            subject["apiGroup"] = version.partition("/")[0]
        if subject.get("kind") == "User" and subject.get("name") == _EVERYONE:
            subject.update(kind="Group", apiGroup=_GROUP, name="system:authenticated")
    return binding


def from_clusterrolebinding(binding: Obj) -> Obj:
    for subject in parts(binding, "subjects"):
        group = subject.pop("apiGroup", "")
        if group == _GROUP:
            subject["apiVersion"] = _VERSION
        elif group:
            subject["apiVersion"] = f"{group}/v1"
        elif part(binding, "roleRef") and subject.get("kind") == "ServiceAccount":
            subject["apiVersion"] = "v1"
    return binding


default_rolebinding = default_clusterrolebinding
to_rolebinding = to_clusterrolebinding
from_rolebinding = from_clusterrolebinding
