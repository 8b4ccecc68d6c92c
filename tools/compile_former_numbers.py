"""Compiles the protobuf field numbers of former versions into ``api/protobuf/data/former.json``.

    python tools/compile_former_numbers.py FIELDS_JSON KUBECTL...

The versions are those of ``schema/former.py``. FIELDS_JSON is the description of Go types that
``compile_protobuf_numbers`` reads; what is in it no longer comes from the descriptors that programs carry (kubectl 1.20
has them all but those that came later). Descriptors do not say what is a pointer in Go: what is one in the version that
a type is like, or is kept though it is empty, is one here. A message that is the base's but for the names of packages
is written as the base's package; others stand there whole, as in ``numbers.json``. The committed file is of the types
of 1.36 and of kubectl 1.20, 1.27, 1.29, 1.31 and 1.33.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from compile_protobuf_numbers import TARGET as PRESENT
from compile_protobuf_numbers import _type, definition_name, descriptors, go_type, render

from sampan.api import schema
from sampan.api.schema import former

TARGET = PRESENT.with_name("former.json")
_BY_HAND = ("io.k8s.apimachinery.", "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON")
_FACTS = ("$order", "$type", "$inline")
Messages = dict[str, dict[str, list[str]]]


def from_descriptors(program: bytes) -> Messages:
    found: Messages = {}
    for file in descriptors(program):
        for message in file.message_type:
            name = definition_name(f"{file.package}.{message.name}")
            if name.rpartition(".")[0] in former.PACKAGES:
                entries = {nested.name: nested for nested in message.nested_type}
                found[name] = {str(field.number): [field.name, _type(field, entries)] for field in message.field}
    return found


def from_types(types: dict[str, dict[str, Any]]) -> Messages:
    found: Messages = {}
    for name, fields in types.items():
        if name.rpartition(".")[0] not in former.PACKAGES:
            continue
        message: dict[str, list[str]] = {}
        for kind, fact in fields.get("$inline", {}).items():
            if "proto" in fact:
                simple = kind.rpartition(".")[2]
                message[str(fact["proto"])] = [simple[:1].lower() + simple[1:], f"&m:{kind}"]
        for field, fact in fields.items():
            if field not in _FACTS and "proto" in fact and "inlineOf" not in fact:
                message[str(fact["proto"])] = [field, go_type(fact, types)]
        found[name] = dict(sorted(message.items(), key=lambda item: int(item[0])))
    return found


def with_pointers(name: str, message: dict[str, list[str]], present: Messages) -> dict[str, list[str]]:
    """Of a message that descriptors alone tell."""
    loaded = schema.load()
    base = loaded.base(name) if name in loaded else None
    known = dict(present.get(base or "", {}).values())
    kept = loaded.presence(name) if name in loaded else {}
    told: dict[str, list[str]] = {}
    for number, (key, kind) in message.items():
        pointer = known[key][:1] in "?&" and known[key][:1] if key in known else "?" if kept.get(key) == "kept" else ""
        told[number] = [key, kind if kind[:1] in "*%" else (pointer or "") + kind]
    return told


def shared(package: str, kind: str) -> str:
    """The type of a field, with the base's message where JSON shares it, or has it as a value."""
    mark, colon, message = kind.partition("m:")
    home, _, simple = message.rpartition(".")
    if home == package and (simple == "ExtraValue" or simple in former.PACKAGES[package].shared):
        return f"{mark}{colon}{former.PACKAGES[package].bases[0]}.{simple}"
    return kind


def needed(messages: Messages, present: Messages) -> Messages:
    """What JSON has an object for, and what is embedded in such."""
    names = {name for name in messages if name in schema.load()}
    for name in tuple(names):
        names.update(kind[3:] for _, kind in messages[name].values() if kind.startswith("&m:"))
    found = {name: message for name, message in messages.items() if name in names}
    told = {
        name: {number: [key, shared(name.rpartition(".")[0], kind)] for number, (key, kind) in message.items()}
        for name, message in found.items()
        if name.rpartition(".")[2] not in former.PACKAGES[name.rpartition(".")[0]].shared
        and name.rpartition(".")[2] != "ExtraValue"
    }
    while lost := [name for name, message in told.items() if not _whole(message, told, present)]:
        for name in lost:
            del told[name]
    return told


def _whole(message: dict[str, list[str]], *known: Messages) -> bool:
    """Every type in it is known; those of Go's own are written by hand."""
    types = (kind.partition("m:")[2] for _, kind in message.values())
    return all(any(each in some for some in known) or each.startswith(_BY_HAND) for each in types if each)


def compact(messages: Messages, present: Messages) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, message in messages.items():
        package, _, simple = name.rpartition(".")
        for base in former.PACKAGES[package].bases:
            like = {
                number: [key, shared(package, kind.replace(f"m:{base}.", f"m:{package}."))]
                for number, (key, kind) in present.get(f"{base}.{simple}", {}).items()
            }
            if like == message:
                found[name] = base
                break
        else:
            found[name] = message
    return found


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    present: Messages = json.loads(PRESENT.read_bytes())
    messages: Messages = {}
    for program in sys.argv[2:]:
        messages.update(from_descriptors(Path(program).read_bytes()))
    messages = {
        name: dict(sorted(message.items(), key=lambda item: int(item[0]))) for name, message in messages.items()
    }
    messages = {name: with_pointers(name, message, present) for name, message in messages.items()}
    messages.update(from_types(json.loads(Path(sys.argv[1]).read_bytes())))
    messages = {name: message for name, message in needed(messages, present).items() if name not in present}
    TARGET.write_text(render(dict(sorted(compact(messages, present).items()))))
    print(f"{TARGET.name}: {len(messages)} messages")


if __name__ == "__main__":
    main()
