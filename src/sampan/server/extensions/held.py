"""What the server holds of each CustomResourceDefinition: its names and what it serves. Plain data and pure rules.

Invariant: ``served`` is made anew exactly when ``fingerprint`` changes, so that storages, caches and open watches of a
definition whose status alone changed stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from sampan.api.customresources import versions
from sampan.api.customresources.naming import Names
from sampan.api.kind import Kind
from sampan.api.reading import part, text, texts, whole
from sampan.api.registry import Registry
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.storage import Converter

if TYPE_CHECKING:
    from sampan.api.customresources.kinds import Served

Fingerprint = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Held:
    uid: str
    group: str
    #: those that it got
    names: Names
    #: what it asked for was taken by another
    conflict: bool
    #: it is being deleted
    ending: bool
    #: its names were accepted once, so that it is to be served
    wanted: bool
    fingerprint: Fingerprint
    #: None: nothing, for it is not wanted, or nobody can make sense of it
    served: Served | None
    #: None: its versions are not converted
    converter: Converter | None = None


def fingerprint(definition: Obj, names: Names) -> Fingerprint:
    """All that the kinds of a definition depend on."""
    metadata = part(definition, "metadata")
    stored = tuple(texts(part(definition, "status"), "storedVersions"))
    return text(metadata, "uid"), whole(metadata, "generation"), names, stored


def registry_with(builtin: Registry, held: Iterable[Held]) -> tuple[Registry, list[Held]]:
    """The built-in kinds and the custom ones, and the definitions that have no place there, for a built-in kind has
    their name."""
    taken = {(kind.group, kind.version, name) for kind in builtin.known() for name in (kind.kind, kind.plural)}
    kinds: list[Kind] = []
    groups: dict[str, set[str]] = {}
    refused: list[Held] = []
    for one in sorted(held, key=lambda one: (one.group, one.names.plural)):
        if one.served is None:
            continue
        wanted = [(kind.group, kind.version, name) for kind in one.served.kinds for name in (kind.kind, kind.plural)]
        if not taken.isdisjoint(wanted):
            refused.append(one)
            continue
        taken.update(wanted)
        kinds.extend(one.served.kinds)
        if one.served.versions:
            groups.setdefault(one.group, set()).update(one.served.versions)
    return builtin.extended(ordered(groups), kinds), refused


def ordered(groups: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Groups by name, their versions the preferred one first."""
    return {group: tuple(versions.in_order(groups[group])) for group in sorted(groups)}
