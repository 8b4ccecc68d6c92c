"""Compile what Go's structs write of each field into ``src/sampan/api/schema/data/presence-1.37.json``.

    python tools/compile_presence.py FIELDS_JSON

OpenAPI does not say whether a field is a pointer, nor whether it is left out when empty; the struct tags do. The
argument is a description of the API's Go types, ``{definition: {field: {kind, pointer, omitempty, omitzero}}}``, as
can be read out of their sources. The output names, for every definition of the compiled schema, the fields of each
``Presence`` of ``sampan.api.schema.nodes`` but the commonest: a field that is not named is left out when it holds its
zero value. One definition a line, sorted: re-running with the same input reproduces the file byte for byte.

Types and fields newer than the description take the facts of the same type in another version of their group, and what
is left is guessed as upstream's types mostly have it: what is required is always written, optional structs, numbers and
booleans are pointers, all else omits.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sampan.api import schema

TARGET = Path(__file__).parent.parent / "src/sampan/api/schema/data/presence-1.37.json"
Facts = Mapping[str, Any]
Types = Mapping[str, Facts]

ALWAYS, KEPT, NULL, OMITTED = "always", "kept", "null", "omitted"

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
#: Structs that encode their zero as null.
_NULL_STRUCTS = frozenset((_META + "Time", _META + "MicroTime", "io.k8s.apimachinery.pkg.runtime.RawExtension"))


def presence(fact: Facts) -> str:
    """Of a field by its struct tag: ``omitempty`` never leaves out a struct, ``omitzero`` does."""
    pointer = fact.get("pointer", False)
    if fact.get("omitzero"):
        return OMITTED
    if fact.get("omitempty") and (pointer or fact["kind"] != "struct"):
        return KEPT if pointer else OMITTED
    return NULL if pointer or fact["kind"] in ("slice", "map", "bytes") or fact.get("type") in _NULL_STRUCTS else ALWAYS


def guess(name: str, raw: Facts, *, required: bool, new_type: bool) -> str:
    """Of a field that no description knows. What is added to an old type does not change what is written of it."""
    if new_type and "$ref" in raw and name in ("metadata", "spec", "status"):
        return ALWAYS
    if required:
        return NULL if raw.get("type") in ("array", "object") else ALWAYS
    return OMITTED if raw.get("type") in ("string", "array", "object") else KEPT


def versions(name: str, types: Types) -> dict[str, Facts]:
    """The facts of this type; of fields that it does not have those in other versions of its group, newest first."""
    package, _, kind = name.rpartition(".")
    group = package.rpartition(".")[0]
    others = [other for other in types if re.fullmatch(rf"{re.escape(group)}\.v\w+\.{kind}", other)]
    found: dict[str, Facts] = {}
    for other in (*sorted(others), name):
        found |= types.get(other, {})
    return found


def compile_presence(types: Types, loaded: schema.Schema) -> bytes:
    lines = []
    for name in sorted(loaded.names()):
        raw = loaded.raw(name)
        facts = versions(name, types)
        fields: dict[str, list[str]] = {ALWAYS: [], KEPT: [], NULL: [], OMITTED: []}
        for key, part in raw.get("properties", {}).items():
            fact = facts.get(key)
            found = (
                presence(fact)
                if fact is not None
                else guess(key, part, required=key in raw.get("required", ()), new_type=not facts)
            )
            fields[found].append(key)
        entry = {key: fields[key] for key in (ALWAYS, KEPT, NULL) if fields[key]}
        if entry:
            lines.append(f"{json.dumps(name)}:{json.dumps(entry, separators=(',', ':'))}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    loaded = schema.Schema((TARGET.parent / "kubernetes-1.37.json").read_bytes(), b"")
    data = compile_presence(json.loads(Path(sys.argv[1]).read_bytes()), loaded)
    TARGET.write_bytes(data)
    print(f"{TARGET.name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
