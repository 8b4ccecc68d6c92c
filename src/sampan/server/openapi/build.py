"""Writes all documents into a folder: ``python -m sampan.server.openapi.build FOLDER [RUNTIME_CONFIG FEATURE_GATES]``.
Run by ``files``; what the options turn off is in no document.

A process of its own, at low priority, because the work takes a second and some 40 MB. The folder appears at once and
complete, with ``index.json``: the size and hash of every document.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from sampan.api import enablement, schema
from sampan.api.features import Features
from sampan.api.registry import registry
from sampan.server.openapi import descriptions, gnostic, v2, v3
from sampan.server.openapi.definitions import Definitions
from sampan.server.openapi.files import INDEX, V2_JSON, V2_PROTOBUF, file_name, load_index
from sampan.server.openapi.operations import document_paths

_NICENESS = 5


def documents(runtime_config: str = "", feature_gates: str = "") -> Iterator[tuple[str, bytes]]:
    """(name, content): ``v2.json``, ``v2.pb``, and each v3 document under its path below /openapi/v3."""
    compiled = schema.load()
    folder = descriptions.models_folder()
    described = descriptions.read(folder, compiled.names()) if folder is not None else {}
    definitions = Definitions(compiled, described)
    kinds = enablement.served(registry(), runtime_config, Features.parse(feature_gates))
    by_document = document_paths(kinds, lambda name: name in definitions)
    for name, paths in by_document.items():
        yield name, orjson.dumps(v3.render(paths, definitions))
    document = v2.render([path for paths in by_document.values() for path in paths], definitions)
    yield V2_JSON, orjson.dumps(document)
    yield V2_PROTOBUF, gnostic.encode(document)


def write(folder: Path, *options: str) -> None:
    """Does nothing when another process was faster."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        index: dict[str, dict[str, Any]] = {}
        for name, content in documents(*options):
            (scratch / file_name(name)).write_bytes(content)
            index[name] = {"hash": hashlib.sha256(content).hexdigest().upper(), "size": len(content)}
        (scratch / INDEX).write_bytes(orjson.dumps(index))
        if folder.exists() and load_index(folder) is None:
            shutil.rmtree(folder)
        try:
            scratch.rename(folder)
        except OSError:
            if load_index(folder) is None:
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    os.nice(_NICENESS)  # a cluster that starts has more urgent things to do
    write(Path(sys.argv[1]), *sys.argv[2:])
