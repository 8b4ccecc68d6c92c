"""Compile what Go's structs write of each field into ``src/sampan/api/schema/data/presence-1.37.json``.

    python tools/compile_presence.py FIELDS_JSON

OpenAPI does not say whether a field is a pointer, nor whether it is left out when empty; the struct tags do. The
argument is a description of the API's Go types, ``{definition: {field: {kind, pointer, omitempty, omitzero}}}``, as
can be read out of their sources. The output names, for every definition of the compiled schema, the fields of each
``Presence`` of ``sampan.api.schema.nodes`` but the commonest: a field that is not named is left out when it holds its
zero value. One definition a line, sorted: re-running with the same input reproduces the file byte for byte.

Types newer than the description take the facts of the same type in an older version of their group, and what is left
is guessed as upstream's API conventions have it (optional numbers and booleans are pointers, all else omits).
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


def guess(name: str, raw: Facts, required: bool) -> str:
    """Of a field that no description knows."""
    if name in ("metadata", "spec") and "$ref" in raw:
        return ALWAYS
    if raw.get("type") in ("string", "array", "object") and raw.get("format") != "date-time":
        return OMITTED
    return ALWAYS if required and raw.get("type") in ("integer", "boolean") else KEPT


def older(name: str, types: Types) -> Facts:
    """The facts of this type in the newest other version of its group; empty when it is new there."""
    package, _, kind = name.rpartition(".")
    group = package.rpartition(".")[0]
    found = [other for other in types if re.fullmatch(rf"{re.escape(group)}\.v\w+\.{kind}", other)]
    return types[max(found)] if found else {}


def compile_presence(types: Types, loaded: schema.Schema) -> bytes:
    lines = []
    for name in sorted(loaded.names()):
        raw = loaded.raw(name)
        facts = types.get(name) or older(name, types)
        fields: dict[str, list[str]] = {ALWAYS: [], KEPT: [], NULL: [], OMITTED: []}
        for key, part in raw.get("properties", {}).items():
            fact = facts.get(key)
            found = presence(fact) if fact is not None else guess(key, part, key in raw.get("required", ()))
            fields[found].append(key)
        entry = {key: fields[key] for key in (ALWAYS, KEPT, NULL) if fields[key]}
        if entry:
            lines.append(f"{json.dumps(name)}:{json.dumps(entry, separators=(',', ':'))}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    data = compile_presence(json.loads(Path(sys.argv[1]).read_bytes()), schema.load())
    TARGET.write_bytes(data)
    print(f"{TARGET.name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
