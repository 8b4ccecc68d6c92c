"""From a CustomResourceDefinition to the kinds that the server serves: one for each version, the stored one first.

Pure. A kind costs little until somebody asks for it: schemas, columns and paths are compiled on first use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson

from sampan.api import objects
from sampan.api.customresources import versions, warnings
from sampan.api.customresources.naming import Names
from sampan.api.customresources.printing import columns_of
from sampan.api.errors import FieldError
from sampan.api.kind import IDENTITY, Kind, ScalePaths
from sampan.api.reading import part
from sampan.api.schema import Node
from sampan.api.types import Obj
from sampan.records import dataclass

#: in the order in which discovery lists them
VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


class Compiled(Protocol):
    """What is known of the objects of one version (``sampan.api.customresources.CompiledVersion``)."""

    @property
    def node(self) -> Node: ...
    @property
    def demanding(self) -> bool: ...
    def default(self, obj: Obj) -> None: ...
    def prune(self, obj: Obj) -> None: ...
    def validate(self, obj: Obj) -> list[FieldError]: ...
    def validate_update(self, new: Obj, old: Obj) -> list[FieldError]: ...
    def validate_status(self, new: Obj, old: Obj) -> list[FieldError]: ...


#: (definition, name of a version)
Compile = Callable[[Obj, str], Compiled]


@dataclass(frozen=True, slots=True)
class Served:
    """What a definition adds to the surface. ``kinds``: of every version, the stored one first. ``versions``: those
    that are served."""

    group: str
    plural: str
    kinds: tuple[Kind, ...]
    versions: tuple[str, ...]
    #: by served version: changes with whatever is published of it
    digests: Mapping[str, bytes]


def served(definition: Obj, names: Names, compile_version: Compile) -> Served:
    """Raises KeyError, TypeError, ValueError where the definition is damaged."""
    spec = definition["spec"]
    declared: dict[str, Obj] = {version["name"]: version for version in spec["versions"]}
    stored = next(name for name, version in declared.items() if version.get("storage"))
    # Before its first change nothing can have been written under another schema than today's.
    changed = definition["metadata"].get("generation", 1) > 1
    makers = _Versions(definition, names, declared, stored, compile_version, changed=changed)
    order = [stored, *(name for name in declared if name != stored)]
    shown = versions.in_order(name for name, version in declared.items() if version.get("served"))
    about = orjson.dumps([names.json(), spec["group"], spec["scope"]])
    digests = {name: _digest(about, declared[name]) for name in shown}
    return Served(spec["group"], names.plural, tuple(makers.kind(name) for name in order), tuple(shown), digests)


def _digest(about: bytes, version: Obj) -> bytes:
    return hashlib.blake2b(orjson.dumps(version), key=hashlib.blake2b(about).digest(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class _Versions:
    definition: Obj
    names: Names
    declared: Mapping[str, Obj]
    stored: str
    compile_version: Compile
    changed: bool

    def kind(self, name: str) -> Kind:
        spec, version = self.definition["spec"], self.declared[name]
        names, group = self.names, spec["group"]
        compiled = self.compile_version(self.definition, name)
        subresources = version.get("subresources") or {}
        status = "status" in subresources
        columns, row = columns_of(version)
        fields = _Fields.of(version)
        is_stored = name == self.stored
        same = is_stored or version.get("schema") == self.declared[self.stored].get("schema")
        return Kind(
            group=group,
            version=name,
            kind=names.kind,
            plural=names.plural,
            singular=names.singular,
            namespaced=spec["scope"] == "Namespaced",
            schema=definition_name(group, name, names.kind),
            own_node=lambda: compiled.node,
            own_list_kind=names.list_kind,
            short_names=names.short_names,
            categories=names.categories,
            verbs=VERBS,
            served=bool(version.get("served")),
            status=status,
            scale=_scale(subresources.get("scale")),
            default=compiled.default,
            validate=compiled.validate,
            validate_update=compiled.validate_update,
            validate_status=compiled.validate_status,
            prepare_create=_first_status(version, compiled) if status else _as_given,
            status_metadata=IDENTITY,
            demanding=compiled.demanding,
            warnings=warnings.of_object,
            columns=columns,
            row=row,
            selectable_names=fields.names,
            selectable_fields=fields.values,
            generation=True,
            status_counts=not status,
            on_read=_reader(compiled) if is_stored and self.changed else None,
            unconditional_update=False,
            stored_as=None if is_stored else (group, self.stored),
            from_stored=None if same else _pruner(compiled),
            to_stored=None if same else _pruner(self.compile_version(self.definition, self.stored)),
            deprecation_warning=_deprecation(group, names.kind, version, self.declared),
        )


def definition_name(group: str, version: str, kind: str) -> str:
    """Of the kind's OpenAPI definition: ``com.example.v1.Boat``."""
    return ".".join((*reversed(group.split(".")), version, kind))


def _as_given(obj: Obj) -> None:
    """Status is written with the rest."""


def _without_status(obj: Obj) -> None:
    obj.pop("status", None)


def _first_status(version: Obj, compiled: Compiled) -> Callable[[Obj], None]:
    """The status of a new object is nobody's but the schema's."""
    root = part(part(version, "schema"), "openAPIV3Schema")
    if "default" not in part(part(root, "properties"), "status"):
        return _without_status

    def prepare_create(obj: Obj) -> None:
        obj.pop("status", None)
        compiled.default(obj)

    return prepare_create


def _reader(compiled: Compiled) -> Callable[[Obj], None]:
    """Of values that were written under another schema."""

    def on_read(obj: Obj) -> None:
        compiled.prune(obj)
        compiled.default(obj)

    return on_read


def _pruner(compiled: Compiled) -> Callable[[Obj], Obj]:
    """Without a webhook, a version shows what its own schema knows of what is stored."""

    def convert(obj: Obj) -> Obj:
        compiled.prune(obj)
        return obj

    return convert


def _path(text: str) -> tuple[str, ...]:
    return tuple(text.removeprefix(".").split("."))


def _scale(declared: Obj | None) -> ScalePaths | None:
    if declared is None:
        return None
    selector = declared.get("labelSelectorPath")
    return ScalePaths(
        _path(declared["specReplicasPath"]),
        _path(declared["statusReplicasPath"]),
        _path(selector) if selector else None,
        required=True,
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    """The selectable fields of a version."""

    names: tuple[str, ...]
    paths: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, version: Obj) -> _Fields:
        names = tuple(field["jsonPath"].removeprefix(".") for field in version.get("selectableFields") or ())
        return cls(names, tuple(map(_path, names)))

    def values(self, obj: Obj) -> Mapping[str, str]:
        found = zip(self.names, self.paths, strict=True)
        return {name: _as_text(objects.get_path(obj, *path)) for name, path in found}


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _deprecation(group: str, kind: str, version: Obj, declared: Mapping[str, Obj]) -> str:
    """The warning of a deprecated version: its own, or one that names the version to use."""
    if not version.get("deprecated"):
        return ""
    own: str | None = version.get("deprecationWarning")
    if own is not None:
        return own
    name: str = version["name"]
    better = versions.in_order(
        other
        for other, found in declared.items()
        if found.get("served") and not found.get("deprecated") and versions.rank(other) < versions.rank(name)
    )
    text = f"{group}/{name} {kind} is deprecated"
    return f"{text}; use {group}/{better[0]} {kind}" if better else text
