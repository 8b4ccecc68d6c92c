"""Discovery documents built from kinds: legacy lists, aggregated v2 and v2beta1. Pure.

Spec: metav1 APIVersions, APIGroupList, APIResourceList; apidiscovery.k8s.io APIGroupDiscoveryList (KEP-3352).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from sampan.api.kind import Kind, Subresource
from sampan.api.types import Obj


class Kinds(Protocol):
    """The part of ``sampan.api.registry.Registry`` that is needed."""

    def groups(self) -> dict[str, tuple[str, ...]]: ...
    def kinds(self, group: str | None = None, version: str | None = None) -> tuple[Kind, ...]: ...
    def storage(self, kind: Kind) -> Kind: ...


_STATUS_VERBS = ("get", "patch", "update")


def subresources(kind: Kind) -> Iterable[Subresource]:
    """All of them, ``status`` and ``scale`` included, by name."""
    found = list(kind.subresources)
    named = {sub.name for sub in found}
    if kind.status and "status" not in named:
        found.append(Subresource("status", kind.kind, kind.group, kind.version, _STATUS_VERBS))
    if kind.scale is not None and "scale" not in named:
        found.append(Subresource("scale", "Scale", "autoscaling", "v1", _STATUS_VERBS))
    return sorted(found, key=lambda sub: sub.name)


def storage_version_hash(stored: Kind) -> str:
    """Opaque to clients; equal while the stored version is (upstream: discovery.StorageVersionHash)."""
    text = f"{stored.group}/{stored.version}/{stored.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def api_versions(address: str) -> Obj:
    """``/api``."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def _group(name: str, versions: tuple[str, ...]) -> Obj:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def api_group_list(groups: Mapping[str, tuple[str, ...]]) -> Obj:
    """``/apis``."""
    listed = [_group(name, versions) for name, versions in groups.items() if name and versions]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def api_group(groups: Mapping[str, tuple[str, ...]], name: str) -> Obj | None:
    """``/apis/GROUP``."""
    versions = groups.get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if name and versions else None


def api_resource_list(kinds: Kinds, group: str, version: str) -> Obj | None:
    """``/api/v1`` and ``/apis/GROUP/VERSION``."""
    if version not in kinds.groups().get(group, ()):
        return None
    resources: list[Obj] = []
    for kind in kinds.kinds(group, version):
        resources.append(_resource(kinds, kind))
        resources.extend(_subresource(kind, sub) for sub in subresources(kind))
    resources.sort(key=lambda resource: str(resource["name"]))
    answer: Obj = {"kind": "APIResourceList"}
    if group:
        answer["apiVersion"] = "v1"
    return {**answer, "groupVersion": f"{group}/{version}" if group else version, "resources": resources}


def _resource(kinds: Kinds, kind: Kind) -> Obj:
    resource: Obj = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        resource["shortNames"] = list(kind.short_names)
    if kind.categories:
        resource["categories"] = list(kind.categories)
    if "list" in kind.verbs and "watch" in kind.verbs:
        resource["storageVersionHash"] = storage_version_hash(kinds.storage(kind))
    return resource


def _subresource(kind: Kind, sub: Subresource) -> Obj:
    resource: Obj = {
        "name": f"{kind.plural}/{sub.name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": sub.kind,
        "verbs": list(sub.verbs),
    }
    if (sub.group, sub.version) != (kind.group, kind.version):
        if sub.group:
            resource["group"] = sub.group
        resource["version"] = sub.version
    return resource


def aggregated(
    kinds: Kinds,
    groups: Mapping[str, tuple[str, ...]],
    discovery_version: str,
    elsewhere: Callable[[str, str], Obj | None] = lambda group, version: None,
) -> Obj:
    """APIGroupDiscoveryList of these groups; ``discovery_version`` is v2 or v2beta1. ``elsewhere``: the entry of a
    group version that somebody else serves, None of those of ``kinds``."""
    items = []
    for group, versions in groups.items():
        listed = [
            elsewhere(group, version)
            or {
                "version": version,
                "resources": [_aggregated_resource(kind) for kind in sorted(kinds.kinds(group, version), key=_plural)],
                "freshness": "Current",
            }
            for version in versions
        ]
        items.append({"metadata": {"name": group} if group else {}, "versions": listed})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{discovery_version}",
        "metadata": {},
        "items": items,
    }


def _plural(kind: Kind) -> str:
    return kind.plural


def _response_kind(of: Kind, group: str, version: str, kind: str) -> Obj:
    """Of a built-in kind, group and version stand only where they are not those of the resource (as upstream)."""
    if not of.custom and (group, version) == (of.group, of.version):
        group = version = ""
    return {"group": group, "version": version, "kind": kind}


def _aggregated_resource(kind: Kind) -> Obj:
    resource: Obj = {
        "resource": kind.plural,
        "responseKind": _response_kind(kind, kind.group, kind.version, kind.kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        resource["shortNames"] = list(kind.short_names)
    if kind.categories:
        resource["categories"] = list(kind.categories)
    subs = [
        {
            "subresource": sub.name,
            "responseKind": _response_kind(kind, sub.group, sub.version, sub.kind),
            "verbs": list(sub.verbs),
        }
        for sub in subresources(kind)
    ]
    if subs:
        resource["subresources"] = subs
    return resource
