"""All built-in kinds, found by name: the one list that the server, the client tools and controllers are generic over.

Kinds are declared in ``sampan.api.groups``. A ``Registry`` is immutable; the server adds custom resources by making
a larger one with ``extended``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module

from sampan.api.groups import GROUPS
from sampan.api.kind import Kind
from sampan.api.versions.served import former_kinds, merged_versions

#: Groups whose Go package, and so whose schema names, do not follow from the group's name.
_SCHEMA_PACKAGES = {
    "": "io.k8s.api.core",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
    "internal.apiserver.k8s.io": "io.k8s.api.apiserverinternal",
}


def schema_name(group: str, version: str, kind: str) -> str:
    """The compiled schema's name of a built-in kind, also of bodies that are no resource (Scale, Eviction ...)."""
    package = _SCHEMA_PACKAGES.get(group) or f"io.k8s.api.{group.partition('.')[0]}"
    return f"{package}.{version}.{kind}"


class Registry:
    """Kinds by group, version and name.

    Invariants: (group, version, kind) and (group, version, plural) are unique; ``groups`` lists each group once, in
    discovery order, and its versions with the preferred one first. Kinds that are not ``served`` are known by
    ``by_gvk`` and among the ``stored``, and nowhere else.
    """

    def __init__(self, groups: Mapping[str, tuple[str, ...]], kinds: Iterable[Kind]) -> None:
        self._groups = dict(groups)
        self._all = tuple(kinds)
        self._kinds = tuple(kind for kind in self._all if kind.served)
        self._by_gvk = {(kind.group, kind.version, kind.kind): kind for kind in self._all}
        self._by_resource = {(kind.group, kind.version, kind.plural): kind for kind in self._kinds}
        if len(self._by_gvk) != len(self._all) or len(self._by_resource) != len(self._kinds):
            raise ValueError("a kind or resource is declared twice")
        self._equivalents: dict[tuple[str, str, str], tuple[Kind, ...]] = {}

    def by_gvk(self, group: str, version: str, kind: str) -> Kind | None:
        return self._by_gvk.get((group, version, kind))

    def by_resource(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_resource.get((group, version, plural))

    def by_api_version(self, api_version: str, kind: str) -> Kind | None:
        """``("apps/v1", "Deployment")``, as objects and owner references name it."""
        group, _, version = api_version.rpartition("/")
        return self._by_gvk.get((group, version, kind))

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Group name ("" is core) to versions."""
        return dict(self._groups)

    def today(self) -> Registry:
        """The same without former versions of kinds."""
        kinds = [kind for kind in self._all if not kind.former]
        present = {(kind.group, kind.version) for kind in kinds}
        found = {
            group: tuple(each for each in all_ if (group, each) in present) for group, all_ in self._groups.items()
        }
        return Registry({group: versions for group, versions in found.items() if versions}, kinds)

    def kinds(self, group: str | None = None, version: str | None = None) -> tuple[Kind, ...]:
        """All kinds, or those of a group (and version), ordered by group and then as discovery lists them."""
        if group is None:
            return self._kinds
        return tuple(k for k in self._kinds if k.group == group and (version is None or k.version == version))

    def known(self) -> tuple[Kind, ...]:
        """All kinds, and versions that are not served."""
        return self._all

    def storage(self, kind: Kind) -> Kind:
        """The version of this kind that is stored; mostly the kind itself."""
        if kind.stored_as is None:
            return kind
        group, version = kind.stored_as
        return self._by_gvk[group, version, kind.kind]

    def equivalents(self, kind: Kind) -> tuple[Kind, ...]:
        """The other served kinds through which the same stored objects are seen. Each kind's are looked for once."""
        gvk = kind.group, kind.version, kind.kind
        found = self._equivalents.get(gvk)
        if found is None:
            stored = self.storage(kind)
            named = (each for each in self._kinds if each is not kind and each.kind == kind.kind)
            found = self._equivalents[gvk] = tuple(each for each in named if self.storage(each) is stored)
        return found

    def stored(self) -> tuple[Kind, ...]:
        """The kinds that have storage of their own: neither reviews nor other versions of a stored kind."""
        return tuple(k for k in self._all if k.stored_as is None and "list" in k.verbs and "watch" in k.verbs)

    def extended(self, groups: Mapping[str, tuple[str, ...]], kinds: Iterable[Kind]) -> Registry:
        """A registry with these kinds too; new groups come last, new versions after those present."""
        merged = dict(self._groups)
        for group, versions in groups.items():
            merged[group] = tuple(dict.fromkeys((*merged.get(group, ()), *versions)))
        return Registry(merged, (*self._all, *kinds))


@cache
def registry() -> Registry:
    """The built-in kinds, and their former versions."""
    groups: dict[str, tuple[str, ...]] = {}
    kinds: list[Kind] = []
    for folder in GROUPS:
        package = import_module(f"sampan.api.groups.{folder}")
        groups[package.NAME] = package.VERSIONS
        for module in package.MODULES:
            kinds.extend(import_module(f"sampan.api.groups.{folder}.{module}").KINDS)
    former = former_kinds(schema_name, kinds)
    return Registry(merged_versions(groups, former), (*kinds, *former))
