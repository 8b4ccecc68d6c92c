"""Compiles the protobuf field numbers of the built-in kinds into ``api/protobuf/data/numbers.json``.

    python tools/compile_protobuf_numbers.py /usr/bin/kubectl

kubectl carries (seen in 1.20, 1.32 and 1.33) the descriptors of the API's messages, gzipped, in its data segment.
Numbers never change once given, so a newer kubectl only adds to the file; 1.33 made the one
committed. Only names,
numbers and types are kept: ``{message: {number: [field, type]}}``. Types: s string, b bytes, i integer, B bool,
d double, ``m:<message>``; before them ``*`` repeated, ``%`` map from string.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from sampan.api import schema

TARGET = Path(__file__).resolve().parents[1] / "src/sampan/api/protobuf/data/numbers.json"
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


def render(messages: dict[str, dict[str, list[str]]]) -> str:
    """One message a line, so that a difference is readable."""
    lines = [f"{json.dumps(name)}:{json.dumps(fields, separators=(',', ':'))}" for name, fields in messages.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    messages = compile_numbers(Path(sys.argv[1]).read_bytes())
    if not messages:
        sys.exit(f"{sys.argv[1]} carries no descriptors of the Kubernetes API: use an older one, 1.33 for example")
    TARGET.write_text(render(messages))
    print(f"{TARGET.name}: {len(messages)} messages")


if __name__ == "__main__":
    main()
