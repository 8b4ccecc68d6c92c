"""Descriptions of types and fields, read from the docstrings of lightkube-models.

Used by the build only. The models are parsed, never imported: importing all of them costs seconds and 40 MB. Their
generator wraps prose at 78 columns; here the wrapping is undone, so that clients can wrap for their own screen.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path

from sampan.records import dataclass

_WIDTH = 78
_PARAMETERS = "**parameters**"
_FIELD = re.compile(r"\* \*\*(\w+)\*\* ``[^`]*`` - ?(.*)")


@dataclass(frozen=True, slots=True)
class TypeDescription:
    text: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def models_folder() -> Path | None:
    """Where lightkube-models is installed; None: it is not.

    Looked for without importing anything: beside the models there may be a whole client library."""
    spec = importlib.util.find_spec("lightkube")
    locations = spec.submodule_search_locations if spec is not None else None
    folders = [Path(location) / "models" for location in locations or ()]
    return next((folder for folder in folders if folder.is_dir()), None)


def module_of(definition: str) -> str:
    """``io.k8s.api.core.v1.Container`` is in ``core_v1``."""
    package, version, _ = definition.rsplit(".", 2)
    name = package.rpartition(".")[2]
    return version if name == "pkg" else f"{name}_{version}"


def read(folder: Path, definitions: Iterable[str]) -> dict[str, TypeDescription]:
    """The descriptions of these definitions; those without one are left out."""
    modules: dict[str, dict[str, TypeDescription]] = {}
    found: dict[str, TypeDescription] = {}
    for definition in definitions:
        module = module_of(definition)
        if module not in modules:
            path = folder / f"{module}.py"
            modules[module] = parse(path.read_text(encoding="utf-8")) if path.exists() else {}
        if described := modules[module].get(definition.rpartition(".")[2]):
            found[definition] = described
    return found


def parse(source: str) -> dict[str, TypeDescription]:
    """The description of every class in a module's source."""
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    return {node.name: parse_docstring(ast.get_docstring(node) or "") for node in classes}


def parse_docstring(text: str) -> TypeDescription:
    prose, _, parameters = text.partition(_PARAMETERS)
    fields: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in parameters.splitlines():
        if match := _FIELD.match(line):
            # Python's own words (from, not, continue) carry an underscore there.
            lines = fields.setdefault(match[1].rstrip("_"), [])
            lines.append(match[2])
        else:
            lines.append(line.removeprefix("  "))
    return TypeDescription(unwrap(prose.splitlines()), {name: unwrap(lines) for name, lines in fields.items()})


def unwrap(lines: Iterable[str]) -> str:
    """Joins lines that were broken only because the next word did not fit; other line breaks are the author's."""
    text, previous = "", ""
    for line in lines:
        word = line.split(" ", 1)[0]
        if text and previous and line and len(previous) + 1 + len(word) > _WIDTH and not line.startswith(" "):
            text += f" {line.rstrip()}"
        else:
            text += f"\n{line.rstrip()}"
        previous = line
    return text.strip()
