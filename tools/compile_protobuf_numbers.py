"""Compiles the protobuf field numbers of the built-in kinds into ``api/protobuf/data/numbers.json``.

    python tools/compile_protobuf_numbers.py /usr/bin/kubectl [FIELDS_JSON]
    python tools/compile_protobuf_numbers.py - FIELDS_JSON

kubectl carries (seen in 1.20, 1.32 and 1.33) the descriptors of the API's messages, gzipped, in its data segment; ``-``
starts from the committed file instead.
Numbers never change once given, so a newer kubectl only adds to the file. Newer ones carry none: the second argument
is a description of the API's Go types, ``{definition: {field: {kind, elem, type, proto, pointer, inlineOf}}}``, whose
facts win (its names are those of the JSON form; descriptors have a few of their own, ``Webhooks`` or ``uID``). kubectl
1.33 and the types of 1.36 made the file that is committed. What 1.37 added, as far as it is known, is in
``protobuf_1_37.json``: types with the numbers of an older version of their group, and messages in a short form.
Only names, numbers and types are kept: ``{message: {number: [field, type]}}``. Types: s string, b bytes, i integer,
B bool, d double, ``m:<message>``; before them ``*`` repeated, ``%`` map from string, ``?`` a pointer in Go, ``&`` an
embedded struct, whose fields are the outer one's in JSON.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from sampan.api import schema

TARGET = Path(__file__).resolve().parents[1] / "src/sampan/api/protobuf/data/numbers.json"
NEWEST = Path(__file__).with_name("protobuf_1_37.json")
LARGEST_BYTES = 2_000_000
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    _FIELD.TYPE_STRING: "s", _FIELD.TYPE_BYTES: "b", _FIELD.TYPE_BOOL: "B", _FIELD.TYPE_DOUBLE: "d",
    _FIELD.TYPE_INT32: "i", _FIELD.TYPE_INT64: "i",
}  # fmt: skip


def descriptors(program: bytes) -> Iterator[descriptor_pb2.FileDescriptorProto]:
    """Every gzipped file descriptor of the Kubernetes API in a program."""
    for match in re.finditer(rb"\x1f\x8b\x08", program):
        stream = zlib.decompressobj(31)
        try:
            raw = stream.decompress(program[match.start() : match.start() + LARGEST_BYTES])
            found = descriptor_pb2.FileDescriptorProto.FromString(raw)
        except (zlib.error, DecodeError):
            continue  # gzip's magic by chance, or another compressed thing
        if stream.eof and found.package.startswith(("k8s.io.api.", "k8s.io.apimachinery.", "k8s.io.apiextensions")):
            yield found


def definition_name(proto_name: str) -> str:
    """``.k8s.io.api.core.v1.Pod`` → ``io.k8s.api.core.v1.Pod``, the name in the compiled schema."""
    return "io.k8s." + proto_name.lstrip(".").removeprefix("k8s.io.")


def compile_numbers(program: bytes) -> dict[str, dict[str, list[str]]]:
    served = {name.rpartition(".")[0] for name in schema.load().names()}
    messages: dict[str, dict[str, list[str]]] = {}
    for file in descriptors(program):
        for message in file.message_type:
            name = definition_name(f"{file.package}.{message.name}")
            if name.rpartition(".")[0] not in served:
                continue  # a version that the compiled schema does not have
            entries = {nested.name: nested for nested in message.nested_type}
            messages[name] = {str(field.number): [field.name, _type(field, entries)] for field in message.field}
    return dict(sorted(messages.items()))


def _type(field: descriptor_pb2.FieldDescriptorProto, entries: dict[str, descriptor_pb2.DescriptorProto]) -> str:
    if field.type == _FIELD.TYPE_MESSAGE:
        entry = entries.get(field.type_name.rpartition(".")[2])
        if entry is not None:
            return "%" + _type(entry.field[1], {})
        kind = "m:" + definition_name(field.type_name)
    else:
        kind = _SCALARS[field.type]
    return "*" + kind if field.label == _FIELD.LABEL_REPEATED else kind


_KINDS = {"string": "s", "bytes": "b", "int32": "i", "int64": "i", "bool": "B", "float64": "d"}
_CORE = "io.k8s.api.core.v1."
_CRD = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
#: Named maps and slices, whose type does not say what they hold.
_NAMED = {
    _CORE + "ResourceList": "%m:io.k8s.apimachinery.pkg.api.resource.Quantity",
    _CRD + "ValidationRules": f"*m:{_CRD}ValidationRule",
    _CRD + "JSONSchemaDefinitions": f"%m:{_CRD}JSONSchemaProps",
    _CRD + "JSONSchemaDependencies": f"%m:{_CRD}JSONSchemaPropsOrStringArray",
}
_FACTS = ("$order", "$type", "$inline")


def add_types(messages: dict[str, dict[str, list[str]]], types: dict[str, dict[str, Any]]) -> None:
    """The numbers of a description of Go types, into ``messages``."""
    served = {name.rpartition(".")[0] for name in schema.load().names()}
    for name, fields in types.items():
        if name.rpartition(".")[0] not in served:
            continue
        found: dict[str, list[str]] = {}
        for kind, fact in fields.get("$inline", {}).items():
            if "proto" in fact:
                simple = kind.rpartition(".")[2]
                found[str(fact["proto"])] = [simple[:1].lower() + simple[1:], f"&m:{kind}"]
        for field, fact in fields.items():
            if field not in _FACTS and "proto" in fact and "inlineOf" not in fact:
                found[str(fact["proto"])] = [field, go_type(fact, messages)]
        if found or fields.get("$type", {}).get("kind") == "struct":
            messages[name] = dict(sorted({**messages.get(name, {}), **found}.items(), key=lambda item: int(item[0])))


def go_type(fact: dict[str, Any], messages: Container[str]) -> str:
    """``messages``: of these, a slice with a name is one (authentication's ExtraValue)."""
    kind, named = fact["kind"], fact.get("type", "")
    if named in _NAMED:
        return _NAMED[named]
    if kind == "slice" and named not in messages:
        return "*" + _element(fact["elem"], named.removeprefix("[]"))
    if kind == "map":
        return "%" + _element(fact["elem"], named.partition("]")[2])
    return ("?" if fact.get("pointer") else "") + _element(kind, named)


def _element(kind: str, named: str) -> str:
    return f"m:{named}" if kind in ("struct", "slice") else _KINDS[kind]


def add_newest(messages: dict[str, dict[str, list[str]]], newest: dict[str, Any]) -> None:
    """What the description of types is too old for, into ``messages``."""
    for to, (origin, names) in newest["same"].items():
        for name in names:
            found = messages[f"{origin}.{name}"]
            messages[f"{to}.{name}"] = {n: [key, kind.replace(origin, to)] for n, (key, kind) in found.items()}
    for name, text in newest["messages"].items():
        package = name.rpartition(".")[0]
        fields = [field.split() for field in text.split(", ") if field]
        messages[name] = {number: [key, _full(kind, package)] for number, key, kind in fields}


def _full(kind: str, package: str) -> str:
    mark, _, message = kind.partition("m:")
    if not message:
        return kind
    outer = "io.k8s.apimachinery.pkg.apis." if message.startswith("meta.v1.") else package + "."
    return f"{mark}m:{outer}{message}"


def render(messages: dict[str, dict[str, list[str]]]) -> str:
    """One message a line, so that a difference is readable."""
    lines = [f"{json.dumps(name)}:{json.dumps(fields, separators=(',', ':'))}" for name, fields in messages.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    if sys.argv[1] == "-":
        messages = json.loads(TARGET.read_bytes())
    else:
        messages = compile_numbers(Path(sys.argv[1]).read_bytes())
    if not messages:
        sys.exit(f"{sys.argv[1]} carries no descriptors of the Kubernetes API: use an older one, 1.33 for example")
    if len(sys.argv) == 3:
        add_types(messages, json.loads(Path(sys.argv[2]).read_bytes()))
    add_newest(messages, json.loads(NEWEST.read_bytes()))
    TARGET.write_text(render(dict(sorted(messages.items()))))
    print(f"{TARGET.name}: {len(messages)} messages")


if __name__ == "__main__":
    main()
