"""The compiled field numbers: what each message of Kubernetes' protobuf form is made of. Pure; loaded on first use.

``data/numbers.json`` is made by ``tools/compile_protobuf_numbers.py``; how a field's type is written is told there.
``data/former.json``, of versions that upstream no longer publishes, by ``tools/compile_former_numbers.py``: a message
that is like another package's of the same name is written as that package.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

import orjson

from sampan.api import schema
from sampan.api.schema import former

META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
APIEXTENSIONS: Final = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
#: metadata alone, and a list of it, are kinds of every resource and in no schema
_PARTIAL: Final = "PartialObjectMetadata"
#: messages that are something else than an object in JSON: a list, a truth, one of several
UNIONS: Final = frozenset(
    {
        "io.k8s.api.authentication.v1.ExtraValue",
        "io.k8s.api.authorization.v1.ExtraValue",
        "io.k8s.api.certificates.v1.ExtraValue",
        "io.k8s.api.certificates.v1beta1.ExtraValue",
        META + "Verbs",
        APIEXTENSIONS + "JSONSchemaPropsOrArray",
        APIEXTENSIONS + "JSONSchemaPropsOrBool",
        APIEXTENSIONS + "JSONSchemaPropsOrStringArray",
    }
)


class Field(NamedTuple):
    """``kind`` without its marks: s, b, i, B, d or ``m:<message>``. ``pointer``: Go leaves it out where it is nil; what
    is none, and neither list nor map, is always written. ``embedded``: its fields stand in the outer object's JSON.
    ``gone``: older clients may still send it, and today's kind does not have it."""

    number: int
    key: str
    kind: str
    repeated: bool
    mapped: bool
    pointer: bool
    embedded: bool
    gone: bool


@cache
def _lines() -> dict[str, bytes]:
    """Each message's fields as JSON: hardly any process needs more than some of them, and opened they are megabytes."""
    data = files("sampan.api.protobuf").joinpath("data/numbers.json").read_bytes()
    found = {}
    for line in data.splitlines():
        name, colon, fields = line.rstrip(b",").partition(b":{")
        if colon:
            found[name.strip(b'"').decode()] = b"{" + fields
    return found


@cache
def _former() -> dict[str, str | dict[str, list[str]]]:
    """Of former versions: each message, or the package whose message of the same name it is like."""
    found: dict[str, str | dict[str, list[str]]] = orjson.loads(
        files("sampan.api.protobuf").joinpath("data/former.json").read_bytes()
    )
    return found


def _message(name: str) -> dict[str, list[str]]:
    """Number to name and type. Raises KeyError."""
    if name in _lines():
        fields: dict[str, list[str]] = orjson.loads(_lines()[name])
        return fields
    found = _former()[name]
    package, _, simple = name.rpartition(".")
    if isinstance(found, dict):
        return {**found, **_grown(name, found)}
    return {
        number: [key, _moved(kind, f"m:{found}.", f"m:{package}.")]
        for number, (key, kind) in _message(f"{found}.{simple}").items()
    }


def _grown(name: str, own: dict[str, list[str]]) -> dict[str, list[str]]:
    """What a former version shows of today's fields, which it did not have in its time: by today's numbers, so that
    nothing is lost that is read and written back. Clients of that time skip them."""
    base = former.base_of(name, lambda published: published in _lines())
    if base is None or name not in schema.load():
        return {}
    shown, there = schema.load().properties(name), {key for key, _ in own.values()}
    base_package, package = base.rpartition(".")[0], name.rpartition(".")[0]
    return {
        number: [key, _moved(kind, f"m:{base_package}.", f"m:{package}.")]
        for number, (key, kind) in _message(base).items()
        if number not in own and key not in there and key in shown
    }


def _moved(kind: str, base: str, package: str) -> str:
    """A type of the package where it has one, else the base's."""
    mark, colon, simple = kind.partition(base)
    return f"{mark}{package}{simple}" if colon and known(package[2:] + simple) else kind


def known(name: str) -> bool:
    return name in _lines() or (_is_former(name) and name in _former())


def _is_former(name: str) -> bool:
    return name.rpartition(".")[0] in former.PACKAGES


@cache
def fields_of(name: str) -> tuple[Field, ...]:
    """The fields of a message in the order of their numbers. Raises KeyError."""
    message = _message(name)
    properties = _properties(name, message)
    found = []
    for number, (key, kind) in message.items():
        mark, bare = kind[0], kind.lstrip("?*%&")
        # What came from descriptors alone does not say what is embedded; the schema does.
        embedded = mark == "&" or (mark not in "*%" and bare.startswith("m:") and key not in properties)
        gone = not embedded and key not in properties
        found.append(Field(int(number), key, bare, mark == "*", mark == "%", mark == "?", embedded, gone))
    return tuple(sorted(found))


@cache
def by_number(name: str) -> dict[int, Field]:
    return {field.number: field for field in fields_of(name)}


def _properties(name: str, message: dict[str, list[str]]) -> frozenset[str]:
    """The JSON fields of a definition; of an embedded struct, which the schema does not have, its own fields."""
    loaded = schema.load()
    if name not in loaded or name in UNIONS:
        return frozenset(field for field, _ in message.values())
    return frozenset(loaded.properties(name))


@cache
def _definitions() -> dict[tuple[str, str], str]:
    """(apiVersion, kind) to the name of its definition."""
    return {
        (f"{group}/{version}" if group else version, kind): name
        for (group, version, kind), name in schema.load().kinds()
    }


def message_of(api_version: str, kind: str) -> str | None:
    """The message of a kind; None: it has none, or nobody knows its numbers."""
    name = _definitions().get((api_version, kind)) or _former_names().get(api_version, "") + kind
    if kind.startswith(_PARTIAL) and api_version.startswith("meta.k8s.io/"):
        name = META + kind
    return name if known(name) else None


@cache
def _former_names() -> dict[str, str]:
    """What comes before the names of a former version's definitions."""
    return {f"{package.group}/{package.version}": f"{name}." for name, package in former.PACKAGES.items()}
