"""The former versions that are served, as kinds beside those of today. Used by ``sampan.api.registry``.

Served is what releases 1.20 to 1.36 served, and the workloads' versions that 1.16 removed, as far as the kind still
exists in a form that a conversion can reach. Discovery lists them after the versions of today, with neither short names
nor categories in a group of their own, so that no client prefers them or shows an object twice by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from typing import Any, Final

from sampan.api import objects, schema, strategies
from sampan.api.errors import FieldError
from sampan.api.kind import Convert, Default, Kind
from sampan.api.types import Obj
from sampan.api.versions.lifecycle import TODAY, Lifecycle, Release, lifecycles

#: The oldest release whose versions are served; what 1.16 removed is, too.
OLDEST: Final = Release(1, 20)
_REMOVED_TOGETHER: Final = Release(1, 16)

#: Structures that today's cannot hold: dynamic resource allocation began anew with v1beta1.
_NOT_CONVERTIBLE: Final = frozenset(("resource.k8s.io/v1alpha1", "resource.k8s.io/v1alpha2"))

#: The module of ``convert`` that knows a version, where more than its name differs. It has, as far as they differ,
#: ``default_KIND``, ``to_KIND`` (stored) and ``from_KIND`` (stored), KIND in lower case.
_MODULES: Final[Mapping[str, str]] = {
    "extensions/v1beta1": "extensions_v1beta1",
    "apps/v1beta1": "apps_v1beta1",
    "networking.k8s.io/v1beta1": "networking_v1beta1",
    "policy/v1beta1": "policy_v1beta1",
    "discovery.k8s.io/v1beta1": "discovery_v1beta1",
    "autoscaling/v2beta1": "autoscaling_v2beta1",
    "apiextensions.k8s.io/v1beta1": "apiextensions_v1beta1",
    "admissionregistration.k8s.io/v1beta1": "admissionregistration_v1beta1",
    "authorization.k8s.io/v1beta1": "authorization_v1beta1",
    "certificates.k8s.io/v1alpha1": "certificates_v1beta1",
    "certificates.k8s.io/v1beta1": "certificates_v1beta1",
    "flowcontrol.apiserver.k8s.io/v1alpha1": "flowcontrol_v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta1": "flowcontrol_v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta2": "flowcontrol_v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3": "flowcontrol_v1beta3",
    "node.k8s.io/v1alpha1": "node_v1alpha1",
    "rbac.authorization.k8s.io/v1alpha1": "rbac_v1alpha1",
    "resource.k8s.io/v1beta1": "resource_v1beta1",
    "coordination.k8s.io/v1alpha1": "coordination_v1alpha1",
    "storagemigration.k8s.io/v1alpha1": "storagemigration_v1alpha1",
}
#: What a module has to say, by version: looking would import it.
CONVERTED: Final[Mapping[str, frozenset[str]]] = {
    "extensions/v1beta1": frozenset(("Deployment", "DaemonSet", "Ingress")),
    "apps/v1beta1": frozenset(("Deployment",)),
    "networking.k8s.io/v1beta1": frozenset(("Ingress",)),
    "policy/v1beta1": frozenset(("PodDisruptionBudget",)),
    "discovery.k8s.io/v1beta1": frozenset(("EndpointSlice",)),
    "autoscaling/v2beta1": frozenset(("HorizontalPodAutoscaler",)),
    "apiextensions.k8s.io/v1beta1": frozenset(("CustomResourceDefinition",)),
    "authorization.k8s.io/v1beta1": frozenset(("SubjectAccessReview", "LocalSubjectAccessReview")),
    "flowcontrol.apiserver.k8s.io/v1alpha1": frozenset(("PriorityLevelConfiguration",)),
    "flowcontrol.apiserver.k8s.io/v1beta1": frozenset(("PriorityLevelConfiguration",)),
    "flowcontrol.apiserver.k8s.io/v1beta2": frozenset(("PriorityLevelConfiguration",)),
    "flowcontrol.apiserver.k8s.io/v1beta3": frozenset(("PriorityLevelConfiguration",)),
    "node.k8s.io/v1alpha1": frozenset(("RuntimeClass",)),
    "rbac.authorization.k8s.io/v1alpha1": frozenset(("ClusterRoleBinding", "RoleBinding")),
    "resource.k8s.io/v1beta1": frozenset(("ResourceClaim", "ResourceClaimTemplate", "ResourceSlice")),
    "certificates.k8s.io/v1alpha1": frozenset(("PodCertificateRequest",)),
    "certificates.k8s.io/v1beta1": frozenset(("PodCertificateRequest",)),
    "coordination.k8s.io/v1alpha1": frozenset(("LeaseCandidate",)),
    "storagemigration.k8s.io/v1alpha1": frozenset(("StorageVersionMigration",)),
}
#: What Go writes of empty fields differs, and nothing else.
_WRITTEN_OTHERWISE: Final = frozenset((("autoscaling/v2beta2", "HorizontalPodAutoscaler"),))
DEFAULTED: Final[Mapping[str, frozenset[str]]] = {
    "extensions/v1beta1": frozenset(("Deployment", "DaemonSet", "ReplicaSet", "Ingress")),
    "apps/v1beta1": frozenset(("Deployment", "StatefulSet")),
    "networking.k8s.io/v1beta1": frozenset(("Ingress",)),
    "apiextensions.k8s.io/v1beta1": frozenset(("CustomResourceDefinition",)),
    "admissionregistration.k8s.io/v1beta1": frozenset(
        ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
    ),
    "certificates.k8s.io/v1beta1": frozenset(("CertificateSigningRequest",)),
    "flowcontrol.apiserver.k8s.io/v1alpha1": frozenset(("PriorityLevelConfiguration",)),
    "flowcontrol.apiserver.k8s.io/v1beta1": frozenset(("PriorityLevelConfiguration",)),
    "flowcontrol.apiserver.k8s.io/v1beta2": frozenset(("PriorityLevelConfiguration",)),
    "flowcontrol.apiserver.k8s.io/v1beta3": frozenset(("PriorityLevelConfiguration",)),
    "rbac.authorization.k8s.io/v1alpha1": frozenset(("ClusterRoleBinding", "RoleBinding")),
}


#: Whose own rules were laxer: ``tolerates_KIND`` says which faults of today are none.
_TOLERANT: Final[Mapping[str, frozenset[str]]] = {
    "admissionregistration.k8s.io/v1beta1": frozenset(
        ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
    ),
    "certificates.k8s.io/v1beta1": frozenset(("CertificateSigningRequest",)),
}


def is_convertible(entry: Lifecycle) -> bool:
    return entry.replacement is not None and entry.api_version not in _NOT_CONVERTIBLE


def is_served(entry: Lifecycle) -> bool:
    """Of a version that is not today's own: whether its age is one that is served."""
    if not is_convertible(entry):
        return False
    return entry.removed is None or entry.removed > OLDEST or entry.removed == _REMOVED_TOGETHER


def former_kinds(schema_name: Callable[[str, str, str], str], today: Iterable[Kind]) -> list[Kind]:
    """The kinds of former versions, beside these; in the order of the table of lifecycles."""
    present = {(kind.api_version, kind.kind): kind for kind in today}
    found: list[Kind] = []
    for (api_version, name), entry in lifecycles().items():
        if (api_version, name) in present or not is_served(entry):
            continue
        current = present.get(entry.replacement) if entry.replacement is not None else None
        if current is not None:
            group, _, version = api_version.rpartition("/")
            found.append(_former(current, entry, group, version, schema_name(group, version, name)))
    return found


def merged_versions(groups: Mapping[str, Sequence[str]], kinds: Iterable[Kind]) -> dict[str, tuple[str, ...]]:
    """The groups with the versions of these kinds too: the preferred one of today first, the others by age."""
    merged = {group: list(versions) for group, versions in groups.items()}
    for kind in kinds:
        versions = merged.setdefault(kind.group, [])
        if kind.version not in versions:
            versions.append(kind.version)
    return {group: (versions[0], *sorted(versions[1:], key=_age)) for group, versions in merged.items()}


def _age(version: str) -> tuple[int, int, int]:
    """Stable versions before betas before alphas, and the newer before the older of each."""
    for rank, stage in enumerate(("beta", "alpha"), start=1):
        major, found, minor = version.removeprefix("v").partition(stage)
        if found:
            return rank, -int(major), -int(minor or 0)
    return 0, -int(version.removeprefix("v")), 0


def _former(current: Kind, entry: Lifecycle, group: str, version: str, definition: str) -> Kind:
    """``current``: the kind that is to be used instead."""
    name = entry.kind
    to_stored, from_stored = current.to_stored, current.from_stored
    if name in CONVERTED.get(entry.api_version, ()):
        to_stored = _late(entry.api_version, f"to_{name.lower()}", current.schema)
        from_stored = _late(entry.api_version, f"from_{name.lower()}", definition)
    elif (entry.api_version, name) in _WRITTEN_OTHERWISE:
        to_stored, from_stored = _written_as(current.schema), _written_as(definition)
    default: Default = _nothing
    if name in DEFAULTED.get(entry.api_version, ()):
        default = _late_default(entry.api_version, f"default_{name.lower()}")
    same = current.group == group
    row = current.row
    if row is not None and to_stored is not None and to_stored is not current.to_stored:
        row = _row(row, to_stored)
    warned = entry.deprecated is not None and entry.deprecated <= TODAY
    stores = current.stored_as if current.stored_as is not None else (current.group, current.version)
    return replace(
        current,
        group=group,
        version=version,
        schema=definition,
        short_names=current.short_names if same else (),
        categories=current.categories if same else (),
        subresources=tuple(
            replace(sub, group=group, version=version)
            if (sub.group, sub.version) == (current.group, current.version)
            else sub
            for sub in current.subresources
        ),
        default=default,
        validate_through=_tolerant(current, entry.api_version)
        if name in _TOLERANT.get(entry.api_version, ())
        else None,
        row=row,
        stored_as=stores,
        to_stored=to_stored,
        from_stored=from_stored,
        deprecation_warning=entry.message if warned else "",
        former=True,
    )


def _tolerant(current: Kind, api_version: str) -> Callable[[Obj, Obj | None], list[FieldError]]:
    def judge(obj: Obj, old: Obj | None) -> list[FieldError]:
        found = current.validate(obj) if old is None else strategies.MAIN.validate(current, obj, old)
        tolerates = find(api_version, f"tolerates_{current.kind.lower()}")
        return [fault for fault in found if not tolerates(fault)]

    return judge


def _nothing(obj: Obj) -> None:
    """The stored version's defaults are this version's."""


def find(api_version: str, function: str) -> Any:
    """A function of the version's module. KeyError, AttributeError: there is none."""
    return getattr(import_module(f"sampan.api.versions.convert.{_MODULES[api_version]}"), function)


def _late(api_version: str, function: str, definition: str) -> Convert:
    """``definition``: of what comes out; it is as Go would write it."""

    def convert(obj: Obj) -> Obj:
        converted: Obj = find(api_version, function)(obj)
        schema.normalise(schema.load().definition(definition), converted)
        return converted

    return convert


def _written_as(definition: str) -> Convert:
    def convert(obj: Obj) -> Obj:
        written: Obj = schema.normalise(schema.load().definition(definition), objects.deep_copy(obj))
        return written

    return convert


def _late_default(api_version: str, function: str) -> Default:
    def default(obj: Obj) -> None:
        find(api_version, function)(obj)

    return default


def _row(row: Callable[[Obj, datetime], Sequence[Any]], to_stored: Convert) -> Callable[[Obj, datetime], Sequence[Any]]:
    """The stored kind's, of an object of this version."""
    return lambda obj, now: row(to_stored(objects.deep_copy(obj)), now)
