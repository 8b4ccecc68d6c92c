"""The environments of Kubernetes' expressions: the libraries of v1.37 (apiserver ``cel/environment/base.go``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from sampan.api.expressions import authorizer, formats, quantity
from sampan.cel.costs import traversal
from sampan.cel.environment import Environment
from sampan.cel.functions import Library, function, plain
from sampan.cel.library import lists, network, optionals, regex, semver, sets, strings, urls
from sampan.cel.types import DYN, STRING, FieldType, Type, object_type

_LIBRARIES: Final[tuple[Library, ...]] = (
    urls.LIBRARY,
    regex.LIBRARY,
    lists.LIBRARY,
    authorizer.LIBRARY,
    optionals.LIBRARY,
    quantity.LIBRARY,
    strings.LIBRARY,
    sets.LIBRARY,
    network.LIBRARY,
    formats.LIBRARY,
    semver.LIBRARY,
)

_TYPES: Final[Mapping[str, Type]] = {
    **network.TYPES,
    **authorizer.TYPES,
    **{kind.name: kind for kind in (urls.URL, quantity.QUANTITY, formats.FORMAT, semver.SEMVER)},
}

#: Only where JSON patches are made.
_JSON_PATCH: Final[Library] = (
    function(
        "jsonpatch.escapeKey",
        plain(
            "string_jsonpatch_escapeKey_string",
            [STRING],
            STRING,
            lambda text: text.replace("~", "~0").replace("/", "~1"),
            traversal(),
        ),
    ),
)


class _AnyFields(Mapping[str, FieldType]):
    """Whatever fields an object may have."""

    def __getitem__(self, name: str) -> FieldType:
        return FieldType(DYN, name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _any_fields() -> Mapping[str, FieldType]:
    return _AnyFields()


def _operation_fields() -> Mapping[str, FieldType]:
    kinds = {"op": STRING, "path": STRING, "from": STRING, "value": DYN}
    return {name: FieldType(kind, name) for name, kind in kinds.items()}


#: What a mutation gives: a part of the object, or operations on it.
OBJECT: Final = object_type("Object", _any_fields)
OPERATION: Final = object_type("JSONPatch", _operation_fields)


def _patch_type(name: str) -> Type | None:
    """Types of parts of an object are named by their paths: ``Object.spec.template``."""
    if name == "Object":
        return OBJECT
    if name == "JSONPatch":
        return OPERATION
    return object_type(name, _any_fields) if name.startswith("Object.") else None


@lru_cache(maxsize=2)
def _base(*, patches: bool) -> Environment:
    if patches:
        return Environment({}, (*_LIBRARIES, _JSON_PATCH), _TYPES, _patch_type)
    return Environment({}, _LIBRARIES, _TYPES)


def environment(
    variables: Mapping[str, Type], types: Mapping[str, Type] | None = None, *, patches: bool = False
) -> Environment:
    """An environment with these variables. ``patches``: expressions make JSON patches in it."""
    return _base(patches=patches).extended(variables, types)
