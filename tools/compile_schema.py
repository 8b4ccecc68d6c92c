"""Compile the structure of the built-in kinds into ``src/sampan/api/schema/data/kubernetes-1.37.json``.

Run by a developer after a new Kubernetes release: ``python tools/compile_schema.py``. Reads upstream's JSON schema
from the ``kubernetes-validate`` package (a development dependency) and writes one definition a line, sorted, without
prose, so that re-running reproduces the file byte for byte and a new release shows as a readable diff.

What is changed on the way, besides dropping descriptions: "or null" (added by the package, not upstream's), the enums
of ``kind`` and ``apiVersion`` (likewise), and references, which become bare definition names. Facts that the schema
cannot express are in ``sampan.api.schema.overlay``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

VERSION = "1.37"
TARGET = Path(__file__).parent.parent / f"src/sampan/api/schema/data/kubernetes-{VERSION}.json"
_REF_PREFIX = "#/$defs/"


def source_path() -> Path:
    import kubernetes_validate

    package = Path(kubernetes_validate.__file__).parent
    return package / "kubernetes-json-schema" / f"v{VERSION}.0-local" / "_definitions.json"


def _plain_type(kind: Any) -> str:
    return next(item for item in kind if item != "null") if isinstance(kind, list) else str(kind)


def simplify(schema: dict[str, Any]) -> dict[str, Any]:
    """One schema node without prose and without what the source package added."""
    out: dict[str, Any] = {}
    for key, value in sorted(schema.items()):
        if key == "description":
            continue
        if key == "type":
            out["type"] = _plain_type(value)
        elif key == "$ref":
            out["$ref"] = value.removeprefix(_REF_PREFIX)
        elif key == "properties":
            out["properties"] = {name: _property(name, value[name]) for name in sorted(value)}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            out[key] = simplify(value)
        elif key == "oneOf":  # Quantity and IntOrString: a string on the wire as OpenAPI has it
            out["type"] = "string"
        else:
            out[key] = value
    return out


def _property(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    out = simplify(schema)
    if name in ("kind", "apiVersion"):
        out.pop("enum", None)
    return out


def render(definitions: dict[str, Any]) -> bytes:
    """The whole file: valid JSON, one definition a line, so that a reader may parse only the lines it needs."""
    lines = [
        f"{json.dumps(name)}:{json.dumps(simplify(schema), separators=(',', ':'))}"
        for name, schema in sorted(definitions.items())
    ]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def compile_schema(source: Path) -> bytes:
    return render(json.loads(source.read_bytes())["$defs"])


def main() -> int:
    data = compile_schema(source_path())
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(data)
    print(f"{TARGET.name}: {len(data)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
