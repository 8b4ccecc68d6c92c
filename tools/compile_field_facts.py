"""Compile a description of the API's Go types into the record that ``tests/schema/test_field_facts.py`` replays.

    python tools/compile_field_facts.py FIELDS_JSON

The argument is that of ``compile_go_types.py``. The record keeps, of definitions that the compiled schema has too, for
each field ``[Go kind and what its tag says, protobuf number, the rest]``: ``p`` pointer, ``e`` omitempty, ``z``
omitzero. One definition a line, sorted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sampan.api import schema

TARGET = Path(__file__).parent.parent / "tests/schema/data/fields-1.36.json"
_KEPT = ("default", "listType", "listMapKey", "mapType", "patchStrategy", "patchMergeKey")


def compact(fact: dict[str, Any], types: dict[str, Any]) -> list[Any]:
    tag = "".join(mark for key, mark in (("pointer", "p"), ("omitempty", "e"), ("omitzero", "z")) if fact.get(key))
    kind = fact["kind"] if fact["kind"] != "struct" else fact["type"].rpartition(".")[2]
    rest = {key: fact[key] for key in _KEPT if key in fact}
    named = types.get(fact.get("type", "").rpartition("]")[2], {}).get("$type", {})
    if named.get("enumMarker") and "enum" in named:
        rest["enum"] = sorted(named["enum"])
    if fact.get("required") or not (fact.get("optional") or fact.get("omitempty") or fact.get("omitzero")):
        rest["required"] = True
    number = 0 if "inlineOf" in fact else fact.get("proto", 0)
    return [f"{kind}:{tag}" if tag else kind, number, rest] if rest else [f"{kind}:{tag}" if tag else kind, number]


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    types = json.loads(Path(sys.argv[1]).read_bytes())
    lines = []
    for name in sorted(set(schema.load().names()) & types.keys()):
        fields = {key: fact for key, fact in types[name].items() if key not in ("$order", "$type", "$inline")}
        facts = {key: compact(fact, types) for key, fact in fields.items()}
        lines.append(f"{json.dumps(name)}:{json.dumps(facts, separators=(',', ':'))}")
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
